"""Whether a camera shows one picture again and again while the arm moves. No ROS, no clock.

A driver or a bridge that hangs may send its last picture for ever, with new stamps. A sensor's
noise changes some pixel in every picture; a rendered scene stays the same as long as nothing moves,
and so may a compressed picture of one. So the arm's motion has to show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.synchronizer import Snapshot

MOVED_RAD = 0.05  # or m, of fingers: what has to show in some pixel


@dataclass
class _Shown:
    """What a camera has shown since it last changed."""

    image: NDArray[np.uint8]  # (height, width, 3)
    since_ns: int
    joints: NDArray[np.float64]  # (n,) when it came


class StillPictures:
    """Compares every camera's picture with the one before."""

    def __init__(self, longest_ns: int) -> None:
        """A picture may stay the same for `longest_ns` while the arm moves; 0: for ever."""
        self._longest_ns = longest_ns
        self._shown: dict[str, _Shown] = {}

    def problem(self, snapshot: Snapshot) -> str:
        """What is to be said of the cameras at this `snapshot`; empty: nothing.

        Snapshots come in the order of their stamps; a clock that was set back begins anew.
        """
        if self._longest_ns == 0:
            return ""
        found = [self._problem_of(camera, snapshot) for camera in snapshot.images]
        return "; ".join(each for each in found if each)

    def _problem_of(self, camera: str, snapshot: Snapshot) -> str:
        image, joints = snapshot.images[camera], snapshot.joints
        shown = self._shown.get(camera)
        if (
            shown is None
            or snapshot.stamp_ns < shown.since_ns
            or not np.array_equal(image, shown.image)
        ):
            self._shown[camera] = _Shown(image, snapshot.stamp_ns, joints)
            return ""
        # Where it is now, not how far it has been: an encoder's error that is over is forgotten.
        moved_rad = float(np.max(np.abs(joints - shown.joints)))
        still_ns = snapshot.stamp_ns - shown.since_ns
        if still_ns < self._longest_ns or moved_rad < MOVED_RAD:
            return ""
        return (
            f"camera {camera!r}: the same picture for {still_ns / 1e9:.1f} s, in every pixel, "
            f"while a joint moved by {moved_rad:.2f} rad: does its driver hang? "
            "(still_picture_s)"
        )
