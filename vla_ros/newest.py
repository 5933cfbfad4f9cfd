"""Who spoke last, when several publishers speak on one topic. No ROS; time is an argument.

A subscription hears a latched publisher when it finds it, maybe long after somebody else spoke:
what counts is when something was said, by its publisher's clock, not when it arrived.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from vla_ros.texts import shortened

REMEMBERED = 64  # messages; each comes up to three times, see `runtime.subscribe_latched`


class Place(Enum):
    """Of a message among those that were heard."""

    NEWEST = "newest"
    OLDER = "older"  # something newer has been said
    AGAIN = "again"  # the same message, by another subscription


class Newest:
    """Tells the newest message of a topic from older ones and from those heard before."""

    def __init__(self) -> None:
        self.older = ""  # what was said before the newest and heard after it, in words
        self._newest_ns = 0
        self._heard: deque[int] = deque(maxlen=REMEMBERED)

    def place(self, said: object, published_ns: int, now_ns: int) -> Place:
        """`said` was published at `published_ns`; 0: the middleware does not tell, so now.

        Both are of the wall clock. A publisher whose clock is ahead spoke when it was heard: it
        must not silence all others until then.
        """
        published_ns = published_ns if published_ns > 0 else now_ns
        if published_ns in self._heard:
            return Place.AGAIN
        self._heard.append(published_ns)
        if now_ns < self._newest_ns:  # this clock was set back: what is said now must count
            self._newest_ns = 0
        counts_from_ns = min(published_ns, now_ns)
        if counts_from_ns < self._newest_ns:
            before_s = (self._newest_ns - counts_from_ns) / 1e9
            self.older = (
                f"{shortened(said)} was published {before_s:.1f} s before the one that counts, "
                "by its sender's clock: publish it anew"
            )
            return Place.OLDER
        self._newest_ns, self.older = counts_from_ns, ""
        return Place.NEWEST
