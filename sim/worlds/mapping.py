"""Our seven numbers and an environment's action; its pose and ours. Mathematics only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sim.worlds.config import AXES, TURNS, ActionTarget, CameraSource, GripperSource, ToolSource
from sim.worlds.paths import WorldError, look_up


def upright(source: CameraSource, image: object, field: str) -> NDArray[np.uint8]:
    """An environment's image as (h, w, 3) uint8, RGB, upright."""
    array = np.asarray(image)
    came = array.shape
    if source.layout == "chw" and array.ndim == 3:
        array = array.transpose(1, 2, 0)  # (3, h, w) -> (h, w, 3)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise WorldError(
            f"{field}: expected an uint8 image of layout {source.layout} with 3 channels, "
            f"got {array.dtype} of shape {came}"
        )
    if "vertical" in source.flip:
        array = array[::-1]
    if "horizontal" in source.flip:
        array = array[:, ::-1]
    if source.channels == "bgr":
        array = array[..., ::-1]
    return np.ascontiguousarray(array)


class Frame:
    """The robot's base in the environment's world: poses go in, displacements come out."""

    def __init__(self, tool: ToolSource) -> None:
        self._position = np.array(tool.base_position_m)
        self._turn = Rotation.from_euler("z", tool.base_yaw_deg, degrees=True)

    def position(self, position_m: NDArray) -> NDArray[np.float64]:
        """(3,) [m] in the world's frame -> base frame."""
        return self._turn.inv().apply(position_m - self._position)

    def rotation(self, rotation: Rotation) -> Rotation:
        """Of the tool, in the world's frame -> base frame."""
        return self._turn.inv() * rotation

    def to_world(self, vector: NDArray) -> NDArray[np.float64]:
        """A displacement or rotation vector (3,), base frame -> world's frame."""
        return self._turn.apply(vector)


def tool_pose(tool: ToolSource, observation: object) -> tuple[NDArray[np.float64], Rotation]:
    """Position (3,) [m] and rotation in the base frame."""
    frame = Frame(tool)
    position = _numbers(look_up(observation, tool.position, "tool.position"), 3, "tool.position")
    position_m = frame.position(position * tool.metres_per_unit)
    if tool.quaternion is None:
        return position_m, Rotation.from_quat(tool.unmeasured, scalar_first=True)
    field = "tool.quaternion"
    values = _numbers(look_up(observation, tool.quaternion, field), 4, field)
    if not 0.9 < np.linalg.norm(values) < 1.1:
        raise WorldError(f"{field}: expected a unit quaternion, got {values}")
    rotation = Rotation.from_quat(values, scalar_first=tool.order == "wxyz")
    return position_m, frame.rotation(rotation)


def gripper_opening(gripper: GripperSource, observation: object) -> float:
    """In [0, 1], 1 = open."""
    value = _numbers(look_up(observation, gripper.path, "gripper.path"), 1, "gripper.path")[0]
    return float(np.clip((value - gripper.closed) / (gripper.open - gripper.closed), 0.0, 1.0))


def encode(
    target: ActionTarget, frame: Frame, move_m: NDArray, turn: NDArray, opening: float
) -> NDArray[np.float64]:
    """The environment's action (n,), not yet clipped to its space.

    `move_m` (3,) [m] and `turn` (3,), a rotation vector [rad], are what is left of the way, in
    the base frame; `opening` in [0, 1].
    """
    move = target.gain * frame.to_world(move_m) / target.metres_per_unit
    rotation = Rotation.from_rotvec(target.gain * frame.to_world(turn))
    angles = (
        rotation.as_rotvec()
        if target.rotation == "rotation_vector"
        else rotation.as_euler("xyz")  # about fixed axes
    ) / target.radians_per_unit
    displacement = np.concatenate([move, angles])  # (6,)
    if target.clip is not None:
        low, high = target.clip
        displacement = np.clip(displacement, low, high)
    values = dict(zip((*AXES, *TURNS), displacement, strict=True))
    values["gripper"] = target.gripper_closed + float(np.clip(opening, 0.0, 1.0)) * (
        target.gripper_open - target.gripper_closed
    )
    return np.array([values.get(entry, 0.0) for entry in target.entries])


def _numbers(value: object, count: int, field: str) -> NDArray[np.float64]:
    try:
        array = np.asarray(value, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise WorldError(f"{field}: expected {count} number(s), got {value!r}") from None
    if array.shape != (count,) or not np.all(np.isfinite(array)):
        raise WorldError(f"{field}: expected {count} finite number(s), got {value!r}")
    return array
