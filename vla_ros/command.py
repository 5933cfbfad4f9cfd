"""What the arm has been told: the trajectory in force, and when there was none to follow."""

from __future__ import annotations

from collections import deque

from vla_ros.trajectory import Phase, Trajectory

REMEMBERED = 64  # trajectories: several seconds


class Command:
    """The trajectories sent so far, each in force until the next one begins."""

    def __init__(self) -> None:
        self._sent: deque[Trajectory] = deque(maxlen=REMEMBERED)

    @property
    def running(self) -> Trajectory | None:
        """The newest; None before the first."""
        return self._sent[-1] if self._sent else None

    @property
    def end_ns(self) -> int:
        """When the arm is at rest if nothing more is sent; 0 before the first."""
        return self._sent[-1].end_ns if self._sent else 0

    def replace(self, trajectory: Trajectory) -> None:
        """From its start on `trajectory` is in force."""
        while self._sent and self._sent[-1].start_ns >= trajectory.start_ns:
            self._sent.pop()  # it never came into force
        self._sent.append(trajectory)

    def at(self, now_ns: int) -> Phase:
        """What is commanded at `now_ns`; `LookupError` before the first."""
        for trajectory in reversed(self._sent):
            if trajectory.start_ns <= now_ns:
                return trajectory.at(now_ns)
        return self._sent[0].at(now_ns)

    def idle_ns(self, from_ns: int, to_ns: int) -> int:
        """For how long between the two there was nothing to follow: the arm stood still."""
        busy_ns, until_ns = 0, to_ns
        for trajectory in reversed(self._sent):
            begin_ns = max(trajectory.start_ns, from_ns)
            end_ns = min(trajectory.end_ns, until_ns)
            moves = trajectory.positions[0] != trajectory.positions[-1]
            if moves.any() or trajectory.velocities.any():
                busy_ns += max(0, end_ns - begin_ns)
            until_ns = min(until_ns, trajectory.start_ns)
            if until_ns <= from_ns:
                break
        return max(0, to_ns - from_ns) - busy_ns
