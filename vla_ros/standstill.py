"""Does the arm move at all when it is told to? No ROS, no clock.

One that stands still was stopped by something of its own (a protective stop, a pendant, a brake),
is held by an obstacle, or its joint states are not the arm's. What it is told meanwhile it would
make up for at once when it is let go.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STANDS_NS = 500_000_000  # longer than any arm lags behind its command
STANDS_RAD = 0.005  # the noise of encoders, and what settles
TOLD_RAD = 0.02  # less may be lost in play and dry friction


class Standstill:
    """Compares what is measured with what was commanded at that time, while the arm should move."""

    def __init__(self, unseen_ns: int) -> None:
        """`unseen_ns`: longer between two joint states, nobody knows what the arm did meanwhile."""
        self._unseen_ns = unseen_ns
        self._stood: NDArray[np.float64] | None = None  # (n,) [rad], where it stands
        self._told: NDArray[np.float64] = np.zeros(0)  # (n,) [rad], the command when it came there
        self._told_to_move_ns: int | None = None  # when the command had left that
        self._last_ns = 0

    def forget(self) -> None:
        """The arm is not told to move any more."""
        self._stood = None

    def add(
        self, measured: NDArray[np.float64], commanded: NDArray[np.float64], stamp_ns: int
    ) -> bool:
        """(n,) [rad] each, at `stamp_ns`. True: it has stood still although it was told to move."""
        passed_ns = stamp_ns - self._last_ns
        if self._stood is not None and -self._unseen_ns <= passed_ns < 0:
            return False  # one that was measured later has overtaken it
        unseen = abs(passed_ns) > self._unseen_ns
        self._last_ns = stamp_ns
        if self._stood is None or unseen or np.abs(measured - self._stood).max() > STANDS_RAD:
            self._stood, self._told, self._told_to_move_ns = measured, commanded, None
            return False
        if self._told_to_move_ns is None:
            if np.max(np.abs(commanded - self._told)) >= TOLD_RAD:
                self._told_to_move_ns = stamp_ns
            return False
        return stamp_ns - self._told_to_move_ns >= STANDS_NS
