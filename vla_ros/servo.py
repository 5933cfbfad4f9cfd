"""A motion as the tool's speed, for MoveIt Servo: m/s and rad/s in the base frame. No ROS.

Servo integrates what it gets, so errors would add up: the tool is also drawn to where the motion
has it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.checks import BodyLike
from vla_ros.command import Command
from vla_ros.limits import Limits

STEP_NS = 10_000_000  # over which the motion's speed is taken
GAIN_PER_S = 2.0  # share of the distance to the motion that is made up for in a second


@dataclass(frozen=True)
class Twist:
    """Of the tool, in the base frame."""

    linear_m_s: NDArray[np.float64]  # (3,)
    angular_rad_s: NDArray[np.float64]  # (3,)


STILL = Twist(np.zeros(3), np.zeros(3))


def twist(
    command: Command,
    joints: NDArray[np.float64],
    now_ns: int,
    limits: Limits,
    body: BodyLike,
    gain_per_s: float = GAIN_PER_S,
) -> Twist:
    """What the tool should do at `now_ns`; nothing at rest. `joints` (n,) [rad] are measured."""
    running = command.running
    if running is None or running.creeps(now_ns) or command.at(now_ns).resting:
        return STILL
    here, turned = body.forward(command.at(now_ns).positions)
    there, turning = body.forward(command.at(now_ns + STEP_NS).positions)
    measured, turned_so_far = body.forward(joints)
    linear = (there - here) / (STEP_NS / 1e9) + gain_per_s * (here - measured)
    angular = (turning * turned.inv()).as_rotvec() / (STEP_NS / 1e9)
    angular = angular + gain_per_s * (turned * turned_so_far.inv()).as_rotvec()
    return Twist(_at_most(linear, limits.speed_m_s), _at_most(angular, limits.turn_rad_s))


def _at_most(vector: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    return vector * min(1.0, length / max(float(np.linalg.norm(vector)), 1e-12))
