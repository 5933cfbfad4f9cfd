"""What crosses every boundary: one `Observation` in, one `ActionChunk` out.

The simulator, the ROS nodes, the training code and the world models meet here and nowhere else.
Nothing in this module knows about MuJoCo, ROS or PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

ACTION_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
ACTION_DIM = len(ACTION_NAMES)
MAX_INSTRUCTION = 500  # characters of an instruction that is passed on to a policy


class ObservationError(ValueError):
    """An observation a policy cannot use: wrong shape, type, range or a missing stream."""


class InstructionError(ObservationError):
    """An instruction a policy does not understand. All else may be in order."""


class ActionError(ValueError):
    """An action chunk no robot should execute: not finite, wrong shape or outside its range."""


class UnfitPolicyError(ValueError):
    """A policy that must not move this robot; the message says what is wrong with it."""


@dataclass(frozen=True)
class Observation:
    """What the robot knows at one instant. Validated when built; arrays are not copied."""

    images: Mapping[str, NDArray[np.uint8]]  # camera name -> (height, width, 3) uint8, RGB
    joint_positions: NDArray[np.float64]  # (n,) [rad], the arm's joints in the robot's order
    gripper_opening: float  # [0, 1], 0 = closed, 1 = fully open
    ee_position: NDArray[np.float64]  # (3,) [m], tool centre point, base frame
    ee_quaternion: NDArray[np.float64]  # (4,) w, x, y, z; tool orientation, base frame
    instruction: str  # what to do, in plain language; "" means stop and hold
    stamp_ns: int  # [ns], capture time of the oldest stream used

    def __post_init__(self) -> None:
        for name, image in self.images.items():
            if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
                raise ObservationError(
                    f"camera {name!r}: expected an uint8 array, got "
                    f"{getattr(image, 'dtype', type(image).__name__)}"
                )
            if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
                raise ObservationError(
                    f"camera {name!r}: expected shape (height, width, 3), got {image.shape}"
                )
        for name, value, shape in (
            ("joint_positions", self.joint_positions, (-1,)),
            ("ee_position", self.ee_position, (3,)),
            ("ee_quaternion", self.ee_quaternion, (4,)),
            ("gripper_opening", np.asarray(self.gripper_opening), ()),
        ):
            array = np.asarray(value)
            if array.ndim != len(shape) or (shape and shape[0] not in (-1, array.shape[0])):
                raise ObservationError(f"{name}: expected shape {shape}, got {array.shape}")
            if not np.all(np.isfinite(array)):
                raise ObservationError(f"{name}: expected finite numbers, got {array}")
        if not isinstance(self.instruction, str):
            raise ObservationError(
                f"instruction: expected text, got {type(self.instruction).__name__}"
            )

    def camera(self, name: str) -> NDArray[np.uint8]:
        """The (height, width, 3) image of one camera; the error names those there are."""
        if name not in self.images:
            raise ObservationError(
                f"camera {name!r} is missing; this observation has {sorted(self.images)}"
            )
        return self.images[name]


@dataclass(frozen=True)
class ActionChunk:
    """`k` actions for the instants `stamp_ns + dt_s * (1..k)`.

    In mode "delta", row i is the displacement of the tool centre point relative to the end of row
    i - 1 (row 0: relative to the pose in the observation stamped `stamp_ns`), expressed in the base
    frame; rotations are fixed-axis roll, pitch, yaw about the base axes, through the tool centre
    point. In mode "absolute", rows are poses in the base frame with the same rotation convention.
    The gripper column is the wanted opening in both modes.
    """

    actions: NDArray[np.float64]  # (k, 7): x y z [m], roll pitch yaw [rad], gripper [0, 1]
    stamp_ns: int  # [ns], the observation's stamp
    dt_s: float  # [s], time between actions
    mode: Literal["delta", "absolute"] = "delta"
    frame: str = "base"  # the frame the actions are expressed in
    statistics_hash: str = ""  # of the statistics that un-normalized the actions
    diagnostics: Mapping[str, float] = field(default_factory=dict)  # latencies [ms] and the like

    def __post_init__(self) -> None:
        actions = np.asarray(self.actions)
        if actions.ndim != 2 or actions.shape[0] < 1 or actions.shape[1] != ACTION_DIM:
            raise ActionError(f"actions: expected shape (k, {ACTION_DIM}), got {actions.shape}")
        if not np.all(np.isfinite(actions)):
            row, column = np.argwhere(~np.isfinite(actions))[0]
            raise ActionError(
                f"actions: expected finite numbers, got {actions[row, column]} "
                f"for {ACTION_NAMES[column]!r} in row {row}"
            )
        if self.mode not in ("delta", "absolute"):
            raise ActionError(f"mode: expected 'delta' or 'absolute', got {self.mode!r}")
        if not (np.isfinite(self.dt_s) and self.dt_s > 0):
            raise ActionError(f"dt_s: expected a positive number of seconds, got {self.dt_s}")


@runtime_checkable
class Policy(Protocol):
    """Anything that turns an observation into a chunk of actions."""

    name: str
    cameras: tuple[str, ...]  # names of the cameras it looks at

    def reset(self, seed: int | None = None) -> None:
        """Forget the last episode; `seed` fixes whatever the policy draws at random."""

    def predict_chunk(self, observation: Observation) -> ActionChunk:
        """Choose the next actions. Raises `ObservationError` for what it cannot use."""


@dataclass(frozen=True)
class ToolLimits:
    """What the controller carries out; a policy that asks for more was made for another robot."""

    speed_m_s: float  # tool centre point, along any axis
    turn_rad_s: float  # about any axis
    step_m: float  # between two actions, along any axis


@runtime_checkable
class SelfChecking(Protocol):
    """A policy with a gate of its own, passed before it may move a robot."""

    def check_fit(self, limits: ToolLimits) -> None:
        """Raises `UnfitPolicyError` for a policy that is broken or does not fit this robot."""
