"""Joint states as they came, for the episodes that will want them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vla_ros.recording.delays import MAX_CLOCK_OFFSET_NS

RECENT_NS = 2_000_000_000  # kept while nothing is recorded
FORGOTTEN_AT_ONCE = 64


class JointHistory:
    """What has been measured; a few late ones among it are in the order they came."""

    def __init__(self) -> None:
        self.stamps_ns: list[int] = []
        self.joints: list[NDArray[np.float64]] = []  # (9,) each

    @property
    def newest_ns(self) -> int:
        """0: none yet."""
        return self.stamps_ns[-1] if self.stamps_ns else 0

    def is_of_clock_set_back(self, stamp_ns: int) -> bool:
        """What was stamped before says nothing any more, and would make all that follows late."""
        return stamp_ns <= self.newest_ns - MAX_CLOCK_OFFSET_NS

    def clear(self) -> None:
        self.stamps_ns.clear()
        self.joints.clear()

    def add(self, stamp_ns: int, joints: NDArray[np.float64]) -> None:
        self.stamps_ns.append(stamp_ns)
        self.joints.append(joints)

    def forget_old(self) -> None:
        """Call it with every joint state while nothing is recorded."""
        since_ns = self.newest_ns - RECENT_NS
        old = sum(each < since_ns for each in self.stamps_ns[:FORGOTTEN_AT_ONCE])
        del self.stamps_ns[:old], self.joints[:old]
