"""When the arm had to hold, when it did, and when it stood still. Plain numbers, no ROS.

`hold_ms` is the time between two instants. The first is when the last input on which the arm may
act could have arrived and its time-out is over: the executor's own for chunks (0.5 s after the last
one) and joint states (0.2 s); for images the one for chunks, after the last image and the policy's
time to answer; nothing for what must be refused and for stops, which count from their arrival. The
second is when the executor says that it moves the arm no longer, as it sends the holding command.
Where the executor itself is gone, the first instant is the end of the last command it sent (every
motion ends at rest), and the second is when the arm stands still.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vla_ros.execution import Timeouts
from vla_ros.executor_state import State
from vla_ros.faults.channel import Channel
from vla_ros.faults.fault import CHUNKS, GRIPPER, IMAGES, JOINTS, Holds

REST_RAD_S = 0.03  # slower, the arm stands still
REST_NS = 100_000_000  # for that long
# Within which the arm stands still: braking (up to 0.3 s), the wait after it (0.1 s), and back to
# the measured joints at a fifth of the speed (up to 0.2 rad: 0.6 s); half again if it is busy.
BRAKING_NS = 1_500_000_000


@dataclass(frozen=True)
class Sample:
    """The arm as the simulation has it."""

    time_ns: int
    speed_rad_s: float  # of the fastest joint


def due_ns(
    holds: Holds,
    channels: dict[str, Channel],
    stopped_ns: int | None,
    answer_ns: int,
    command_end_ns: int | None,
    begun_ns: int,
    timeouts: Timeouts,
) -> int | None:
    """From when on the arm has to hold; None: it need not.

    `stopped_ns` is when an emergency stop was last sent, `answer_ns` how long the policy takes for
    an image, `command_end_ns` when the last command ends, `begun_ns` when the fault began.
    """
    if holds is Holds.NEVER:
        return None
    if holds is Holds.COMMANDS:
        return max(begun_ns, command_end_ns or begun_ns)
    if holds is Holds.AT_ONCE:
        refused = [each.first_refusable_ns for each in channels.values()]
        known = [each for each in (*refused, stopped_ns) if each is not None and each >= begun_ns]
        return min(known, default=None)
    streams, timeout_ns = {
        Holds.CHUNKS: ((CHUNKS, GRIPPER), timeouts.chunk_ns),
        Holds.IMAGES: ((IMAGES,), timeouts.chunk_ns + answer_ns),
        Holds.JOINTS: ((JOINTS,), timeouts.joints_ns),
    }[holds]
    last = [channels[stream].last_good_ns for stream in streams]
    return min((each for each in last if each is not None), default=0) + timeout_ns


def rest_after(samples: Sequence[Sample], from_ns: int) -> int | None:
    """Since when the arm has stood still, from `from_ns` on; None: it does not, or not for long.

    A rest that does not last is none.
    """
    since_ns: int | None = None
    last_ns = from_ns
    for sample in samples:
        if sample.time_ns < from_ns:
            continue
        last_ns = sample.time_ns
        if sample.speed_rad_s > REST_RAD_S:
            since_ns = None
        elif since_ns is None:
            since_ns = sample.time_ns
    return since_ns if since_ns is not None and last_ns - since_ns >= REST_NS else None


def held_at(states: Sequence[tuple[int, str]], begun_ns: int) -> int | None:
    """Since when the executor has said, after `begun_ns`, that it does not move; None: it moves.

    A hold that does not last is none.
    """
    since_ns: int | None = None
    for time_ns, state in states:
        if time_ns < begun_ns:
            continue
        if state == State.MOVING:
            since_ns = None
        elif since_ns is None:
            since_ns = time_ns
    return since_ns
