"""The robot's state as a world model takes it: 14 numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from policies.interface import ACTION_DIM, Observation, ObservationError
from policies.openvla.preprocess import resize
from policies.openvla.state import DOWN, STATE_DIM, observation_state
from world_models.interface import Context

STATE_NAMES = (
    *("x", "y", "z", "turn_x", "turn_y", "turn_z", "gripper_opening"),  # see openvla.state
    *(f"joint_{index}" for index in range(1, 8)),
)


def full_state(tool: NDArray, joints: NDArray) -> NDArray[np.float32]:
    """(..., 7) as `policies.openvla.state` has it and (..., 7) [rad] -> (..., 14)."""
    if tool.shape[-1] != STATE_DIM or joints.shape[-1] != len(STATE_NAMES) - STATE_DIM:
        raise ObservationError(
            f"state: expected {STATE_DIM} numbers of the tool and {len(STATE_NAMES) - STATE_DIM} "
            f"joints, got {tool.shape[-1]} and {joints.shape[-1]}"
        )
    return np.concatenate([tool, joints], axis=-1).astype(np.float32)


def to_observation(
    state: NDArray, images: Mapping[str, NDArray[np.uint8]], instruction: str, stamp_ns: int = 0
) -> Observation:
    """The inverse of `full_state`: (14,) and what was seen, as the policies' `Observation`."""
    state = np.asarray(state, dtype=np.float64)
    rotation = Rotation.from_rotvec(state[3:6]) * DOWN
    return Observation(
        images=images,
        joint_positions=state[STATE_DIM:],
        gripper_opening=float(np.clip(state[6], 0.0, 1.0)),
        ee_position=state[:3],
        ee_quaternion=rotation.as_quat(canonical=True, scalar_first=True),
        instruction=instruction,
        stamp_ns=stamp_ns,
    )


def context_of(
    observations: Sequence[Observation], actions: Sequence[NDArray], camera: str, size_px: int
) -> Context:
    """One situation from what a robot saw; `actions` (k, 7) led from each observation to the next.

    Raises `ObservationError` for a missing camera or an arm of another build.
    """
    if len(actions) != len(observations) - 1:
        raise ObservationError(
            f"actions: expected {len(observations) - 1}, one between observations, "
            f"got {len(actions)}"
        )
    images = np.stack([resize(each.camera(camera), size_px) for each in observations])
    states = np.stack(
        [full_state(observation_state(each), each.joint_positions) for each in observations]
    )
    done = np.stack(actions) if len(actions) else np.zeros((0, 1, ACTION_DIM))
    return Context(images[None], states[None], done[None], (observations[-1].instruction,))
