"""What an arm, or a gripper, was told lately, also while nothing is recorded.

A controller goes on with the trajectory it has when an episode begins: where its command stands
then is known only to who has heard it before.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RECENT_NS = 2_000_000_000  # kept; and for so long after its end a trajectory tells of the command


@dataclass(frozen=True)
class Command:
    """One trajectory as it came."""

    arrived_ns: int
    times_ns: NDArray[np.int64]  # (k,), absolute, rising
    positions: NDArray[np.float64]  # (k, n)


class RecentCommands:
    """The trajectories of the last `RECENT_NS`, and the one before them."""

    def __init__(self) -> None:
        self._kept: deque[Command] = deque()

    def add(self, command: Command) -> None:
        """A clock that goes back makes what was before unknown."""
        kept = self._kept
        if kept and command.arrived_ns < kept[-1].arrived_ns:
            kept.clear()
        kept.append(command)
        while len(kept) > 1 and kept[1].arrived_ns < command.arrived_ns - RECENT_NS:
            kept.popleft()

    def standing(self, start_ns: int) -> list[Command]:
        """Those that say where the command stands at `start_ns`; none, when the last ended long
        before: somebody may have moved the arm by other means since."""
        if not self._kept or self._kept[-1].times_ns[-1] < start_ns - RECENT_NS:
            return []
        return [each for each in self._kept if each.times_ns[-1] > each.arrived_ns]
