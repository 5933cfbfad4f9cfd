"""Which of a server's keys holds what: the table between our `Observation` and its dictionary.

Every openpi server has keys, a state and actions of its own. A table is plain data: a preset's name
or a JSON file with the fields of `KeyTable`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

# What a state vector may be made of, and how many numbers each is.
STATE_PARTS: dict[str, int | None] = {
    "joint_positions": None,  # [rad], as many as the arm has; alone in its key; may be missing
    "ee_position": 3,  # [m], tool centre point, base frame
    "ee_quaternion": 4,  # w x y z
    "ee_quaternion_xyzw": 4,
    "ee_axis_angle": 3,  # rotation vector [rad]
    "ee_roll_pitch_yaw": 3,  # about the base frame's fixed axes [rad]
    "gripper_opening": 1,  # 0 closed, 1 open
    "gripper_closure": 1,  # 0 open, 1 closed
    "panda_fingers": 2,  # [m], +0.04 and -0.04 when open
}
ORIENTATIONS = ("ee_quaternion", "ee_quaternion_xyzw", "ee_axis_angle", "ee_roll_pitch_yaw")
GRIPPERS = ("gripper_opening", "gripper_closure", "panda_fingers")
ROTATIONS = ("roll_pitch_yaw", "axis_angle")
GRIPPER_ACTIONS = ("opening", "closed_positive")


class TableError(ValueError):
    """A table that cannot be used: the field, what was expected, what it is."""


@dataclass(frozen=True)
class KeyTable:
    """Keys and units on the wire; the defaults are ours and openpi's names for a single arm."""

    images: Mapping[str, str] = field(  # camera -> key
        default_factory=lambda: {"front": "observation/image", "wrist": "observation/wrist_image"}
    )
    state: Mapping[str, tuple[str, ...]] = field(  # key -> parts, in order
        default_factory=lambda: {
            "observation/state": ("ee_position", "ee_quaternion", "gripper_opening"),
            "observation/joint_position": ("joint_positions",),
        }
    )
    prompt: str = "prompt"
    actions: str = "actions"  # (k, 7): x y z, rotation, gripper; displacements of the tool
    rate_hz: float = 10.0  # of the actions, where an answer does not say
    translation_m: float = 1.0  # what 1.0 in x, y or z means
    rotation_rad: float = 1.0  # what 1.0 in the rotation means
    rotation: str = "roll_pitch_yaw"  # one of ROTATIONS
    gripper: str = "opening"  # 0 closed, 1 open; "closed_positive": -1 open, 1 closed

    def __post_init__(self) -> None:
        _check_texts("images", self.images)
        if not isinstance(self.state, Mapping):
            raise TableError(f"state: expected keys with their parts, got {self.state!r}")
        for key, parts in self.state.items():
            _check_parts(key, parts)
        object.__setattr__(self, "state", {key: tuple(parts) for key, parts in self.state.items()})
        for name in ("prompt", "actions"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise TableError(f"{name}: expected a key, got {value!r}")
        keys = [*self.images.values(), *self.state, self.prompt]
        if len(set(keys)) != len(keys):
            raise TableError(f"keys: expected each to be used once, got {', '.join(sorted(keys))}")
        for name in ("rate_hz", "translation_m", "rotation_rad"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not (math.isfinite(value) and value > 0):
                raise TableError(f"{name}: expected a positive number, got {value!r}")
        for name, choices in (("rotation", ROTATIONS), ("gripper", GRIPPER_ACTIONS)):
            if getattr(self, name) not in choices:
                raise TableError(
                    f"{name}: expected one of {', '.join(choices)}, got {getattr(self, name)!r}"
                )

    @property
    def plain_actions(self) -> bool:
        """Whether actions travel as they are in an `ActionChunk`."""
        units = (self.translation_m, self.rotation_rad, self.rotation, self.gripper)
        return units == (1.0, 1.0, "roll_pitch_yaw", "opening")

    def check_readable(self, cameras: tuple[str, ...]) -> None:
        """Raises `TableError` unless an `Observation` with these cameras can be built from it."""
        missing = [camera for camera in cameras if camera not in self.images]
        if missing:
            raise TableError(
                f"images: the policy looks at {', '.join(missing)}; the table has "
                f"{', '.join(self.images)}"
            )
        parts = [part for each in self.state.values() for part in each]
        for what, choices in (
            ("a position", ("ee_position",)),
            ("an orientation", ORIENTATIONS),
            ("a gripper", GRIPPERS),
        ):
            if not set(parts) & set(choices):
                raise TableError(f"state: expected {what}, one of {', '.join(choices)}")

    def as_dict(self) -> dict[str, Any]:
        """As plain values; `table_from` reads them again."""
        return {**asdict(self), "state": {key: list(parts) for key, parts in self.state.items()}}


def table_from(values: Any) -> KeyTable:
    """A table from plain values; fields that are left out have their defaults."""
    if not isinstance(values, dict):
        raise TableError(f"table: expected fields, got {type(values).__name__}")
    names = [each.name for each in fields(KeyTable)]
    unknown = [str(name) for name in values if name not in names]
    if unknown:
        raise TableError(
            f"table: expected some of {', '.join(names)}, got {', '.join(sorted(unknown))}"
        )
    return KeyTable(**values)


def read_table(name_or_path: str) -> KeyTable:
    """A preset or a JSON file. Raises `TableError`."""
    if name_or_path in PRESETS:
        return PRESETS[name_or_path]
    path = Path(name_or_path).expanduser()
    if not path.is_file():
        raise TableError(
            f"table: expected one of {', '.join(PRESETS)} or a JSON file, got {name_or_path!r}"
        )
    try:
        return table_from(json.loads(path.read_text()))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TableError(f"table: {path}: expected JSON: {error}") from error
    except TableError as error:
        raise TableError(f"{path}: {error}") from error


def _check_texts(name: str, values: Any) -> None:
    if not isinstance(values, Mapping) or not all(
        isinstance(text, str) and text for item in values.items() for text in item
    ):
        raise TableError(f"{name}: expected names with their keys, got {values!r}")


def _check_parts(key: Any, parts: Any) -> None:
    listed = isinstance(key, str) and isinstance(parts, list | tuple) and len(parts) > 0
    if not listed or not all(isinstance(part, str) and part in STATE_PARTS for part in parts):
        raise TableError(
            f"state: {key!r}: expected a list of some of {', '.join(STATE_PARTS)}, got {parts!r}"
        )
    if "joint_positions" in parts and len(parts) > 1:
        raise TableError(f"state: {key!r}: expected joint_positions alone, got {list(parts)}")


PRESETS = {
    "default": KeyTable(),
    # openpi's `examples/libero`: 7 numbers of robosuite's OSC_POSE controller at 20 Hz.
    "libero": KeyTable(
        state={"observation/state": ("ee_position", "ee_axis_angle", "panda_fingers")},
        rate_hz=20.0,
        translation_m=0.05,
        rotation_rad=0.5,
        rotation="axis_angle",
        gripper="closed_positive",
    ),
}
