"""What to do instead of a policy that is stuck: what was tried already, and what is under way."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from policies.interface import ActionChunk, Observation
from world_models.planning.progress import Progress

SAME_WAY_M, SAME_OPENING = 0.01, 0.1  # recoveries that differ by less are the same
MOST_TRIES = 5  # without getting further; then the policy is left alone


class Recovery:
    """Notices that a policy is stuck, and remembers what was done about it."""

    def __init__(self, patience_s: float) -> None:
        self._progress = Progress(patience_s)
        self.reset()

    def reset(self) -> None:
        self._progress.restart()
        self._tried: list[NDArray[np.float64]] = []  # since it got stuck
        self._stuck_at = math.inf  # the best score then
        self._under_way: ActionChunk | None = None
        self._instruction = ""

    def note(self, observation: Observation, own_score: float) -> bool:
        """What is imagined of the policy's own chunk; whether that is better than ever before."""
        better = self._progress.record(observation.stamp_ns, own_score)
        if self._progress.best > self._stuck_at:
            self._tried, self._stuck_at = [], math.inf
        return better

    def needed(self, observation: Observation) -> bool:
        """Whether the policy is stuck with its instruction, and not everything was tried."""
        if observation.instruction != self._instruction:
            self.reset()
            self._instruction = observation.instruction
        stuck = self._progress.stuck(observation.stamp_ns)
        return stuck and len(self._tried) < MOST_TRIES

    def untried(self, others: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of `others` (n, k, 7) those that have not been carried out since it got stuck."""
        kept = [not any(_alike(each, done) for done in self._tried) for each in others]
        return others[kept]

    def begin(self, chosen: NDArray[np.float64]) -> None:
        """`chosen` (k, 7) goes out: the situation will be another one."""
        self._tried.append(chosen)
        self._stuck_at = min(self._stuck_at, self._progress.best)
        self._progress.restart()

    def goes_out(self, chunk: ActionChunk | None) -> None:
        """The answer that carries it out; None: an ordinary one."""
        self._under_way = chunk

    def rest(self, observation: Observation) -> ActionChunk | None:
        """What is left of it: it is carried out as a whole, however often somebody asks."""
        whole = self._under_way
        if whole is None or observation.instruction != self._instruction:
            return None
        passed = round((observation.stamp_ns - whole.stamp_ns) * 1e-9 / whole.dt_s)
        if not 0 < passed < len(whole.actions):
            return None
        return replace(whole, actions=whole.actions[passed:], stamp_ns=observation.stamp_ns)


def _alike(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether fingers and the tool's way are the same but for what neighboring decisions differ."""
    if one.shape != other.shape:
        return False
    way_m = np.abs((one - other)[:, :3].sum(axis=0)).max()
    return bool(way_m < SAME_WAY_M and np.abs((one - other)[:, 6]).max() < SAME_OPENING)
