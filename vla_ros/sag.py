"""How far an arm comes to rest from a pose that is held: no arm stays quite where it is told to.

One that sags must not be held where it is measured again and again: it would sink each time. What
it sags is what it does soon after its own pose is held. No ROS, no clock.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEVER_NS = -(2**62)


class Sag:
    """Of all joints (n,). A gap is where the arm is measured, less what it was told: (n,) [rad]."""

    def __init__(self, joints: int, most_rad: float, noise_rad: float, within_ns: int) -> None:
        """`most_rad`: further off, an arm was moved; `within_ns`: later, too."""
        self._most_rad = most_rad
        self._noise_rad = noise_rad
        self._within_ns = within_ns
        self._held_ns = NEVER_NS
        self._found_rad: NDArray[np.float64] = np.zeros(joints)

    def hold(self, from_ns: int) -> None:
        """From then on the arm is told to stay where it was measured."""
        self._held_ns = from_ns

    def shift(self, step_ns: int) -> None:
        """The clock was set by so much."""
        self._held_ns += step_ns

    def counts(self, end_ns: int, now_ns: int) -> bool:
        """Whether what was sent last, to its end at `end_ns`, is such a hold, and a new one."""
        return end_ns == self._held_ns and now_ns - self._held_ns <= self._within_ns

    def see(self, gap_rad: NDArray[np.float64], end_ns: int, stamp_ns: int) -> None:
        """A gap is measured."""
        if self.counts(end_ns, stamp_ns) and stamp_ns >= self._held_ns:
            self._found_rad = gap_rad

    def explains(self, gap_rad: NDArray[np.float64]) -> bool:
        """Whether a resting arm is at its command, or no further from it than it sags."""
        found = np.clip(self._found_rad, -self._most_rad, self._most_rad)
        sagged = np.clip(gap_rad, np.minimum(found, 0.0), np.maximum(found, 0.0))
        return float(np.max(np.abs(gap_rad - sagged))) <= self._noise_rad

    def is_all(self, gap_rad: NDArray[np.float64]) -> bool:
        """Whether it has not moved since it came to rest, however far off that was."""
        return float(np.max(np.abs(gap_rad - self._found_rad))) <= self._noise_rad
