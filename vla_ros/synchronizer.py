"""Brings camera images and joint states together by their header stamps. No ROS, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HISTORY = 64  # samples kept per stream; more than a second of joint states at 50 Hz
CLOCK_JUMP_NS = 1_000_000_000  # a stream this far behind its own past has had its clock set back


class StreamError(ValueError):
    """A stream is missing, stale or does not match the others in time; says which and by much."""


@dataclass(frozen=True)
class Snapshot:
    """Streams that belong to one instant."""

    stamp_ns: int  # [ns] of the oldest stream used
    images: Mapping[str, NDArray[np.uint8]]  # camera -> (height, width, 3) uint8, RGB
    joints: NDArray[np.float64]  # (n,) as given to `add_joints`


class Synchronizer:
    """Keeps a short past of every stream and picks the newest set that agrees.

    The newest image of the first camera is the reference; of every other stream the sample nearest
    to it counts, if within `tolerance_ns`.
    """

    def __init__(self, cameras: Sequence[str], tolerance_ns: int, max_age_ns: int) -> None:
        if not cameras:
            raise ValueError("cameras: expected at least one name, got none")
        if tolerance_ns <= 0 or max_age_ns <= 0:
            raise ValueError(
                "tolerance_ns, max_age_ns: expected positive numbers, "
                f"got {tolerance_ns}, {max_age_ns}"
            )
        self._cameras = tuple(cameras)
        self._tolerance_ns = tolerance_ns
        self._max_age_ns = max_age_ns
        self._images: dict[str, deque] = {name: deque(maxlen=4) for name in cameras}
        self._joints: deque = deque(maxlen=HISTORY)

    def add_image(self, camera: str, stamp_ns: int, image: NDArray[np.uint8]) -> None:
        if camera not in self._images:
            raise ValueError(f"camera: expected one of {self._cameras}, got {camera!r}")
        _append(self._images[camera], stamp_ns, image)

    def add_joints(self, stamp_ns: int, joints: NDArray[np.float64]) -> None:
        _append(self._joints, stamp_ns, joints)

    def clear(self) -> None:
        for stream in (*self._images.values(), self._joints):
            stream.clear()

    def newest(self, now_ns: int) -> Snapshot:
        """The newest set of samples that agree in time; raises `StreamError` if there is none."""
        streams = {f"camera {name!r}": stream for name, stream in self._images.items()}
        streams["joint states"] = self._joints
        for name, stream in streams.items():
            if not stream:
                raise StreamError(f"{name}: nothing has arrived yet")
            age_ns = now_ns - stream[-1][0]
            if age_ns > self._max_age_ns:
                raise StreamError(
                    f"{name}: stale, the newest is {age_ns / 1e6:.0f} ms old; "
                    f"at most {self._max_age_ns / 1e6:.0f} ms expected"
                )
            if age_ns < -self._tolerance_ns:
                raise StreamError(
                    f"{name}: stamped {-age_ns / 1e6:.0f} ms in the future; are the clocks set?"
                )
        reference_ns = self._images[self._cameras[0]][-1][0]
        chosen = {}
        for name, stream in streams.items():
            stamp_ns, value = min(stream, key=lambda sample: abs(sample[0] - reference_ns))
            if abs(stamp_ns - reference_ns) > self._tolerance_ns:
                raise StreamError(
                    f"{name}: {(stamp_ns - reference_ns) / 1e6:+.0f} ms from camera "
                    f"{self._cameras[0]!r}; at most {self._tolerance_ns / 1e6:.0f} ms expected"
                )
            chosen[name] = (stamp_ns, value)
        return Snapshot(
            stamp_ns=min(stamp_ns for stamp_ns, _ in chosen.values()),
            images={name: chosen[f"camera {name!r}"][1] for name in self._cameras},
            joints=chosen["joint states"][1],
        )


def _append(stream: deque, stamp_ns: int, value) -> None:
    """Keep stamps rising: what comes late is dropped, a clock set back starts anew."""
    if stream and stamp_ns <= stream[-1][0]:
        if stream[-1][0] - stamp_ns < CLOCK_JUMP_NS:
            return
        stream.clear()
    stream.append((stamp_ns, value))
