"""What an evaluation has done so far, beside its result's file, so that it can go on.

`FILE.partial.jsonl`: the settings in the first line, then an episode a line, each on disk before
the next is taken. It is removed when the result is written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from sim.evaluation.episode import EpisodeResult
from sim.evaluation.provenance import fingerprint, versions
from sim.evaluation.settings import Evaluation
from sim.policies import SCRIPTED

Key = tuple[int, str, int]  # condition, environment, seed


class JournalError(ValueError):
    """A journal that does not belong to this evaluation, or is not one."""


class Journal:
    """Open one with `Journal.begin`; `close` leaves it for another run, `remove` does not."""

    def __init__(self, path: Path, header: dict[str, Any], known: dict[Key, EpisodeResult]) -> None:
        self.path = path
        self.known = known
        self._write_all(header)
        self._file: TextIO = path.open("a")

    @classmethod
    def begin(cls, result: Path, evaluations: Sequence[Evaluation], resume: bool) -> Journal:
        """The journal of the result file `result`.

        With `resume` the episodes of a journal that lies there are kept; without, or without one,
        it begins empty. Raises `JournalError`, naming the field, for one of other settings.
        """
        path = journal_path(result)
        header = _header(evaluations)
        known = _read(path, header) if resume and path.exists() else {}
        return cls(path, header, known)

    def add(self, key: Key, result: EpisodeResult) -> None:
        """Keep an episode: on disk when this returns."""
        self._file.write(_line(key, result))
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Leave it for `resume`."""
        self._file.close()

    def remove(self) -> None:
        """The result is written: nothing is left to go on with."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _write_all(self, header: dict[str, Any]) -> None:
        """Header and known episodes, whole: a line that was cut off by a crash is gone."""
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        lines = [json.dumps(header) + "\n", *(_line(*each) for each in self.known.items())]
        try:
            temporary.write_text("".join(lines))
            os.replace(temporary, self.path)
        finally:
            temporary.unlink(missing_ok=True)


def journal_path(result: Path) -> Path:
    """Where the journal of a result file lies."""
    return result.with_name(f"{result.name}.partial.jsonl")


def _header(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """What a result depends on: settings, the checkpoint's files and the versions."""
    first = evaluations[0]
    return {
        "env": list(first.env_ids),
        "episodes": first.episodes,
        "device": first.device,
        "conditions": [evaluation.described() for evaluation in evaluations],
        "checkpoint": None if first.policy in SCRIPTED else fingerprint(first.policy),
        "versions": versions(),
    }


def _read(path: Path, header: dict[str, Any]) -> dict[Key, EpisodeResult]:
    first, *lines = path.read_text().splitlines(keepends=True) or [""]
    try:
        found = json.loads(first)
        _compare(path, header, found, "")
    except (json.JSONDecodeError, AttributeError, TypeError):
        raise JournalError(
            f"{path}: expected an evaluation's journal, got {first[:60]!r}"
        ) from None
    known: dict[Key, EpisodeResult] = {}
    for number, line in enumerate(lines, start=2):
        if not line.endswith("\n"):
            break  # the crash came while it was written
        try:
            values = json.loads(line)
            key = (int(values["condition"]), values["env_id"], int(values["seed"]))
            del values["condition"]
            for name in ("latencies_ms", "planning_ms"):
                values[name] = tuple(values[name])
            known[key] = EpisodeResult(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise JournalError(f"{path}: line {number} is not an episode ({error})") from None
    return known


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


def _line(key: Key, result: EpisodeResult) -> str:
    return json.dumps({"condition": key[0], **asdict(result)}) + "\n"
