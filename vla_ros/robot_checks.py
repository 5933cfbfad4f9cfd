"""Whether a robot's file and its description belong together; beside `vla_ros.robots`."""

from __future__ import annotations

import mujoco
import numpy as np

from sim import arm_description
from sim.arm_model import ArmModel
from sim.kinematics import Kinematics
from vla_ros.errors import LimitsError
from vla_ros.limits import Limits


def base_frames(model: mujoco.MjModel, text: str) -> list[str]:
    """What the base may be called: tf has one more name for the built-in arm's root."""
    known = arm_description.base_frames(model, text)
    return known if text else ["base", *known]


def check_home(arm: ArmModel, limits: Limits) -> None:
    """The tool's workspace is of this robot and in its frame. Raises `LimitsError`."""
    position, _ = Kinematics(arm=arm).forward(np.asarray(arm.home_rad))
    box = limits.workspace
    if box.excess_m(position[None])[0] > 0:
        raise LimitsError(
            f"home_rad: expected a posture with the tool in the workspace, {list(box.low_m)} to "
            f"{list(box.high_m)} m from the description's root, got one with it at "
            f"{np.round(position, 3).tolist()}"
        )


def unchecked(arm: ArmModel, model: mujoco.MjModel, limits: Limits, text: str) -> tuple[str, ...]:
    """What of collisions is not checked, in words. Raises `LimitsError` for boxes to keep out of
    that nothing can be checked against."""
    if not arm_description.sees(model):
        if limits.keep_out:
            raise LimitsError(
                f"limits: keep_out_m: expected a description in which parts that move have shapes, "
                f"{arm.source} has none: {arm_description.MEND}"
            )
        return (
            f"{arm.source}: no part that moves has a shape, so self-collision is NOT checked: "
            f"{arm_description.MEND}",
        )
    if text and (unseen := arm_description.unseen_links(text)):
        return (
            f"{arm.source}: collisions of {', '.join(unseen)} are NOT checked: "
            f"{arm_description.MEND}",
        )
    return ()
