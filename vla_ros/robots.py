"""What a robot is called, how it is built and what it can: one YAML file for each.

`config/robots/` has three. Nodes take its name or a path as their parameter `robot`; limits that a
file leaves out come from the robot's description (URDF), which may be given separately.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim import arm_model, robot
from sim.arm_model import ArmModel, ArmModelError
from sim.yaml_file import YamlError, expected_one_of, read_yaml
from vla_ros import topics
from vla_ros.limits import FR3_LIMITS, JOINT_FIELDS, Box, Limits, LimitsError, per_joint

PACKAGE_ROOT = Path(__file__).resolve().parents[1]  # a checkout, or site-packages
FOLDERS = (  # of a checkout, and of an installed package: beside `lib`, wherever that is
    PACKAGE_ROOT / "config" / "robots",
    *(place / "share" / "vla_ros" / "config" / "robots" for place in PACKAGE_ROOT.parents),
)
TOPIC_NAME = re.compile(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)
BUILT_IN = "built-in"  # the FR3 of `sim.robot`
SECTIONS = {
    "name", "source", "description", "joints", "tool", "home_rad", "limits", "gripper", "topics",
    "cameras", "frames",
}  # fmt: skip
TOPICS = {  # what a robot's file may call differently
    "joint_states": topics.JOINT_STATES,
    "arm_command": topics.ARM_COMMAND,
    "gripper_command": topics.GRIPPER_COMMAND,
    "twist_command": topics.TWIST_COMMAND,
}
BOXES = ("workspace_low_m", "workspace_high_m", "keep_out_m")
NUMBERS = tuple(
    each.name
    for each in fields(Limits)
    if each.name not in (*JOINT_FIELDS, "workspace", "keep_out")
)


class RobotError(ValueError):
    """A robot's file that cannot be used; the message names the file, the field and the choices."""


@dataclass(frozen=True)
class Gripper:
    """Fingers that move together."""

    joints: tuple[str, ...]
    closed: float  # value of each joint [m] or [rad]
    opened: float

    def opening(self, values: NDArray[np.float64]) -> float:
        """0 closed to 1 open, of the joints' `values` (k,)."""
        return float(
            np.clip((np.mean(values) - self.closed) / (self.opened - self.closed), 0.0, 1.0)
        )

    def values(self, openings: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m, k) values of the joints for `openings` (m, 1)."""
        value = self.closed + np.clip(openings, 0.0, 1.0) * (self.opened - self.closed)
        return np.repeat(value, len(self.joints), axis=1)


@dataclass(frozen=True)
class Robot:
    """Everything the graph needs to know of an arm."""

    name: str
    arm: ArmModel
    limits: Limits
    gripper: Gripper
    base_frame: str = "base"
    tool_frame: str = "tcp"
    topics: Mapping[str, str] = field(default_factory=dict)  # key of `TOPICS` -> the robot's name
    cameras: Mapping[str, str] = field(default_factory=dict)  # camera -> image topic

    @property
    def joint_names(self) -> tuple[str, ...]:
        return self.arm.joint_names


FR3 = Robot(
    "fr3",
    arm_model.fr3(),
    FR3_LIMITS,
    Gripper(robot.FINGER_JOINT_NAMES, 0.0, robot.FINGER_TRAVEL_M),
)


def known_robots() -> dict[str, Path]:
    """Names and files of those that come with the package."""
    return {path.stem: path for folder in FOLDERS for path in sorted(folder.glob("*.yaml"))}


def load_robot(name: str, description: str = "") -> Robot:
    """The robot of a name in `config/robots/` or of a file; `description` is a URDF or MJCF file
    in place of the one named there. Raises `RobotError`."""
    path = known_robots().get(name, Path(name))
    if not path.is_file():
        raise RobotError(f"robot: {expected_one_of([*known_robots(), 'FILE.yaml'], name)}")
    try:
        content = read_yaml(path, "robot")
        return _robot(content, path, description)
    except (YamlError, ArmModelError, LimitsError, RobotError) as error:
        text = str(error)
        raise RobotError(text if text.startswith(f"{path}") else f"{path}: {text}") from error


def _robot(content: Any, path: Path, description: str) -> Robot:
    _check_keys("robot", content, SECTIONS)
    names = _names(content, "joints")
    home = _numbers(content.get("home_rad"), "home_rad", len(names))
    tool = content.get("tool")
    if not isinstance(tool, str):
        raise RobotError(f"tool: expected the name of a link or site, got {tool!r}")
    given = description or content.get("description", "")
    if not given:
        raise RobotError("description: expected a URDF or MJCF file, got nothing")
    published: dict[str, NDArray] = {}
    if given == BUILT_IN:
        arm = arm_model.fr3()
        if (names, tool) != (arm.joint_names, arm.tool):
            raise RobotError(
                f"joints, tool: expected {arm.joint_names} and {arm.tool!r}, "
                f"got {names} and {tool!r}"
            )
        published["velocity_rad_s"] = np.asarray(FR3_LIMITS.velocity_rad_s)
    else:
        file = Path(given) if description else path.parent / given
        arm = arm_model.from_file(file, names, tool, home)
        published = urdf_limits(file.read_text(), names)
    model = arm.compile()
    ranges = model.jnt_range[arm.joint_ids(model)]
    published.setdefault("position_lower_rad", ranges[:, 0])
    published.setdefault("position_upper_rad", ranges[:, 1])
    if np.any((home < ranges[:, 0]) | (home > ranges[:, 1])):
        raise RobotError(f"home_rad: expected angles within {ranges.tolist()}, got {home.tolist()}")
    frames = content.get("frames", {})
    _check_keys("frames", frames, {"base", "tool"})
    named = content.get("topics", {})
    _check_keys("topics", named, set(TOPICS))
    _check_topics("topics", named)
    cameras = content.get("cameras", {})
    if "cameras" in content and not (isinstance(cameras, dict) and cameras):
        raise RobotError(f"cameras: expected topics by camera, got {cameras!r}")
    _check_topics("cameras", cameras)
    return Robot(
        name=str(content.get("name", path.stem)),
        arm=arm,
        limits=_limits(content.get("limits", {}), published, len(names)),
        gripper=_gripper(content),
        base_frame=frames.get("base", "base"),
        tool_frame=frames.get("tool", "tcp"),
        topics=dict(named),
        cameras=dict(cameras),
    )


def urdf_limits(text: str, names: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
    """Joint ranges and velocities that a URDF states for all of `names`; of an MJCF none."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise RobotError(f"description: not XML: {error}") from error
    stated = {joint.get("name"): joint.find("limit") for joint in root.iter("joint")}
    found = {}
    for field_name, attribute in (
        ("position_lower_rad", "lower"),
        ("position_upper_rad", "upper"),
        ("velocity_rad_s", "velocity"),
    ):
        limits = [stated.get(name) for name in names]
        values = [None if limit is None else limit.get(attribute) for limit in limits]
        if all(value is not None for value in values):
            found[field_name] = np.array([float(value) for value in values if value is not None])
    return found


