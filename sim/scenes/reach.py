"""Whether the arm gets to a place with its fingers pointing down."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policies.openvla.state import DOWN
from sim import robot
from sim.kinematics import Kinematics
from sim.scenes.layout import Misfit

MAX_SHORT_M = 0.005
MAX_TILT_RAD = 0.1
ROUNDS = 5  # of `Kinematics.inverse`, as `sim.tasks.base.draw_start` has it


def shortfall(kinematics: Kinematics, position: NDArray) -> tuple[float, float]:
    """How far the tool stays from `position` (3,) [m], and its fingers from pointing down [rad]."""
    joints = robot.HOME_RAD
    short = np.inf
    for _ in range(ROUNDS):
        joints, short = kinematics.inverse(joints, position, DOWN)
        _, rotation = kinematics.forward(joints)
        tilt = (rotation * DOWN.inv()).magnitude()
        if short < MAX_SHORT_M / 5 and tilt < MAX_TILT_RAD / 5:
            break
    return float(short), float(tilt)


def check_reach(kinematics: Kinematics, called: str, position: NDArray) -> None:
    """Raises `Misfit` where the arm does not get to `position` (3,) [m]."""
    short, tilt = shortfall(kinematics, position)
    if short > MAX_SHORT_M or tilt > MAX_TILT_RAD:
        x, y, z = position
        raise Misfit(
            f"{called} is out of reach: at x {x:.2f} y {y:.2f} z {z:.2f} the fingers end "
            f"{1e3 * short:.0f} mm short and {np.degrees(tilt):.0f} degrees tilted"
        )
