"""From a chunk of displacements to poses in the base frame; what `ActionChunk`'s docstring says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from policies.interface import ActionChunk, ActionError, Observation


def absolute_poses(
    chunk: ActionChunk, observation: Observation
) -> tuple[NDArray[np.float64], Rotation, NDArray[np.float64]]:
    """Where the tool should be at `chunk.stamp_ns + chunk.dt_s * (1..k)`.

    Returns positions (k, 3) [m] and k rotations in the base frame, and the gripper opening (k,) in
    [0, 1]. `observation` is the one the chunk was predicted from: its tool pose is where the
    displacements begin.
    """
    if chunk.stamp_ns != observation.stamp_ns:
        raise ActionError(
            f"stamp_ns: expected the chunk of the observation at {observation.stamp_ns}, "
            f"got one at {chunk.stamp_ns}"
        )
    actions = np.asarray(chunk.actions, dtype=np.float64)  # (k, 7)
    gripper = actions[:, 6].copy()
    turns = Rotation.from_euler("xyz", actions[:, 3:6])
    if chunk.mode == "absolute":
        return actions[:, :3].copy(), turns, gripper
    positions = np.asarray(observation.ee_position) + np.cumsum(actions[:, :3], axis=0)
    rotation = Rotation.from_quat(observation.ee_quaternion, scalar_first=True)
    rotations = []
    for turn in turns:
        rotation = turn * rotation  # about the base frame's axes
        rotations.append(rotation)
    return positions, Rotation.concatenate(rotations), gripper
