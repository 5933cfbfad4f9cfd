"""The robot's state as seven numbers, for models with a state token."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from policies.interface import Observation

STATE_DIM = 7
# How a dataset stores it (`observation.state`), before `state_vector`.
DATASET_STATE_NAMES = ("x", "y", "z", "qw", "qx", "qy", "qz", "gripper_opening")
# A tool that points straight down, fingers opening along the base frame's y axis. The state's
# rotation is relative to it: near zero at work, where a quaternion jumps between its two signs.
DOWN = Rotation.from_matrix(np.diag([1.0, -1.0, -1.0]))


def state_vector(
    ee_position: NDArray, ee_quaternion: NDArray, gripper_opening: NDArray | float
) -> NDArray[np.float64]:
    """(..., 3) [m], (..., 4) w x y z, (...) [0, 1] -> (..., 7): x y z [m], rotation vector [rad]
    from pointing straight down, gripper opening.
    """
    quaternions = np.asarray(ee_quaternion, dtype=np.float64)
    flat = Rotation.from_quat(quaternions.reshape(-1, 4), scalar_first=True)
    turn = (flat * DOWN.inv()).as_rotvec().reshape(*quaternions.shape[:-1], 3)
    opening = np.asarray(gripper_opening, dtype=np.float64)[..., None]
    return np.concatenate([np.asarray(ee_position, dtype=np.float64), turn, opening], axis=-1)


def dataset_state(
    ee_position: NDArray, ee_quaternion: NDArray, gripper_opening: float
) -> NDArray[np.float64]:
    """(8,) as `DATASET_STATE_NAMES` says: [m], w x y z, [0, 1].

    Of a quaternion's two signs the one nearest to that of a tool pointing straight down
    (0, 1, 0, 0) is taken, or it would jump as the tool sways.
    """
    quaternion = np.asarray(ee_quaternion, dtype=np.float64)
    sign = -1.0 if quaternion[1] < 0 else 1.0
    return np.concatenate([ee_position, sign * quaternion, np.reshape(gripper_opening, 1)])


def observation_state(observation: Observation) -> NDArray[np.float64]:
    """(7,) of an observation."""
    return state_vector(
        observation.ee_position, observation.ee_quaternion, observation.gripper_opening
    )
