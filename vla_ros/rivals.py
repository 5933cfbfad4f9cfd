"""Whether another executor commands the same arm. No ROS; times are of a steady clock.

Each tells who it is, a few times a second. The number of publishers that ROS knows would not do:
one that was killed counts on for a while, and the executor that takes its place has to move.
"""

from __future__ import annotations

from uuid import uuid4

PRESENT_NS = 1_000_000_000  # who has been silent for so long is gone
MOST = 100  # that are remembered


class Rivals:
    """The executors that are heard beside this one."""

    def __init__(self) -> None:
        self.identity = uuid4().hex  # of this one
        self._heard_ns: dict[str, int] = {}

    def hear(self, identity: str, now_ns: int) -> None:
        """Somebody tells who it is; it may be this one."""
        if identity == self.identity:
            return
        self._forget(now_ns)
        if len(self._heard_ns) < MOST:
            self._heard_ns[identity] = now_ns

    def count(self, now_ns: int) -> int:
        """How many others are there."""
        self._forget(now_ns)
        return len(self._heard_ns)

    def _forget(self, now_ns: int) -> None:
        self._heard_ns = {
            each: heard_ns
            for each, heard_ns in self._heard_ns.items()
            if now_ns - heard_ns <= PRESENT_NS
        }
