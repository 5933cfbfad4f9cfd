"""How an environment of other people's making is looked at and moved: a frozen description."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from sim.worlds.paths import WorldError, check_path

FLIPS = ("vertical", "horizontal")
AXES = ("x", "y", "z")
TURNS = ("roll", "pitch", "yaw")
ENTRIES = (*AXES, *TURNS, "gripper", "zero")  # "zero": an entry that is always 0
ROTATIONS = ("rotation_vector", "roll_pitch_yaw")
ORDERS = ("wxyz", "xyzw")
DOWN = (0.0, 1.0, 0.0, 0.0)  # w x y z: a tool that points straight down


@dataclass(frozen=True)
class CameraSource:
    """Where an image is and how it has to be turned to stand upright, RGB, (h, w, 3)."""

    path: str | None = None  # in the observation; None: what the environment's `render` returns
    flip: tuple[str, ...] = ()  # some of `FLIPS`
    channels: str = "rgb"  # or "bgr"
    layout: str = "hwc"  # or "chw"

    def __post_init__(self) -> None:
        if self.path is not None:
            check_path("path", self.path)
        for value in self.flip:
            _check_choice("flip", value, FLIPS)
        _check_choice("channels", self.channels, ("rgb", "bgr"))
        _check_choice("layout", self.layout, ("hwc", "chw"))


@dataclass(frozen=True)
class ToolSource:
    """Where the end effector's pose is, and where the robot's base stands in its frame."""

    position: str  # path in the observation, (3,)
    metres_per_unit: float = 1.0
    quaternion: str | None = None  # path in the observation, (4,); None: not measured
    order: str = "wxyz"  # of the quaternion, one of `ORDERS`
    unmeasured: tuple[float, ...] = DOWN  # w x y z, shown to the policy if not measured
    base_position_m: tuple[float, ...] = (0.0, 0.0, 0.0)  # in the world's frame
    base_yaw_deg: float = 0.0  # about the world's z axis

    def __post_init__(self) -> None:
        check_path("position", self.position)
        if self.quaternion is not None:
            check_path("quaternion", self.quaternion)
        _check_choice("order", self.order, ORDERS)
        _check_positive("metres_per_unit", self.metres_per_unit)
        _check_numbers("unmeasured", self.unmeasured, 4)
        if not math.isclose(math.hypot(*self.unmeasured), 1.0, abs_tol=1e-3):
            raise WorldError(f"unmeasured: expected a unit quaternion, got {self.unmeasured}")
        _check_numbers("base_position_m", self.base_position_m, 3)
        _check_numbers("base_yaw_deg", (self.base_yaw_deg,), 1)


@dataclass(frozen=True)
class GripperSource:
    """Where the gripper's opening is: `closed` and `open` are what is measured at the ends."""

    path: str  # in the observation, one number
    closed: float
    open: float

    def __post_init__(self) -> None:
        check_path("path", self.path)
        _check_ends(self.closed, self.open)


@dataclass(frozen=True)
class ActionTarget:
    """What the environment's action is made of."""

    entries: tuple[str, ...]  # in its order, of `ENTRIES`; ours that are missing are dropped
    metres_per_unit: float  # of x, y, z
    radians_per_unit: float = 1.0  # of roll, pitch, yaw
    rotation: str = "rotation_vector"  # what those three are, one of `ROTATIONS`
    gripper_closed: float = 0.0  # what closes it
    gripper_open: float = 1.0
    clip: tuple[float, ...] | None = None  # (low, high) of displacements; None: the space's bounds
    gain: float = 1.0  # on what is left of the way; above 1 for a controller that lags behind

    def __post_init__(self) -> None:
        for entry in self.entries:
            _check_choice("entries", entry, ENTRIES)
        named = [entry for entry in self.entries if entry != "zero"]
        if len(set(named)) < len(named):
            raise WorldError(f"entries: expected each once, got {', '.join(named)}")
        if not set(named) & set(AXES):
            raise WorldError(f"entries: expected some of {', '.join(AXES)}, got {named}")
        _check_positive("metres_per_unit", self.metres_per_unit)
        _check_positive("radians_per_unit", self.radians_per_unit)
        _check_positive("gain", self.gain)
        _check_choice("rotation", self.rotation, ROTATIONS)
        _check_ends(self.gripper_closed, self.gripper_open)
        if self.clip is not None:
            _check_numbers("clip", self.clip, 2)
            if not self.clip[0] < self.clip[1]:
                raise WorldError(f"clip: expected low below high, got {self.clip}")

    @property
    def dropped(self) -> tuple[str, ...]:
        """Which of our seven numbers this robot has no use for."""
        return tuple(name for name in ENTRIES[:7] if name not in self.entries)


@dataclass(frozen=True)
class InstructionSource:
    """Exactly one of these says what is to be done."""

    text: str | None = None
    observation: str | None = None  # path
    info: str | None = None  # path
    attribute: str | None = None  # of the environment

    def __post_init__(self) -> None:
        _check_one(self)


@dataclass(frozen=True)
class SuccessSource:
    """Exactly one of these says that the task is done."""

    info: str | None = None  # path to something that is true then
    terminated: bool | None = None  # the end of an episode is success
    reward: float | None = None  # or more

    def __post_init__(self) -> None:
        _check_one(self)
        if self.terminated not in (None, True):
            raise WorldError(f"terminated: expected true, got {self.terminated!r}")


