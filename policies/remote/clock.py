"""How far another machine's clock is ahead, and how long the way there and back takes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW = 64  # exchanges: clocks drift, so old ones do not count


@dataclass(frozen=True)
class Exchange:
    """One question and its answer: four readings of two clocks, as in NTP (RFC 5905, section 8)."""

    sent_ns: int  # our clock
    received_ns: int  # theirs
    answered_ns: int  # theirs
    heard_ns: int  # ours

    @property
    def server_ns(self) -> int:
        """From the question's arrival there to the answer's departure."""
        return self.answered_ns - self.received_ns

    @property
    def network_ns(self) -> int:
        """Both ways together."""
        return self.heard_ns - self.sent_ns - self.server_ns

    @property
    def offset_ns(self) -> int:
        """Theirs minus ours if both ways took equally long; off by half of `network_ns` at most."""
        return ((self.received_ns - self.sent_ns) + (self.answered_ns - self.heard_ns)) // 2


class ClockOffset:
    """The offset of the exchange with the quickest way among the last `WINDOW` (RFC 5905, 10)."""

    def __init__(self) -> None:
        self._exchanges: deque[Exchange] = deque(maxlen=WINDOW)

    def add(self, exchange: Exchange) -> None:
        """An exchange during which a clock was set back is left out."""
        if exchange.network_ns >= 0 and exchange.server_ns >= 0:
            self._exchanges.append(exchange)

    def estimate_ns(self) -> tuple[int, int] | None:
        """(theirs minus ours, largest error of that); None before the first exchange."""
        if not self._exchanges:
            return None
        best = min(self._exchanges, key=lambda exchange: exchange.network_ns)
        return best.offset_ns, (best.network_ns + 1) // 2
