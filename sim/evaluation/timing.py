"""When a policy's answers reach the robot, and what is still done of them then."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from policies.alignment import aligned
from policies.interface import ActionChunk, Observation
from sim.env import CONTROL_RATE_HZ

LateChunks = Literal["align", "naive"]
LATE_CHUNKS: tuple[str, ...] = get_args(LateChunks)
MAX_DELAY_MS = 10_000.0


@dataclass(frozen=True)
class Timing:
    """How long an answer takes, in simulated time, and how it is taken up."""

    delay_ms: float = 0.0  # from the observation to the arrival of its actions
    realtime: bool = False  # the policy's own measured time on top: depends on the machine
    late_chunks: LateChunks = "align"  # drop what is over, or begin with the first action
    asynchronous: bool = False  # look again while a chunk is executed, so that the next is in time

    def __post_init__(self) -> None:
        if not 0.0 <= self.delay_ms <= MAX_DELAY_MS:
            raise ValueError(f"delay_ms: expected 0 to {MAX_DELAY_MS:.0f}, got {self.delay_ms}")
        if self.late_chunks not in LATE_CHUNKS:
            raise ValueError(
                f"late_chunks: expected one of {', '.join(LATE_CHUNKS)}, got {self.late_chunks!r}"
            )

    @property
    def frozen(self) -> bool:
        """Whether the world stands still while the policy computes."""
        return self.delay_ms == 0 and not self.realtime

    def delay_ticks(self, latency_ms: float, tick_ms: float) -> int:
        """The delay of one answer in physics steps, rounded up; `latency_ms` as it was measured."""
        delay_ms = self.delay_ms + (latency_ms if self.realtime else 0.0)
        return math.ceil(delay_ms / tick_ms - 1e-9)


NO_DELAY = Timing()


@dataclass(frozen=True)
class Row:
    """One action for the arm: what to do, and within how many physics steps."""

    action: NDArray[np.float64]  # (7,), see `ActionChunk`
    absolute: bool
    ticks: int

    def rest(self, ticks: int) -> Row:
        """What is left of it after `ticks` of its steps."""
        left = self.ticks - ticks
        if self.absolute:
            return replace(self, ticks=left)
        action = np.concatenate([self.action[:6] * (left / self.ticks), self.action[6:]])
        return replace(self, action=action, ticks=left)


def rows_on_arrival(
    chunk: ActionChunk,
    observation: Observation,
    late_ticks: int,
    held_ticks: int,
    tick_ns: int,
    late_chunks: str,
) -> list[Row]:
    """What the arm is told when `chunk` arrives `late_ticks` physics steps after its observation.

    "naive": all of it, from the first action, as if nothing had happened since the observation.
    "align": what its times leave, as absolute poses; the first one in what is left of its time, or,
    when all are over, the last pose in one action's time. Times in which the arm stood still
    (`held_ticks` of the delay) do not count: what nobody did is not dropped. Without a delay both
    are the chunk as it stands.
    """
    period = round(1e9 / CONTROL_RATE_HZ / tick_ns)  # [ticks] for one action
    if late_ticks == 0 or late_chunks == "naive":
        absolute = chunk.mode == "absolute"
        return [Row(action, absolute, period) for action in chunk.actions]
    if not math.isclose(chunk.dt_s, 1.0 / CONTROL_RATE_HZ):
        raise ValueError(
            f"late_chunks: aligning needs actions at the robot's {CONTROL_RATE_HZ:g} Hz, "
            f"this policy's are at {1.0 / chunk.dt_s:g} Hz; choose naive"
        )
    now_ns = chunk.stamp_ns + (late_ticks - held_ticks) * tick_ns
    left = aligned(chunk, observation, now_ns)
    first_ticks = round((left.stamp_ns - now_ns) / tick_ns) + period  # less than 1: it is over
    lengths = [first_ticks if first_ticks > 0 else period, *[period] * (len(left.actions) - 1)]
    return [Row(action, True, ticks) for action, ticks in zip(left.actions, lengths, strict=True)]


def next_look(
    timing: Timing,
    looked_at: int,
    arrival: int,
    rows: Sequence[Row],
    execute_steps: int | None,
    period: int,
) -> int:
    """When the policy looks again [ticks]; the times are in the same clock.

    Synchronous: when the first `execute_steps` of `rows` (None: all) are done. Asynchronous:
    earlier by the delay of the last answer, so that the next one arrives just then; not before the
    last one came (one inference at a time), nor twice within one action's time.
    """
    done = arrival + sum(row.ticks for row in rows[:execute_steps])
    if not timing.asynchronous:
        return done
    return max(arrival, looked_at + period, done - (arrival - looked_at))
