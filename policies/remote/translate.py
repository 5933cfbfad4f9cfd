"""Between our types and the dictionaries on the wire, as a `KeyTable` says. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from policies.interface import ACTION_DIM, ActionChunk, ActionError, Observation, ObservationError
from policies.remote.images import decode_image
from policies.remote.table import STATE_PARTS, KeyTable

PANDA_FINGER_TRAVEL_M = 0.04  # of each finger
UNIT_TOLERANCE = 1e-2  # of a quaternion's length: float32 and rounding, not another layout
MAX_ACTIONS = 1000  # in one chunk
MAX_INSTRUCTION = 2000  # characters


def observation_to_message(
    observation: Observation,
    table: KeyTable,
    cameras: tuple[str, ...],
    encode: Callable[[NDArray[np.uint8]], Any] = np.ascontiguousarray,
) -> dict[str, Any]:
    """What a server gets; `encode` makes of an image what is sent."""
    message: dict[str, Any] = {
        table.images[camera]: encode(observation.camera(camera)) for camera in cameras
    }
    for key, parts in table.state.items():
        message[key] = np.concatenate([_part(observation, part) for part in parts])
    message[table.prompt] = observation.instruction
    return message


def observation_from_message(
    message: Mapping[str, Any], table: KeyTable, cameras: tuple[str, ...], stamp_ns: int
) -> Observation:
    """What a client sent. Raises `ObservationError` naming the key; other keys are ignored."""
    images = {
        camera: decode_image(_value(message, table.images[camera]), table.images[camera])
        for camera in cameras
    }
    prompt = _value(message, table.prompt)
    if not isinstance(prompt, str) or len(prompt) > MAX_INSTRUCTION:
        raise ObservationError(
            f"{table.prompt}: expected text of at most {MAX_INSTRUCTION} characters, got "
            f"{type(prompt).__name__}{f' of {len(prompt)}' if isinstance(prompt, str) else ''}"
        )
    state: dict[str, NDArray[np.float64]] = {"joint_positions": np.zeros(0)}
    for key, parts in table.state.items():
        if parts == ("joint_positions",) and key not in message:
            continue
        state.update(_split(_value(message, key), key, parts))
    return Observation(
        images=images,
        joint_positions=state["joint_positions"],
        gripper_opening=_opening(state),
        ee_position=state["ee_position"],
        ee_quaternion=_quaternion(state),
        instruction=prompt,
        stamp_ns=stamp_ns,
    )


def actions_to_message(chunk: ActionChunk, table: KeyTable) -> NDArray[np.float64]:
    """(k, 7) in the table's units. Raises `ActionError` for poses where displacements are meant."""
    actions = np.array(chunk.actions, dtype=np.float64)
    if table.plain_actions:
        return actions
    if chunk.mode != "delta":
        raise ActionError(f"mode: this table carries displacements, the policy gives {chunk.mode}")
    if table.rotation == "axis_angle":
        actions[:, 3:6] = Rotation.from_euler("xyz", actions[:, 3:6]).as_rotvec()
    actions[:, :3] /= table.translation_m
    actions[:, 3:6] /= table.rotation_rad
    if table.gripper == "closed_positive":
        actions[:, 6] = 1.0 - 2.0 * actions[:, 6]
    return actions


def actions_from_message(message: Mapping[str, Any], table: KeyTable) -> NDArray[np.float64]:
    """(k, 7) as in an `ActionChunk`. Raises `ActionError`."""
    value = message.get(table.actions)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise ActionError(
            f"{table.actions}: expected an array of numbers, got "
            f"{getattr(value, 'dtype', type(value).__name__)}; the answer has "
            f"{', '.join(map(str, message))}"
        )
    if value.ndim != 2 or value.shape[1] != ACTION_DIM or not 1 <= len(value) <= MAX_ACTIONS:
        raise ActionError(
            f"{table.actions}: expected shape (1 to {MAX_ACTIONS}, {ACTION_DIM}), got {value.shape}"
        )
    actions = value.astype(np.float64)
    if not np.all(np.isfinite(actions)):
        raise ActionError(f"{table.actions}: expected finite numbers")
    if not table.plain_actions:
        actions[:, :3] *= table.translation_m
        actions[:, 3:6] *= table.rotation_rad
        if table.rotation == "axis_angle":
            actions[:, 3:6] = Rotation.from_rotvec(actions[:, 3:6]).as_euler("xyz")
        if table.gripper == "closed_positive":
            actions[:, 6] = (1.0 - actions[:, 6]) / 2.0
    actions[:, 6] = np.clip(actions[:, 6], 0.0, 1.0)
    return actions


