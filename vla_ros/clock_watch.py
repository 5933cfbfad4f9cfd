"""By how much a clock was set: back, or ahead. No ROS.

What a controller was sent goes on in real time, whatever this machine's clock is set to. A steady
clock, which nobody can set, tells a clock that was set from one that simply went on.
"""

from __future__ import annotations

import time
from collections.abc import Callable

JITTER_NS = 50_000_000  # by which a clock may go back or ahead while it is adjusted
TOGETHER_NS = 1_000_000  # readings of two clocks that are further apart are none of one instant
ATTEMPTS = 5
COUNTS_SUSPENSION = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # the first is Linux'


def steady_ns() -> int:
    """A clock that nobody sets, and that goes on while the machine is suspended."""
    return time.clock_gettime_ns(COUNTS_SUSPENSION)


class ClockWatch:
    """Compares a clock with a steady one."""

    def __init__(
        self, clock: Callable[[], int] | None = None, steady: Callable[[], int] | None = None
    ) -> None:
        """Without both, as in simulation, only times that go back can tell."""
        self._clock = clock
        self._steady = steady
        self._ahead_ns: int | None = None  # of the steady clock
        self._newest_ns = 0

    def step_ns(self, now_ns: int) -> int:
        """By how much the clock was set since the last call; 0: by nothing that matters."""
        step_ns = self._stepped_ns(now_ns)
        return step_ns if abs(step_ns) > JITTER_NS else 0

    def _stepped_ns(self, now_ns: int) -> int:
        if self._clock is None or self._steady is None:
            back_ns = min(0, now_ns - self._newest_ns)
            self._newest_ns = now_ns
            return back_ns
        ahead_ns = self._difference_ns(self._clock, self._steady)
        if ahead_ns is None:
            return 0
        before_ns, self._ahead_ns = self._ahead_ns, ahead_ns
        return 0 if before_ns is None else ahead_ns - before_ns

    def _difference_ns(self, clock: Callable[[], int], steady: Callable[[], int]) -> int | None:
        """None: the process is interrupted all the time; the next call will tell."""
        for _ in range(ATTEMPTS):
            before_ns = steady()
            clock_ns = clock()
            after_ns = steady()
            if after_ns - before_ns <= TOGETHER_NS:
                return clock_ns - before_ns
        return None
