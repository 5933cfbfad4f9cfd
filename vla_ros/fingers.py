"""What the fingers have been told, and what they are told to stay at when the arm holds.

No ROS, no clock. The controller goes from one opening to the next along a straight line.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vla_ros.planning import Motion
from vla_ros.points import GRIPPER_TIME_NS, gripper_points

ARRIVAL_NS = 200_000_000  # so much later than here the controller may still follow what was sent
SAME_OPENING = 1e-6


class Fingers:
    """The openings that were sent last, with their times."""

    def __init__(self) -> None:
        self._times_ns: NDArray[np.int64] | None = None  # (k,), rising
        self._openings: NDArray[np.float64] | None = None  # (k,), 0 to 1
        self._measured: float | None = None

    @property
    def told(self) -> bool:
        """Whether anything was sent."""
        return self._openings is not None

    def on_measured(self, opening: float) -> None:
        """Where they are; counts until they are told anything."""
        self._measured = opening

    def follow(self, motion: Motion, now_ns: int) -> None:
        """What goes out at `now_ns` takes the place of what was sent before."""
        points = gripper_points(motion, now_ns)
        begin = self.at(now_ns)
        if begin is None:
            begin = float(motion.gripper[0]) if self._measured is None else self._measured
        self._times_ns = np.concatenate([[now_ns], now_ns + points.times_ns])
        self._openings = np.concatenate([[begin], points.positions[:, 0]])

    def at(self, now_ns: int) -> float | None:
        """The opening that they are told at `now_ns`; None: none yet."""
        if self._times_ns is None or self._openings is None:
            return None
        elapsed = (self._times_ns - self._times_ns[0]).astype(float)
        return float(np.interp(float(now_ns - self._times_ns[0]), elapsed, self._openings))

    def hold(self, now_ns: int) -> float | None:
        """The opening to send, so that nothing that is still to come is carried out.

        None: nothing is, and what they grip stays gripped without a word.
        """
        opening, before = self.at(now_ns), self.at(now_ns - ARRIVAL_NS)
        if opening is None or before is None or self._times_ns is None or self._openings is None:
            return None
        to_come = np.append(self._openings[self._times_ns > now_ns - ARRIVAL_NS], before)
        if np.all(np.abs(to_come - opening) < SAME_OPENING):
            return None
        self._times_ns = np.array([now_ns, now_ns + GRIPPER_TIME_NS])
        self._openings = np.array([opening, opening])
        return opening

    def shift(self, step_ns: int) -> None:
        """The clock was set by so much."""
        if self._times_ns is not None:
            self._times_ns = self._times_ns + step_ns
