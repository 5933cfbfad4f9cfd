"""Whether the streams of an episode are stamped by one clock: by when their messages arrive."""

from __future__ import annotations

MAX_CLOCK_OFFSET_NS = 500_000_000  # between stamps and arrival, or two streams; more are two clocks
ARRIVAL = "commands"  # count from when they arrive


class Delays:
    """The least time from stamp to arrival of every stream: a busy machine adds to it, and never
    takes away."""

    def __init__(self) -> None:
        self._least_ns: dict[str, int] = {}

    def add(self, stream: str, delay_ns: int) -> None:
        self._least_ns[stream] = min(self._least_ns.get(stream, delay_ns), delay_ns)

    @property
    def two_clocks(self) -> str:
        """Why the streams, and commands, could not be brought together; empty if they can."""
        offsets_ns = {ARRIVAL: 0, **self._least_ns}
        worst = max(offsets_ns, key=lambda stream: abs(offsets_ns[stream]))
        other = max(offsets_ns, key=lambda stream: abs(offsets_ns[stream] - offsets_ns[worst]))
        if abs(offsets_ns[other] - offsets_ns[worst]) <= MAX_CLOCK_OFFSET_NS:
            return ""
        if abs(offsets_ns[worst]) > MAX_CLOCK_OFFSET_NS:
            other = ARRIVAL
        beside = "" if other == ARRIVAL else f", {other} {offsets_ns[other] / 1e9:.2f} s"
        return (
            f"{worst} are stamped {offsets_ns[worst] / 1e9:.2f} s before they arrive{beside}: "
            "two clocks, and the streams could not be brought together"
        )
