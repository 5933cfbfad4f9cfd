"""One stream through the relay: what comes in goes out, unless a fault is in between. No ROS."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Delivery:
    """What a fault makes of a message: it, another one or bytes that are none, now or later."""

    message: Any
    delay_ns: int = 0
    good: bool = True  # the robot may act on it
    refusable: bool = False  # the executor itself has to hold as soon as it has it


Transform = Callable[[Any, int], list[Delivery]]  # of (message, now [ns])


class Channel:
    """Passes messages to `publish`, and knows when the last good one went out."""

    def __init__(self, publish: Callable[[Any], None]) -> None:
        self._publish = publish
        self._transform: Transform | None = None
        self._waiting: list[tuple[int, int, Delivery]] = []
        self._numbers = itertools.count()
        self.last_good_ns: int | None = None
        self.first_refusable_ns: int | None = None  # since the fault began
        self.delivered = 0

    def begin(self, transform: Transform) -> None:
        """From now on messages go through `transform`."""
        self._transform = transform
        self.first_refusable_ns = None

    def end(self) -> None:
        """The fault is over; what it still holds back is lost."""
        self._transform = None
        self._waiting.clear()

    def take(self, message: Any, now_ns: int) -> None:
        """A message came in."""
        if self._transform is None:
            deliveries = [Delivery(message)]
        else:
            deliveries = self._transform(message, now_ns)
        for each in deliveries:
            heapq.heappush(self._waiting, (now_ns + each.delay_ns, next(self._numbers), each))
        self.flush(now_ns)

    def flush(self, now_ns: int) -> None:
        """Send what is due."""
        while self._waiting and self._waiting[0][0] <= now_ns:
            delivery = heapq.heappop(self._waiting)[2]
            self._publish(delivery.message)
            self.delivered += 1
            if delivery.good:
                self.last_good_ns = now_ns
            if delivery.refusable and self.first_refusable_ns is None:
                self.first_refusable_ns = now_ns
