"""Where a value lies in another environment's observation or info: `pixels.front`, `state[3:7]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

KEY = r"[^.\[\]]+"
PATH = re.compile(rf"({KEY}(?:\.{KEY})*)(?:\[(-?\d+)?(:)?(-?\d+)?\])?")


class WorldError(ValueError):
    """A world that cannot be used as described: its file, its package, or what it returns."""


def check_path(field: str, path: object) -> None:
    """Raise `WorldError` unless `path` is keys joined by dots, with an index or a slice at most."""
    if not isinstance(path, str) or not PATH.fullmatch(path) or path.endswith("[]"):
        raise WorldError(
            f"{field}: expected a path such as pixels.front or state[3:7], got {path!r}"
        )


def look_up(tree: Any, path: str, field: str) -> Any:
    """The value at `path`. Raises `WorldError` naming `field` and the keys that are there."""
    match = PATH.fullmatch(path)
    if match is None:
        raise WorldError(f"{field}: not a path: {path!r}")
    keys, start, colon, stop = match.groups()
    value, walked = tree, ""
    for key in keys.split("."):
        if not isinstance(value, Mapping):
            raise WorldError(
                f"{field}: {path!r}: expected a dictionary at {walked or 'the top'!r}, "
                f"got {_describe(value)}"
            )
        if key not in value:
            raise WorldError(
                f"{field}: {path!r}: expected one of {', '.join(map(str, value)) or '(nothing)'} "
                f"at {walked or 'the top'!r}, got {key!r}"
            )
        value, walked = value[key], f"{walked}.{key}".lstrip(".")
    if start is None and colon is None:
        return value
    array = np.asarray(value)
    index: Any = int(start or 0) if colon is None else slice(_int(start), _int(stop))
    try:
        found = array[index]
    except IndexError:
        found = np.empty(0)
    if np.size(found) == 0:
        raise WorldError(f"{field}: {path!r}: nothing there; the array has shape {array.shape}")
    return found


def _int(text: str | None) -> int | None:
    return None if text is None else int(text)


def _describe(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"an array of shape {shape}"
