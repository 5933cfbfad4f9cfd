"""How an action becomes motion: the one rule that environments and label makers share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.kinematics import Kinematics
from sim.quaternions import displaced
from sim.tabletop import Tabletop

CONTROL_RATE_HZ = 10.0
MAX_DISPLACEMENT_M = 0.08  # per action and axis
MAX_ROTATION_RAD = 0.4
ACTION_LOW = np.array([-MAX_DISPLACEMENT_M] * 3 + [-MAX_ROTATION_RAD] * 3 + [0.0])
ACTION_HIGH = np.array([MAX_DISPLACEMENT_M] * 3 + [MAX_ROTATION_RAD] * 3 + [1.0])


def carry_out(
    world: Tabletop,
    kinematics: Kinematics,
    action: NDArray[np.float64],
    duration_s: float = 1.0 / CONTROL_RATE_HZ,
) -> None:
    """Displace the tool from its measured pose by `action` (7,), clipped, within `duration_s`."""
    action = action.clip(ACTION_LOW, ACTION_HIGH)
    joints, _ = kinematics.reach(
        world.joint_positions,
        world.ee_position + action[:3] - world.base_position,
        displaced(world.ee_quaternion, action[3:6]),
    )
    world.advance(duration_s, joints, float(action[6]))
