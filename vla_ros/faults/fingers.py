"""Whether fingers are told to move while the executor says that it holds. No ROS, no clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LATE_NS = 100_000_000  # a command sent before may be heard so much later than what was told after
REMEMBERED = 100


@dataclass(frozen=True)
class _Sent:
    sent_ns: int
    times_ns: NDArray[np.int64]  # (k,) from when it was sent, the first 0
    openings: NDArray[np.float64]  # (k,) share of the travel; the first where it began

    def at(self, now_ns: float) -> float:
        return float(np.interp(now_ns - self.sent_ns, self.times_ns.astype(float), self.openings))


class FingersAtRest:
    """Goes through the commands as the controller does: along straight lines."""

    def __init__(self) -> None:
        self._sent: deque[_Sent] = deque(maxlen=REMEMBERED)
        self._rests_ns: deque[int] = deque(maxlen=REMEMBERED)
        self._found_ns = 0  # when the command was sent that was found last

    def on_command(self, sent_ns: int, times_ns: NDArray, openings: NDArray) -> None:
        """`openings` (k,), shares of the travel, at `times_ns` (k,) after `sent_ns`."""
        begin = self._sent[-1].at(sent_ns) if self._sent else float(openings[0])
        times_ns = np.concatenate([[0], times_ns])
        self._sent.append(_Sent(sent_ns, times_ns, np.concatenate([[begin], openings])))

    def on_state(self, rests: bool, told_ns: int) -> float:
        """The executor tells at `told_ns` what it does. Returns the share of their travel that the
        fingers go after it has said that it holds; each command counts once."""
        travel = 0.0
        while self._rests_ns and self._rests_ns[0] <= told_ns - LATE_NS:
            travel = max(travel, self._travel_since(self._rests_ns.popleft()))
        if rests:
            self._rests_ns.append(told_ns)
        return travel

    def _travel_since(self, rest_ns: int) -> float:
        """By the command that was in force then, until another took its place."""
        earlier = [each for each in self._sent if each.sent_ns <= rest_ns]
        if not earlier or earlier[-1].sent_ns == self._found_ns:
            return 0.0
        sent, later = earlier[-1], [each for each in self._sent if each.sent_ns > rest_ns]
        begin_ns = rest_ns + LATE_NS  # what was told last is reached by then
        end_ns = later[0].sent_ns if later else sent.sent_ns + int(sent.times_ns[-1])
        if end_ns <= begin_ns:
            return 0.0
        between = sent.sent_ns + sent.times_ns
        between = between[(between > begin_ns) & (between < end_ns)]
        way = [sent.at(each) for each in (begin_ns, *between, end_ns)]
        travel = float(np.abs(np.diff(way)).sum())
        if travel > 0:
            self._found_ns = sent.sent_ns
        return travel
