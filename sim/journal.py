"""What a long measurement has done so far, a line a piece, so that it can go on.

The settings stand in the first line; every further line is on disk before the next piece is taken.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Hashable
from pathlib import Path
from typing import Any, TextIO


class JournalError(ValueError):
    """A journal that does not belong to this measurement, or is not one."""


class LineJournal[Key: Hashable, Row](ABC):
    """`close` leaves it for another run, `remove` does not."""

    def __init__(self, path: Path, header: dict[str, Any], resume: bool) -> None:
        """With `resume` the lines of a journal that lies there are `known`; without, or without
        one, it begins empty. Raises `JournalError`, naming the field, for one of other settings.
        Nothing is written before the first line: what fails at once leaves no journal, and an
        interrupted run's as it was.
        """
        self.path = path
        self._header = header
        self.known: dict[Key, Row] = self._read(header) if resume and path.exists() else {}
        self._file: TextIO | None = None

    @abstractmethod
    def to_values(self, key: Key, row: Row) -> dict[str, Any]:
        """A line as plain values."""

    @abstractmethod
    def from_values(self, values: dict[str, Any]) -> tuple[Key, Row]:
        """The inverse; raises ValueError, KeyError or TypeError for what is no line."""

    def add(self, key: Key, row: Row) -> None:
        """Keep it: on disk when this returns."""
        if self._file is None:
            self._write_all()
            self._file = self.path.open("a")
        self._file.write(self._line(key, row))
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Leave it for `resume`."""
        if self._file is not None:
            self._file.close()

    def remove(self) -> None:
        """The result is written: nothing is left to go on with."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _line(self, key: Key, row: Row) -> str:
        return json.dumps(self.to_values(key, row)) + "\n"

    def _write_all(self) -> None:
        """Header and known lines, whole: a line that was cut off by a crash is gone."""
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        lines = [
            json.dumps(self._header) + "\n",
            *(self._line(*each) for each in self.known.items()),
        ]
        try:
            temporary.write_text("".join(lines))
            os.replace(temporary, self.path)
        finally:
            temporary.unlink(missing_ok=True)

    def _read(self, header: dict[str, Any]) -> dict[Key, Row]:
        first, *lines = self.path.read_text().splitlines(keepends=True) or [""]
        try:
            found = json.loads(first)
            _compare(self.path, header, found, "")
        except (json.JSONDecodeError, AttributeError, TypeError):
            raise JournalError(
                f"{self.path}: expected an evaluation's journal, got {first[:60]!r}"
            ) from None
        known: dict[Key, Row] = {}
        for number, line in enumerate(lines, start=2):
            if not line.endswith("\n"):
                break  # the crash came while it was written
            try:
                key, row = self.from_values(json.loads(line))
                known[key] = row
            except (ValueError, KeyError, TypeError) as error:
                raise JournalError(
                    f"{self.path}: line {number} is not an episode ({error})"
                ) from None
        return known


def journal_path(result: Path) -> Path:
    """Where the journal of a result file lies."""
    return result.with_name(f"{result.name}.partial.jsonl")


def _compare(path: Path, wanted: Any, found: Any, field: str) -> None:
    """Raise `JournalError` for the first field that differs."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name in wanted | found:
            _compare(path, wanted.get(name), found.get(name), f"{field}.{name}".lstrip("."))
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, pair in enumerate(zip(wanted, found, strict=True)):
            _compare(path, *pair, f"{field}[{index}]")
    elif wanted != found:
        raise JournalError(
            f"{path}: {field}: the interrupted evaluation had {found!r}, this one has {wanted!r}; "
            "give the same settings, or leave out --resume to begin again"
        )
