"""Reads YAML that people write: safely, and with errors that say what is wrong and where."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml


class YamlError(ValueError):
    """A file that cannot be read, is not YAML, or says something twice."""


def read_yaml(path: Path, option: str) -> Any:
    """What a file holds, in plain values. `option` is what the user gave the file for."""
    try:
        text = path.read_text()
        content = yaml.safe_load(text)
    except OSError as error:
        raise YamlError(f"{option}: cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise YamlError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    _refuse_doubles(path, yaml.compose(text, yaml.SafeLoader))
    return content


def expected_one_of(known: Iterable[str], got: Any) -> str:
    """ "expected one of red, green, got 'gren'; do you mean green?"."""
    close = difflib.get_close_matches(shortened(got).strip("'"), list(known), 1)
    hint = f"; do you mean {close[0]}?" if close else ""
    return f"expected one of {', '.join(known)}, got {shortened(got)}{hint}"


def shortened(value: Any) -> str:
    """A value in few words: with aliases in aliases, all of it would fill the memory."""
    return _SHORT.repr(value)


_SHORT = reprlib.Repr(maxlevel=2, maxdict=4, maxlist=6, maxstring=80)


def _refuse_doubles(path: Path, root: yaml.Node | None) -> None:
    """A key that stands twice is an error: YAML keeps the last and says nothing."""
    nodes, seen = [root], set()
    while nodes:
        node = nodes.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))  # an alias may lead back to where it stands
        if isinstance(node, yaml.MappingNode):
            names = [key.value for key, _ in node.value]
            for name in names:
                if names.count(name) > 1:
                    raise YamlError(f"{path}: the key {name!r} stands twice")
            nodes += [value for _, value in node.value]
        else:
            nodes += node.value
