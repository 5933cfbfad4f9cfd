"""When the messages of a bag's topics came, and whether their stamps are of one clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

MAX_CLOCK_OFFSET_S = 0.5  # by which two clocks may differ


@dataclass
class Arrivals:
    """When the messages of one topic came, in the order they did.

    Several drivers may publish on it, each with a clock of its own; which of the wanted joints they
    name tells them apart.
    """

    kind: str
    stamps_ns: list[int] = field(default_factory=list)  # of the header, or as received
    received_ns: list[int] = field(default_factory=list)
    stamped: bool = False
    late: int = 0  # came after newer ones of the same driver
    publishers: int = 0  # known when the recording began; 0: the bag does not say
    _newest_ns: dict[tuple[str, ...], int] = field(default_factory=dict)
    _delays_ns: dict[tuple[str, ...], list[int]] = field(default_factory=dict)

    def add(self, stamp_ns: int, received_ns: int, driver: tuple[str, ...] | None = ()) -> None:
        """`stamp_ns` 0: it has none. `driver` None: nobody wants what it says."""
        counts_ns = stamp_ns or received_ns
        self.stamps_ns.append(counts_ns)
        self.received_ns.append(received_ns)
        self.stamped |= bool(stamp_ns)
        if driver is None:
            return
        newest_ns = self._newest_ns.get(driver)
        self.late += newest_ns is not None and counts_ns <= newest_ns
        self._newest_ns[driver] = max(counts_ns, newest_ns or counts_ns)
        self._delays_ns.setdefault(driver, []).append(received_ns - counts_ns)

    def offsets_s(self, topic: str) -> dict[str, float]:
        """Typical time from stamp to recording, of every driver."""
        several = len(self._delays_ns) > 1
        return {
            f"{topic} ({', '.join(driver)})" if several else topic: float(np.median(each)) / 1e9
            for driver, each in self._delays_ns.items()
        }


def different_clocks(arrivals: Mapping[str, Arrivals]) -> str:
    """Why stamps of different clocks, or none beside another clock's, cannot be brought together;
    empty if they can."""
    offsets: dict[str, float] = {}
    for topic, each in arrivals.items():
        offsets |= each.offsets_s(topic)
    if not offsets:
        return ""
    low, high = min(offsets, key=lambda t: offsets[t]), max(offsets, key=lambda t: offsets[t])
    if offsets[high] - offsets[low] <= MAX_CLOCK_OFFSET_S:
        return ""
    return (
        f"{low} is stamped {offsets[low]:.2f} s before it was recorded, {high} "
        f"{offsets[high]:.2f} s: expected {MAX_CLOCK_OFFSET_S} s between topics at most; "
        "their clocks differ, and the streams could not be brought together"
    )
