"""What is left of a motion when it goes out, as points of a JointTrajectory. No ROS, no clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.command import Command
from vla_ros.planning import Motion
from vla_ros.trajectory import Trajectory

LEAST_NS = 1_000_000  # from now: what is nearer is past when it arrives
ARM_LEAST_NS = 10_000_000  # for the arm: what is nearer it would be yanked to, if it comes late
APART_NS = 2_000_000  # of two points at least: between nearer ones rounding would be acceleration
GRIPPER_TIME_NS = 20_000_000  # in which an opening is reached; it is wanted all along its row


@dataclass(frozen=True)
class Points:
    """Rows at `times_ns` (k,) [ns] from now, rising."""

    times_ns: NDArray[np.int64]
    positions: NDArray[np.float64]  # (k, n)
    velocities: NDArray[np.float64] | None = None  # (k, n)


def arm_points(trajectory: Trajectory, now_ns: int, command: Command | None = None) -> Points:
    """Positions [rad] and velocities [rad/s] that are still to come; at least the last.

    A motion that begins later is preceded by what `command` says until then: the controller drops
    the rest of the old one when the new one arrives, and would find its own way to it.
    """
    least_ns = ARM_LEAST_NS
    if trajectory.unsent_ns:
        least_ns = max(least_ns, trajectory.start_ns + trajectory.unsent_ns - now_ns)
    ahead, times_ns = _remaining(trajectory.start_ns + trajectory.times_ns, now_ns, least_ns)
    points = Points(times_ns, trajectory.positions[ahead], trajectory.velocities[ahead])
    if command is None:
        return points
    before_ns = command.points_ns(now_ns + least_ns, trajectory.start_ns - APART_NS)
    if len(before_ns) == 0:
        return points
    apart = np.diff(before_ns, append=trajectory.start_ns) >= APART_NS
    before_ns = before_ns[apart]
    phases = [command.at(int(instant_ns)) for instant_ns in before_ns]
    assert points.velocities is not None
    return Points(
        np.concatenate([before_ns - now_ns, times_ns]),
        np.vstack([*(phase.positions for phase in phases), points.positions]),
        np.vstack([*(phase.velocities for phase in phases), points.velocities]),
    )


def gripper_points(motion: Motion, now_ns: int) -> Points:
    """Openings (k, 1), 0 to 1."""
    ahead, times_ns = _remaining(motion.gripper_ns + GRIPPER_TIME_NS, now_ns, LEAST_NS)
    return Points(times_ns, motion.gripper[ahead][:, None])


def held_gripper_points(opening: float) -> Points:
    """One `opening`, 0 to 1, to stay at."""
    return Points(np.array([GRIPPER_TIME_NS]), np.array([[opening]]))


def _remaining(
    instants_ns: NDArray[np.int64], now_ns: int, least_ns: int
) -> tuple[NDArray, NDArray[np.int64]]:
    ahead = instants_ns > now_ns + least_ns
    ahead[-1] = True
    return ahead, np.maximum(instants_ns[ahead] - now_ns, least_ns)
