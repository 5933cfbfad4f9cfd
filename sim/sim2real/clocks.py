"""Whether what a bag holds is stamped by the recorder's clock, by when each message was recorded.

A pause alone tells nothing of a clock: stamps go on after it, and so does the recorder.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim.sim2real.logs import LogError

MAX_CLOCK_OFFSET_S = 0.5  # between the stamp of any message and the recorder's clock
MAX_IMAGE_DELAY_S = 5.0  # images may come late: they are large, and networks stall


def joint_stamps_ns(
    name: str, measured_ns: Sequence[int], received_ns: Sequence[int]
) -> NDArray[np.int64]:
    """When joints were measured (n,); refuses two clocks, and one that jumps.

    Commands without a stamp are placed by the recorder's clock, so that every joint state must say
    that both clocks agree: a typical offset would not see a jump half-way.
    """
    measured, received = np.array(measured_ns), np.array(received_ns)
    if not measured.any():
        return received  # unstamped
    offsets_s = (received - measured) / 1e9  # (n,)
    worst = int(np.abs(offsets_s).argmax())
    if abs(offsets_s[worst]) > MAX_CLOCK_OFFSET_S:
        raise LogError(
            f"{name}: joint state {worst} is stamped {offsets_s[worst]:.2f} s before it was "
            f"recorded, at most {MAX_CLOCK_OFFSET_S} s expected: two clocks, or one that jumps, "
            "and commands could not be placed"
        )
    return measured


def image_stamps_ns(
    name: str, topic: str, taken_ns: Sequence[int], received_ns: Sequence[int]
) -> NDArray[np.int64]:
    """When the images of `topic` were taken (n,), 0 meaning as recorded; refuses another clock."""
    received = np.array(received_ns)
    taken = np.where(np.array(taken_ns) == 0, received, taken_ns)
    offsets_s = (received - taken) / 1e9  # (n,)
    strange = (offsets_s < -MAX_CLOCK_OFFSET_S) | (offsets_s > MAX_IMAGE_DELAY_S)
    if strange.any():
        row = int(strange.argmax())
        side = "after" if offsets_s[row] < 0 else "before"
        raise LogError(
            f"{name}: {topic}: image {row} is stamped {abs(offsets_s[row]):.2f} s {side} it was "
            f"recorded, expected at most {MAX_IMAGE_DELAY_S:g} s before and {MAX_CLOCK_OFFSET_S} s "
            "after: two clocks, or one that jumps"
        )
    return taken
