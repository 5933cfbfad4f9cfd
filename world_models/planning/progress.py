"""Whether a policy gets anywhere: what is imagined of its own chunks should become better.

A model that sees one picture cannot tell an arm that is about to open its hand from one that has
been about to for three seconds. Time can: the score is success discounted by the time until then,
so it rises while the work goes on as imagined, and stays where it is when the policy is stuck.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import median

PAUSE_S = 5.0  # between two decisions: longer, and the policy was not asked
SMOOTHED = 3  # scores: a policy that wavers is imagined to succeed in one decision of several


class Progress:
    """The best score so far, and since when there was none better."""

    def __init__(self, patience_s: float) -> None:
        """Without a better score for `patience_s` the policy is stuck; infinite: never."""
        self._patience_s = patience_s
        self.restart()

    def restart(self) -> None:
        """Forget what was: the situation is another one."""
        self._scores: deque[float] = deque(maxlen=SMOOTHED)
        self._since_ns: int | None = None
        self._last_ns = 0
        self.best = -math.inf

    def record(self, stamp_ns: int, score: float) -> bool:
        """The score of the policy's chunk at this time; whether that is better than ever."""
        self._last_ns = stamp_ns
        self._scores.append(score)
        smooth = median(self._scores)
        better = smooth > self.best
        if better:
            self.best, self._since_ns = smooth, stamp_ns
        return better

    def stuck(self, stamp_ns: int) -> bool:
        """Whether nothing better has been imagined for longer than the patience.

        A long pause is none of the policy's: it counts anew, as after a clock set back.
        """
        if self._since_ns is None:
            return False
        if not 0 <= (stamp_ns - self._last_ns) * 1e-9 <= PAUSE_S:
            self.restart()
            return False
        return (stamp_ns - self._since_ns) * 1e-9 >= self._patience_s
