"""Watches when messages come: the age and the rate of every stream. No ROS, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

WINDOW_NS = 2_000_000_000  # over which a rate is counted


class Streams:
    """When something came last on each of the streams `names`, and how often."""

    def __init__(self, names: Sequence[str]) -> None:
        self._arrivals: dict[str, deque[int]] = {name: deque() for name in names}

    def on(self, name: str, now_ns: int) -> None:
        """Something came. A clock that goes back makes what was before unknown."""
        arrivals = self._arrivals[name]
        if arrivals and now_ns < arrivals[-1]:
            arrivals.clear()
        arrivals.append(now_ns)
        while now_ns - arrivals[0] > WINDOW_NS:
            arrivals.popleft()

    def age_ns(self, name: str, now_ns: int) -> int | None:
        """Since the last; None: nothing has come yet."""
        arrivals = self._arrivals[name]
        return max(0, now_ns - arrivals[-1]) if arrivals else None

    def rate_hz(self, name: str, now_ns: int) -> float:
        """Over the last `WINDOW_NS`, or since the first if that is less."""
        recent = [each for each in self._arrivals[name] if now_ns - each <= WINDOW_NS]
        if len(recent) < 2:
            return 0.0
        return (len(recent) - 1) / max(1e-9, (max(now_ns, recent[-1]) - recent[0]) / 1e9)

    def values(self, now_ns: int) -> dict[str, str]:
        """For `/diagnostics`: `<name>_age_ms` and `<name>_hz`."""
        found = {}
        for name in self._arrivals:
            age_ns = self.age_ns(name, now_ns)
            found[f"{name}_age_ms"] = "never" if age_ns is None else f"{age_ns / 1e6:.0f}"
            found[f"{name}_hz"] = f"{self.rate_hz(name, now_ns):.1f}"
        return found
