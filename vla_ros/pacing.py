"""At most so many a second, of what comes with jitter. No ROS, no clock."""

from __future__ import annotations

EARLY_SHARE = 0.75  # of a period, that one may come before its time


class Pacer:
    """Lets things through by their stamps at `rate_hz` on average, each up to 3/4 period early.

    The generic cell rate algorithm (ITU-T I.371). A least distance between two would lose every
    image that follows a late one: stamps of cameras and joints jitter by a good part of a period.
    """

    def __init__(self, rate_hz: float) -> None:
        self.period_ns = round(1e9 / rate_hz)
        self._early_ns = round(EARLY_SHARE * self.period_ns)
        self._last_ns = 0
        self._due_ns = 0  # when the next one is due, if none comes early

    def allows(self, stamp_ns: int) -> bool:
        """Whether one of this stamp may pass now; a clock that was set back starts anew."""
        return stamp_ns < self._last_ns or stamp_ns >= self._due_ns - self._early_ns

    def take(self, stamp_ns: int) -> None:
        """It has passed."""
        due_ns = stamp_ns if stamp_ns < self._last_ns else max(self._due_ns, stamp_ns)
        self._due_ns = due_ns + self.period_ns
        self._last_ns = stamp_ns
