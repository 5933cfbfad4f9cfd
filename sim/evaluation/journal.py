"""What an evaluation has done so far, beside its result's file, so that it can go on.

`FILE.partial.jsonl`: the settings in the first line, then an episode a line. It is removed when the
result is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sim.evaluation.episode import EpisodeResult
from sim.evaluation.provenance import fingerprint, versions
from sim.evaluation.settings import Evaluation
from sim.journal import JournalError, LineJournal, journal_path
from sim.policies import SCRIPTED, split_noise

__all__ = ["Journal", "JournalError", "journal_path"]

Key = tuple[int, str, int]  # condition, environment, seed


class Journal(LineJournal[Key, EpisodeResult]):
    """Open one with `Journal.begin`."""

    @classmethod
    def begin(cls, result: Path, evaluations: Sequence[Evaluation], resume: bool) -> Journal:
        """The journal of the result file `result`; raises `JournalError`."""
        return cls(journal_path(result), _header(evaluations), resume)

    def to_values(self, key: Key, row: EpisodeResult) -> dict[str, Any]:
        return {"condition": key[0], **asdict(row)}

    def from_values(self, values: dict[str, Any]) -> tuple[Key, EpisodeResult]:
        key = (int(values["condition"]), values["env_id"], int(values["seed"]))
        del values["condition"]
        for name in ("latencies_ms", "planning_ms"):
            values[name] = tuple(values[name])
        return key, EpisodeResult(**values)


def checkpoint_of(policy: str) -> str | None:
    """Changes when a file of the policy's checkpoint does; None: it has none."""
    _, base = split_noise(policy)
    return None if base in SCRIPTED else fingerprint(base)


def _header(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """What a result depends on: settings, the checkpoint's files and the versions."""
    first = evaluations[0]
    return {
        "env": list(first.env_ids),
        "episodes": first.episodes,
        "device": first.device,
        "conditions": [evaluation.described() for evaluation in evaluations],
        "checkpoint": checkpoint_of(first.policy),
        "versions": versions(),
    }
