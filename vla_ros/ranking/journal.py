"""What a ranking has done so far, beside its result's file, so that it can go on.

An episode depends on the world model, the policy and what its key names, so that a run may go on
with more policies, episodes or environments than it began with.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from sim.evaluation.journal import checkpoint_of
from sim.evaluation.provenance import fingerprint, versions
from sim.journal import LineJournal, journal_path
from sim.scenes import descriptions
from vla_ros.ranking.settings import Job, Key, Ranking
from vla_ros.ranking.work import Episode


class RankingJournal(LineJournal[Key, Episode]):
    """An episode a line."""

    def __init__(self, result: Path, ranking: Ranking, resume: bool) -> None:
        """The journal of the result file `result`; raises `JournalError` for other settings."""
        self._checkpoints = {each.label: checkpoint_of(each.policy) for each in ranking.contestants}
        header = {
            "world_model": fingerprint(ranking.world_model),
            "threshold": ranking.threshold,
            "decode_steps": ranking.decode_steps,
            "device": ranking.device,
            "scenes": descriptions(ranking.env_ids),
            "versions": versions(),
        }
        super().__init__(journal_path(result), header, resume)

    def has(self, job: Job) -> bool:
        """Whether nothing of this job is left to do."""
        row = self.known.get(job.key)
        return row is not None and not (job.simulate and row.simulated_success is None)

    def to_values(self, key: Key, row: Episode) -> dict[str, Any]:
        return {**asdict(row), "checkpoint": self._checkpoints.get(row.policy)}

    def from_values(self, values: dict[str, Any]) -> tuple[Key, Episode]:
        checkpoint = values.pop("checkpoint")
        row = Episode(**values)
        if checkpoint != self._checkpoints.get(row.policy, checkpoint):
            raise ValueError(f"the policy {row.policy} has changed since")
        return (row.policy, row.variant, row.env_id, row.seed), row
