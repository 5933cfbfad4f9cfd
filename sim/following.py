"""The path a `joint_trajectory_controller` commands, from the trajectories it was sent."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Trajectory:
    """A trajectory as a controller received it."""

    stamp_s: float  # when it arrived
    times_s: NDArray[np.float64]  # (k,) [s], absolute, rising
    positions: NDArray[np.float64]  # (k, n) [rad]


def follow(
    trajectories: Iterable[Trajectory], initial: NDArray, start_s: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners (m,) [s] and (m, n) [rad] of the path a `joint_trajectory_controller` commands.

    Points are joined by straight lines; a new trajectory replaces the running one from where the
    command stands; points whose time has passed are dropped. Before the first, at `start_s`, the
    joints are told `initial` (n,) [rad].
    """
    stamps = [start_s]
    rows = [np.asarray(initial, float)]
    for trajectory in sorted(trajectories, key=lambda each: each.stamp_s):
        now = max(start_s, trajectory.stamp_s)
        ahead = trajectory.times_s > now
        if not ahead.any():
            continue
        index = bisect_left(stamps, now)  # corners from here on are replaced
        if index == len(stamps):
            present = rows[-1]
        elif index == 0:
            present = rows[0]
        else:
            share = (now - stamps[index - 1]) / (stamps[index] - stamps[index - 1])
            present = rows[index - 1] + share * (rows[index] - rows[index - 1])
        stamps[index:] = [now, *trajectory.times_s[ahead].tolist()]
        rows[index:] = [present, *trajectory.positions[ahead]]
    return np.array(stamps), np.stack(rows)