@dataclass(frozen=True)
class WorldConfig:
    """One environment of Gymnasium's registry."""

    env: str  # its id
    rate_hz: float  # steps it takes per second of its time
    max_steps: int  # of the environment
    cameras: Mapping[str, CameraSource]  # by the names that policies use
    tool: ToolSource
    gripper: GripperSource
    action: ActionTarget
    instruction: InstructionSource
    success: SuccessSource
    module: str | None = None  # an installed Python module to import, which registers it
    install: str = ""  # the command to show when the module is missing
    kwargs: Mapping[str, Any] = field(default_factory=dict)  # for `gymnasium.make`
    joints: str | None = None  # path in the observation to joint angles [rad], if it has them
    settle_steps: int = 0  # steps without motion after a reset

    def __post_init__(self) -> None:
        if not isinstance(self.env, str) or ":" in self.env or not self.env:
            raise WorldError(
                f"env: expected an id such as Name-v0 (a module to import goes into module:), "
                f"got {self.env!r}"
            )
        if self.module is not None and not re.fullmatch(r"\w+(\.\w+)*", str(self.module)):
            raise WorldError(f"module: expected a module's name, got {self.module!r}")
        _check_positive("rate_hz", self.rate_hz)
        _check_count("max_steps", self.max_steps, 1)
        _check_count("settle_steps", self.settle_steps, 0)
        if not self.cameras:
            raise WorldError("cameras: expected at least one")
        if self.joints is not None:
            check_path("joints", self.joints)
        turns = [name for name in TURNS if name in self.action.entries]
        if turns and self.tool.quaternion is None:
            raise WorldError(
                f"tool.quaternion: action.entries has {', '.join(turns)}, so the tool's rotation "
                "must be measured"
            )


def load_world(path: Path) -> WorldConfig:
    """Read a world's file. `base: other.yaml` takes over what the file does not say itself.

    Raises `WorldError` naming the file, the field and the choices.
    """
    try:
        return _from_mapping(_read(path))
    except WorldError as error:
        raise WorldError(f"{path}: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    content = _mapping(path)
    base = content.pop("base", None)
    if base is None:
        return content
    if not isinstance(base, str) or not (path.parent / base).is_file():
        raise WorldError(f"base: expected the name of a file beside this one, got {base!r}")
    below = _mapping(path.parent / base)
    if "base" in below:
        raise WorldError(f"base: expected a file without a base of its own, got {base!r}")
    return {**below, **content}


def _mapping(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise WorldError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise WorldError(f"not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise WorldError(f"expected a mapping, got {content!r}")
    return content


def _from_mapping(content: Mapping[str, Any]) -> WorldConfig:
    parts: dict[str, Any] = dict(content)
    for name, cls in (
        ("tool", ToolSource),
        ("gripper", GripperSource),
        ("action", ActionTarget),
        ("instruction", InstructionSource),
        ("success", SuccessSource),
    ):
        if name in parts:
            parts[name] = _build(cls, parts[name], f"{name}.")
    cameras = parts.get("cameras", {})
    if not isinstance(cameras, dict):
        raise WorldError(f"cameras: expected a mapping of names, got {cameras!r}")
    parts["cameras"] = {
        name: _build(CameraSource, values, f"cameras.{name}.") for name, values in cameras.items()
    }
    if not isinstance(parts.get("kwargs", {}), dict):
        raise WorldError(f"kwargs: expected a mapping, got {parts['kwargs']!r}")
    return _build(WorldConfig, parts, "")


def _build(cls: type, values: Any, where: str) -> Any:
    """A dataclass from a mapping; lists become tuples. `where` stands before a field's name."""
    if not isinstance(values, dict):
        raise WorldError(f"{where.rstrip('.')}: expected a mapping, got {values!r}")
    known = {each.name: each for each in fields(cls)}
    for name in values:
        if name not in known:
            raise WorldError(f"{where}{name}: unknown; expected some of {', '.join(known)}")
    for name, each in known.items():
        required = each.default is MISSING and each.default_factory is MISSING
        if required and name not in values:
            raise WorldError(f"{where}{name}: missing")
    try:
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except WorldError as error:
        text = str(error)
        field = where.rstrip(".") + ": " if text.startswith("expected") else where
        raise WorldError(f"{field}{text}") from error


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise WorldError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_numbers(name: str, values: object, count: int) -> None:
    if not isinstance(values, tuple) or len(values) != count or not all(map(_is_number, values)):
        raise WorldError(f"{name}: expected {count} finite number(s), got {values!r}")


def _check_positive(name: str, value: object) -> None:
    if not (_is_number(value) and value > 0):  # type: ignore[operator]
        raise WorldError(f"{name}: expected a number above 0, got {value!r}")


def _check_count(name: str, value: object, low: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise WorldError(f"{name}: expected a whole number of {low} or more, got {value!r}")


def _check_ends(closed: object, opened: object) -> None:
    if not (_is_number(closed) and _is_number(opened)) or closed == opened:
        raise WorldError(f"closed, open: expected two different numbers, got {closed}, {opened}")


def _check_one(source: Any) -> None:
    choices = [each.name for each in fields(source)]
    given = [each for each in choices if getattr(source, each) is not None]
    if len(given) != 1:
        raise WorldError(f"expected exactly one of {', '.join(choices)}, got {given or 'none'}")
