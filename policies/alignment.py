"""What is left of a chunk that arrives late, by the times its actions are meant for.

The simulator's evaluation and the ROS executor share it. Pure: the time is an argument.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from policies.chunks import absolute_poses
from policies.interface import ActionChunk, Observation


def end_times_ns(count: int, dt_s: float) -> NDArray[np.int64]:
    """When each of `count` actions should be done: (count,) [ns] after the chunk's stamp."""
    return np.round(np.arange(1, count + 1) * dt_s * 1e9).astype(np.int64)


def first_remaining(ends_ns: NDArray[np.int64], now_ns: int) -> int:
    """The index of the first action that should not be done yet at `now_ns`.

    `ends_ns` (k,) rises and counts as `now_ns` does. When all should be done, the last one's is
    still the newest pose wanted, and its index is returned.
    """
    return min(int(np.sum(ends_ns <= now_ns)), len(ends_ns) - 1)


def aligned(chunk: ActionChunk, observation: Observation, now_ns: int) -> ActionChunk:
    """What is left of `chunk` at `now_ns`, as absolute poses.

    Actions whose time has passed are dropped, and displacements become the poses they lead to from
    the pose that was observed: whatever the arm did meanwhile is not done a second time. The stamp
    moves by what was dropped, so that row i is still meant for `stamp_ns + dt_s * (i + 1)`. Of a
    chunk of one action that is late the pose stays, as the newest one wanted.
    """
    positions, rotations, gripper = absolute_poses(chunk, observation)
    ends_ns = chunk.stamp_ns + end_times_ns(len(positions), chunk.dt_s)
    first = first_remaining(ends_ns, now_ns)
    rows = np.column_stack([positions, rotations.as_euler("xyz"), gripper])  # (k, 7)
    stamp_ns = chunk.stamp_ns if first == 0 else int(ends_ns[first - 1])
    return replace(chunk, actions=rows[first:], mode="absolute", stamp_ns=stamp_ns)