def _limits(section: Any, published: Mapping[str, NDArray], joints: int) -> Limits:
    _check_keys("limits", section, {*JOINT_FIELDS, *NUMBERS, *BOXES})
    values: dict[str, Any] = {}
    for name in JOINT_FIELDS:
        if name in section:
            values[name] = _numbers(section[name], f"limits: {name}", joints)
        elif name in published:
            values[name] = published[name]
        else:
            raise RobotError(f"limits: {name}: stands neither here nor in the description")
    beyond = [
        name
        for name, sign in (
            ("position_lower_rad", -1), ("position_upper_rad", 1), ("velocity_rad_s", 1)
        )
        if name in published and np.any(sign * (values[name] - published[name]) > 1e-6)
    ]  # fmt: skip
    if beyond:
        raise RobotError(f"limits: {', '.join(beyond)}: beyond what the description allows")
    for name in NUMBERS:
        if name in section:
            values[name] = float(_numbers(section[name], f"limits: {name}", 1)[0])
    default = Limits.__dataclass_fields__["workspace"].default
    assert isinstance(default, Box)
    values["workspace"] = Box(
        tuple(section.get("workspace_low_m", default.low_m)),
        tuple(section.get("workspace_high_m", default.high_m)),
    )
    corners = section.get("keep_out_m", [])
    if not all(isinstance(each, list) and len(each) == 6 for each in corners):
        raise RobotError("limits: keep_out_m: expected lists of six numbers, low and high corner")
    values["keep_out"] = tuple(Box(tuple(each[:3]), tuple(each[3:])) for each in corners)
    return Limits(**values)


def _gripper(content: Mapping[str, Any]) -> Gripper:
    section = content.get("gripper")
    _check_keys("gripper", section, {"joints", "closed", "opened"})
    assert isinstance(section, dict)
    names = _names(section, "joints")
    closed = float(_numbers(section.get("closed"), "gripper: closed", 1)[0])
    opened = float(_numbers(section.get("opened"), "gripper: opened", 1)[0])
    if closed == opened:
        raise RobotError(f"gripper: expected closed and opened to differ, got {closed} twice")
    return Gripper(names, closed, opened)


def _names(section: Mapping[str, Any], key: str) -> tuple[str, ...]:
    names = section.get(key)
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        raise RobotError(f"{key}: expected a list of names, got {names!r}")
    if len(set(names)) < len(names):
        raise RobotError(f"{key}: expected different names, got {names!r}")
    return tuple(names)


def _numbers(value: Any, name: str, count: int) -> NDArray[np.float64]:
    """One number for all, or one for each of `count`."""
    try:
        if any(isinstance(each, bool) for each in (value if isinstance(value, list) else [value])):
            raise TypeError("a truth value is no number")
        return per_joint(value, count)
    except (TypeError, ValueError):
        raise RobotError(f"{name}: expected a number or {count} of them, got {value!r}") from None


def _check_topics(name: str, section: Mapping[str, Any]) -> None:
    for key, topic in section.items():
        if not (isinstance(topic, str) and TOPIC_NAME.fullmatch(topic)):
            raise RobotError(f"{name}: {key}: expected a topic's name, got {topic!r}")
    if len(set(section.values())) < len(section):
        raise RobotError(f"{name}: expected a topic of its own for each, got {dict(section)}")


def _check_keys(name: str, section: Any, known: set[str]) -> None:
    if not isinstance(section, dict):
        raise RobotError(f"{name}: expected keys and values, got {section!r}")
    for key in section:
        if key not in known:
            raise RobotError(f"{name}: {expected_one_of(sorted(known), key)}")
