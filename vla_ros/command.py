"""What the arm has been told: the trajectory in force, and when there was none to follow."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vla_ros.trajectory import Phase, Trajectory

REMEMBERED = 64  # trajectories: several seconds
NOTHING = np.zeros(0, np.int64)


@dataclass(frozen=True)
class _Sent:
    trajectory: Trajectory
    reached_ns: NDArray[np.int64]  # (k + 1,) from its start: 0, then when it is at each pose
    meant_ns: NDArray[np.int64]  # (k + 1,) and when the chunk wanted it there

    def progress_ns(self, begin_ns: int, end_ns: int) -> int:
        """How far it gets in what was wanted between two instants: at most as far as time does."""
        instants = np.array([begin_ns, end_ns]) - self.trajectory.start_ns
        meant = np.interp(instants, self.reached_ns, self.meant_ns)
        return min(round(meant[1] - meant[0]), end_ns - begin_ns)


class Command:
    """The trajectories sent so far, each in force until the next one begins."""

    def __init__(self) -> None:
        self._sent: deque[_Sent] = deque(maxlen=REMEMBERED)

    @property
    def running(self) -> Trajectory | None:
        """The newest; None before the first."""
        return self._sent[-1].trajectory if self._sent else None

    @property
    def end_ns(self) -> int:
        """When the arm is at rest if nothing more is sent; 0 before the first."""
        return self._sent[-1].trajectory.end_ns if self._sent else 0

    def replace(
        self,
        trajectory: Trajectory,
        reached_ns: NDArray[np.int64] = NOTHING,
        meant_ns: NDArray[np.int64] = NOTHING,
    ) -> None:
        """From its start on `trajectory` is in force.

        It is at its poses `reached_ns` (k,) after that, where it should be at `meant_ns` (k,);
        without them it carries out nothing that was wanted.
        """
        while self._sent and self._sent[-1].trajectory.start_ns >= trajectory.start_ns:
            self._sent.pop()  # it never came into force
        zero = np.zeros(1, np.int64)
        times = (np.concatenate([zero, each]) for each in (reached_ns, meant_ns))
        self._sent.append(_Sent(trajectory, *times))

    def shift(self, step_ns: int) -> None:
        """The clock was set by so much: all was sent by the old one, and goes on in real time."""
        for row, sent in enumerate(self._sent):
            moved = replace(sent.trajectory, start_ns=sent.trajectory.start_ns + step_ns)
            self._sent[row] = replace(sent, trajectory=moved)

    def at(self, now_ns: int) -> Phase:
        """What is commanded at `now_ns`; `LookupError` before the first."""
        for sent in reversed(self._sent):
            if sent.trajectory.start_ns <= now_ns:
                return sent.trajectory.at(now_ns)
        return self._sent[0].trajectory.at(now_ns)

    def points_ns(self, from_ns: int, until_ns: int) -> NDArray[np.int64]:
        """(k,) [ns], rising: between two instants, those at which a trajectory in force has a point
        or another one comes into force. From one to the next, `at` is one cubic polynomial."""
        found: list[NDArray[np.int64]] = []
        for sent in reversed(self._sent):
            if until_ns <= from_ns:
                break  # all older ones were over before
            times_ns = sent.trajectory.start_ns + sent.trajectory.times_ns
            found.append(times_ns[(times_ns > from_ns) & (times_ns < until_ns)])
            until_ns = min(until_ns, sent.trajectory.start_ns)
        return np.concatenate([NOTHING, *reversed(found)])

    def behind_ns(self, from_ns: int, to_ns: int) -> int:
        """By how much the arm stood still or fell behind what was wanted between two instants."""
        progress_ns, until_ns = 0, to_ns
        for sent in reversed(self._sent):
            begin_ns = max(sent.trajectory.start_ns, from_ns)
            if begin_ns < until_ns:
                progress_ns += sent.progress_ns(begin_ns, until_ns)
                until_ns = begin_ns
        return max(0, to_ns - from_ns) - progress_ns
