"""Reads the values of a scene file by the tables of `sim.scenes.fields`; errors name the field."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from sim.randomization.domain import Range
from sim.scene import SceneError
from sim.scenes.fields import REQUIRED, Field, Table
from sim.yaml_file import expected_one_of, shortened

NAME = re.compile(r"[a-z][a-z0-9 _-]{0,30}")
MAX_ENTRIES = 40  # of a list


def read_mapping(prefix: str, value: Any, table: Table) -> dict[str, Any]:
    """The fields of a mapping, defaults filled in. `prefix` is its path with a dot."""
    value = keyed(value)
    where = prefix.removesuffix(".") or "file"
    if not isinstance(value, dict):
        raise SceneError(
            f"{where}: expected fields, some of {', '.join(table)}; got {shortened(value)}"
        )
    for key in value:
        if key not in table:
            raise SceneError(f"{where}: unknown field, {expected_one_of(table, key)}")
    read = {}
    for name, field in table.items():
        if name not in value:
            if field.default == REQUIRED:
                raise SceneError(f"{prefix}{name}: required, {field.about}")
            if field.default is None or field.type == "mapping":
                read[name] = field.default
                continue
        path = f"{prefix}{name}"
        read[name] = READERS[field.type](path, value.get(name, field.default), field)
    return read


def keyed(value: Any) -> Any:
    """YAML reads the word "on" as True; here a key is always a word."""
    if isinstance(value, dict):
        return {"on" if key is True else key: each for key, each in value.items()}
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(path: str, value: Any, field: Field) -> float:
    if not _is_number(value):
        raise SceneError(f"{path}: expected a number, got {shortened(value)}")
    if not field.low <= value <= field.high:
        raise SceneError(f"{path}: expected {field.low:g} to {field.high:g}, got {value:g}")
    return float(value)


def _count(path: str, value: Any, field: Field) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise SceneError(f"{path}: expected a whole number, got {shortened(value)}")
    return int(_number(path, value, field))


def _range(path: str, value: Any, field: Field) -> Range:
    ends = value if isinstance(value, list) else [value]
    if len(ends) not in (1, 2) or not all(_is_number(end) for end in ends):
        raise SceneError(f"{path}: expected a number or [low, high], got {shortened(value)}")
    low, high = _number(path, ends[0], field), _number(path, ends[-1], field)
    if low > high:
        raise SceneError(f"{path}: expected [low, high], got low {low:g} above high {high:g}")
    return Range(low, high)


def _numbers(count: int) -> Callable[[str, Any, Field], tuple[float, ...]]:
    def read(path: str, value: Any, field: Field) -> tuple[float, ...]:
        if not isinstance(value, list) or len(value) != count:
            raise SceneError(f"{path}: expected {count} numbers in a list, got {shortened(value)}")
        return tuple(_number(f"{path}[{i}]", each, field) for i, each in enumerate(value))

    return read


def _word(path: str, value: Any, field: Field) -> str:
    if not isinstance(value, str) or value not in field.choices:
        raise SceneError(f"{path}: {expected_one_of(field.choices, value)}")
    return value


def _words(path: str, value: Any, field: Field) -> tuple[str, ...]:
    options = _listed(path, value) if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(_word(path, option, field) for option in options))


def _text(path: str, value: Any, field: Field) -> str:
    if not isinstance(value, str):
        raise SceneError(f"{path}: expected text, got {shortened(value)}")
    return value


def _texts(path: str, value: Any, field: Field) -> tuple[str, ...]:
    options = _listed(path, value) if isinstance(value, list) else [value]
    texts = tuple(_text(f"{path}[{i}]", option, field) for i, option in enumerate(options))
    for index, text in enumerate(texts):
        if not text.strip():
            raise SceneError(f"{path}[{index}]: expected some words, got none")
    return texts


def _name(path: str, value: Any, field: Field) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise SceneError(
            f"{path}: expected a word in small letters, at most 31, got {shortened(value)}"
        )
    return value


def _reference(what: str) -> Callable[[str, Any, Field], str]:
    def read(path: str, value: Any, field: Field) -> str:
        if not isinstance(value, str):
            raise SceneError(f"{path}: expected {what}'s name, got {shortened(value)}")
        return value

    return read


def _flag(path: str, value: Any, field: Field) -> bool:
    if not isinstance(value, bool):
        raise SceneError(f"{path}: expected true or false, got {shortened(value)}")
    return value


def _listed(path: str, value: Any, field: Field | None = None) -> list[Any]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_ENTRIES:
        raise SceneError(f"{path}: expected a list of 1 to {MAX_ENTRIES}, got {shortened(value)}")
    return value


READERS: dict[str, Callable[[str, Any, Any], Any]] = {
    "number": _number,
    "count": _count,
    "range": _range,
    "pair": _numbers(2),
    "vector": _numbers(3),
    "rgb": _numbers(3),
    "word": _word,
    "words": _words,
    "text": _text,
    "texts": _texts,
    "name": _name,
    "object": _reference("an object"),
    "material": _reference("a material"),
    "flag": _flag,
    "list": _listed,
    "mapping": lambda path, value, field: value,
}
