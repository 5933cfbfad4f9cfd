"""Which joint states are believed: not old, nor from the future, nor further on than an arm gets,
nor far beyond the joints' range.

A stream that leaps is doubted: an encoder or a driver lies, or somebody else moved the arm. A leap
while the arm has work to do is believed when it has lasted for `LEAP_WORKING_NS`, else sooner. No
ROS, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TURNING_RAD_S = 0.02  # slower, an arm stands
NOISE_RAD = 0.003  # of encoders: two counts of 4096 a turn
WINDOW_NS = 100_000_000
MARGIN_RAD = 0.1  # on top of what the arm can have moved
LEAP_WORKING_NS = 2_000_000_000
LEAP_RESTING_NS = 100_000_000
STAYS_RAD = 0.02  # further, an arm was moved since its joint states leapt
BEYOND_RAD = 0.05  # its range, a joint may be measured: noise, and what a calibration is off


@dataclass(frozen=True)
class JointRange:
    """Where the joints can be, each by its name."""

    names: Sequence[str]  # n
    lower_rad: NDArray[np.float64]  # (n,)
    upper_rad: NDArray[np.float64]  # (n,)

    def problem(self, positions: NDArray[np.float64]) -> str:
        """What is to be said of `positions` (n,) [rad] that cannot be; empty: nothing."""
        beyond_rad = np.maximum(self.lower_rad - positions, positions - self.upper_rad)
        worst = int(np.argmax(beyond_rad))
        if beyond_rad[worst] <= BEYOND_RAD:
            return ""
        return (
            f"joint {self.names[worst]} is measured at {positions[worst]:.2f} rad, expected "
            f"{self.lower_rad[worst]:.2f} to {self.upper_rad[worst]:.2f} rad, its range: check its "
            "calibration, or move it back by hand"
        )


@dataclass(frozen=True)
class _Doubt:
    since_ns: int
    patience_ns: int
    last_ns: int
    positions: NDArray[np.float64]
    paused: bool  # before the first of them


class JointWatch:
    """The last joint state that was believed, and why the newest is not."""

    def __init__(
        self,
        velocity_rad_s: NDArray[np.float64],
        timeout_ns: int,
        joint_range: JointRange | None = None,
    ) -> None:
        """`velocity_rad_s` (n,): the fastest that the joints turn."""
        self._velocity_rad_s = np.asarray(velocity_rad_s, float)
        self._range = joint_range
        self._timeout_ns = timeout_ns
        self._known: tuple[int, NDArray[np.float64]] | None = None  # (arrival [ns], (n,) [rad])
        self._doubt: _Doubt | None = None
        self._changed_ns = 0  # when what is known was last another: a driver may repeat itself
        self.stamp_ns = 0  # of the state that is known
        self._before: tuple[int, NDArray[np.float64]] | None = None  # (stamp [ns], (n,) [rad])
        self.leapt = False  # to what is known, since a motion was last made from what is
        self._lie: NDArray[np.float64] | None = None  # where to, in a stream without a pause
        self.turning = False  # whether the arm moved within the last `WINDOW_NS`
        self.problem = ""

    def add(self, positions: NDArray, stamp_ns: int, now_ns: int, working: bool) -> bool:
        """Measured positions (n,) [rad] arrive; False: they are not believed."""
        positions = np.asarray(positions, dtype=float)
        age_ns = now_ns - stamp_ns
        if abs(age_ns) > self._timeout_ns:
            when = "old" if age_ns > 0 else "ahead of this machine's clock"
            self.problem = f"joint states are {abs(age_ns) / 1e6:.0f} ms {when}"
            return False
        if self._range is not None and (problem := self._range.problem(positions)):
            self.problem = problem  # no such pose can be held
            return False
        # While it is doubted, a leap does not become likelier by the time that passes.
        until_ns = now_ns if self._doubt is None else self._doubt.since_ns
        leaps = self._known is not None and not self._follows(positions, until_ns, *self._known)
        if leaps and not self._outlasts_doubt(positions, now_ns, working):
            assert self._known is not None
            leap_rad = float(np.abs(positions - self._known[1]).max())
            self.problem = f"joint states leapt by {leap_rad:.2f} rad"
            return False
        self._look_whether_it_turns(positions, stamp_ns)
        if leaps:
            assert self._known is not None and self._doubt is not None
            self.leapt = True
            self._lie = None if self._doubt.paused else positions
        if self._known is None or np.any(positions != self._known[1]):
            self._changed_ns = now_ns
        self._known, self._doubt, self.problem = (now_ns, positions), None, ""
        self.stamp_ns = stamp_ns
        return True

    def fresh(self, now_ns: int) -> NDArray[np.float64] | None:
        """The measured joints (n,) [rad]; None when they are missing or stale."""
        if self._known is None or now_ns - self._known[0] > self._timeout_ns:
            return None
        return self._known[1]

    @property
    def lies(self) -> bool:
        """Whether it leapt as no arm can to where it is, and has stayed there since."""
        if self._lie is None or self._known is None:
            return False
        return bool(np.abs(self._known[1] - self._lie).max() <= STAYS_RAD)

    def trust(self) -> None:
        """A motion begins at what is known: where it came from counts no more."""
        self.leapt, self._lie = False, None

    def forget(self) -> None:
        """The clock was set: nothing is known of when anything was."""
        self._known = self._doubt = self._before = None

    def _look_whether_it_turns(self, positions: NDArray[np.float64], stamp_ns: int) -> None:
        """Over so long a time that noise is none; at 1 kHz it is, from one state to the next."""
        if self._before is None or stamp_ns < self._before[0]:
            self._before = (stamp_ns, positions)
            return
        passed_ns = stamp_ns - self._before[0]
        turned_rad = float(np.abs(positions - self._before[1]).max())
        turned = turned_rad > NOISE_RAD + TURNING_RAD_S * passed_ns / 1e9
        if turned or passed_ns >= WINDOW_NS:
            self.turning, self._before = turned, (stamp_ns, positions)

    def _follows(
        self, positions: NDArray, now_ns: int, then_ns: int, before: NDArray[np.float64]
    ) -> bool:
        passed_s = min(now_ns - then_ns, self._timeout_ns) / 1e9
        return bool(
            np.all(np.abs(positions - before) <= MARGIN_RAD + self._velocity_rad_s * passed_s)
        )

    def _outlasts_doubt(self, positions: NDArray, now_ns: int, working: bool) -> bool:
        doubt = self._doubt
        if doubt is None or not self._follows(positions, now_ns, doubt.last_ns, doubt.positions):
            patience_ns = LEAP_WORKING_NS if working else LEAP_RESTING_NS
            last_ns = self._changed_ns if doubt is None else doubt.last_ns
            paused = now_ns - last_ns > self._timeout_ns or (doubt is not None and doubt.paused)
            self._doubt = _Doubt(now_ns, patience_ns, now_ns, positions, paused)
            return False
        self._doubt = _Doubt(doubt.since_ns, doubt.patience_ns, now_ns, positions, doubt.paused)
        return now_ns - doubt.since_ns >= doubt.patience_ns
