"""Where the joint states have the tool, in words for who compares it with a ruler. No ROS.

Only that shows a description of another arm, or one that counts from another place, before the arm
moves by it.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from vla_ros.checks import BodyLike

UNKNOWN = "unknown"  # as long as the joints are


def tool_pose(body: BodyLike, joints: NDArray[np.float64] | None) -> dict[str, str]:
    """For `/diagnostics`: x, y, z [m] and roll, pitch, yaw [degrees] about fixed axes, both from
    the description's root link. `joints` (n,) [rad] are measured; None: nobody knows them."""
    if joints is None:
        return {"tool_m": UNKNOWN, "tool_roll_pitch_yaw_deg": UNKNOWN}
    position, rotation = body.forward(joints)
    with warnings.catch_warnings():  # scipy has one where the pitch is a right angle: roll or yaw
        warnings.simplefilter("ignore")  # is arbitrary there, and both together are right
        angles_deg = rotation.as_euler("xyz", degrees=True)
    return {
        "tool_m": _rounded(position, 3),
        "tool_roll_pitch_yaw_deg": _rounded(angles_deg, 1),
    }


def _rounded(values: NDArray[np.float64], digits: int) -> str:
    return " ".join(f"{round(value, digits) + 0.0:.{digits}f}" for value in values.tolist())