def _part(observation: Observation, name: str) -> NDArray[np.float64]:
    """(n,) of one of `STATE_PARTS`."""
    quaternion = np.asarray(observation.ee_quaternion, dtype=np.float64)
    opening = float(observation.gripper_opening)
    if name == "joint_positions":
        return np.asarray(observation.joint_positions, dtype=np.float64)
    if name == "ee_position":
        return np.asarray(observation.ee_position, dtype=np.float64)
    if name == "ee_quaternion":
        return quaternion
    if name == "ee_quaternion_xyzw":
        return quaternion[[1, 2, 3, 0]]
    if name == "ee_axis_angle":
        return Rotation.from_quat(quaternion, scalar_first=True).as_rotvec()
    if name == "ee_roll_pitch_yaw":
        return Rotation.from_quat(quaternion, scalar_first=True).as_euler("xyz")
    if name == "gripper_opening":
        return np.array([opening])
    if name == "gripper_closure":
        return np.array([1.0 - opening])
    finger_m = opening * PANDA_FINGER_TRAVEL_M
    return np.array([finger_m, -finger_m])


def _value(message: Mapping[str, Any], key: str) -> Any:
    if key not in message:
        raise ObservationError(f"{key} is missing; the message has {', '.join(map(str, message))}")
    return message[key]


def _split(value: Any, key: str, parts: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
    """The parts of one state vector."""
    array = np.asarray(value) if isinstance(value, list) else value
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or array.ndim != 1:
        raise ObservationError(
            f"{key}: expected a vector of numbers, got {type(value).__name__} of shape "
            f"{getattr(value, 'shape', ())}"
        )
    numbers = array.astype(np.float64)
    if parts == ("joint_positions",):
        return {"joint_positions": numbers}
    sizes = [STATE_PARTS[part] or 0 for part in parts]
    if len(numbers) != sum(sizes):
        raise ObservationError(
            f"{key}: expected {sum(sizes)} numbers ({', '.join(parts)}), got {len(numbers)}"
        )
    return dict(zip(parts, np.split(numbers, np.cumsum(sizes)[:-1]), strict=True))


def _opening(state: Mapping[str, NDArray[np.float64]]) -> float:
    if "gripper_opening" in state:
        return float(state["gripper_opening"][0])
    if "gripper_closure" in state:
        return 1.0 - float(state["gripper_closure"][0])
    left, right = state["panda_fingers"]
    return float(np.clip((left - right) / (2 * PANDA_FINGER_TRAVEL_M), 0.0, 1.0))


def _quaternion(state: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """(4,) w x y z."""
    if "ee_axis_angle" in state:
        rotation = Rotation.from_rotvec(state["ee_axis_angle"])
        return rotation.as_quat(canonical=True, scalar_first=True)
    if "ee_roll_pitch_yaw" in state:
        rotation = Rotation.from_euler("xyz", state["ee_roll_pitch_yaw"])
        return rotation.as_quat(canonical=True, scalar_first=True)
    if "ee_quaternion" in state:
        quaternion = state["ee_quaternion"]
    else:
        quaternion = state["ee_quaternion_xyzw"][[3, 0, 1, 2]]
    length = float(np.linalg.norm(quaternion))
    if not abs(length - 1.0) <= UNIT_TOLERANCE:  # nan is no length either
        raise ObservationError(
            f"ee_quaternion: expected a unit quaternion, got length {length:.3g}"
        )
    return quaternion
