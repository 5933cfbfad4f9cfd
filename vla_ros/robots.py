"""What a robot is called, how it is built and what it can: one YAML file for each.

`config/robots/` has three. Nodes take its name or a path as their parameter `robot`; limits that a
file leaves out come from the robot's description (URDF), which may be given separately.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim import arm_description, arm_model, robot
from sim.arm_model import ArmModel, ArmModelError
from sim.yaml_file import YamlError, expected_one_of, read_yaml, shortened
from vla_ros.errors import LimitsError, RobotError
from vla_ros.limits import (
    FR3_LIMITS,
    JOINT_FIELDS,
    LARGEST,
    REACH_M,
    Box,
    Limits,
    check_corner,
    check_keep_out,
    per_joint,
)
from vla_ros.range_ends import RangeEnds
from vla_ros.robot_checks import base_frames, check_home, unchecked
from vla_ros.robot_topics import ROS_NAME, TOPICS, check_topics

PACKAGE_ROOT = Path(__file__).resolve().parents[1]  # a checkout, or site-packages
FOLDERS = (  # of a checkout, and of an installed package: beside `lib`, wherever that is
    PACKAGE_ROOT / "config" / "robots",
    *(place / "share" / "vla_ros" / "config" / "robots" for place in PACKAGE_ROOT.parents),
)
FRAME_NAME = re.compile(r"[^\s/][^\s]*")  # tf2 takes no leading slash
HUGE = 1e9  # no number in a robot's file reaches it; nor does NaN
GRIPPER_MOST = 6.3  # a turn; more is another unit, and goes out to the fingers
BUILT_IN = "built-in"  # the FR3 of `sim.robot`
SECTIONS = {
    "name", "source", "description", "joints", "tool", "home_rad", "limits", "gripper", "topics",
    "cameras", "frames",
}  # fmt: skip
BOXES = ("workspace_low_m", "workspace_high_m", "keep_out_m")
NUMBERS = tuple(
    each.name
    for each in fields(Limits)
    if each.name not in (*JOINT_FIELDS, "workspace", "keep_out", "range_ends")
)


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
    notes: tuple[str, ...] = ()  # what is not checked with this description

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
    if path.is_dir():
        raise RobotError(f"robot: {path}: expected a file, it is a folder")
    if not path.is_file() and len(Path(name).parts) + len(path.suffix) > 1:
        raise RobotError(f"robot: {path}: no such file")
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
    names = _names(content.get("joints"), "joints")
    home = _numbers(content.get("home_rad"), "home_rad", len(names))
    tool = _text(content.get("tool"), "tool", "the name of a link or site")
    given = description or _text(content.get("description"), "description", "a URDF or MJCF file")
    published: dict[str, NDArray] = {}
    text = ""
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
        text = file.read_text()
        published = urdf_limits(text, names, f"description: {file}")
    model = arm.compile()
    arm_description.check_chain(arm, model)
    ids = arm.joint_ids(model)
    if endless := [
        name for name, joint in zip(names, ids, strict=True) if not model.jnt_limited[joint]
    ]:
        raise RobotError(
            f"description: {given}: expected joints with a range, got {endless} without one; where "
            f"a URDF calls a joint continuous, make it revolute with <limit lower=... upper=...>"
        )
    ranges = model.jnt_range[ids]
    published.setdefault("position_lower_rad", ranges[:, 0])
    published.setdefault("position_upper_rad", ranges[:, 1])
    if np.any((home < ranges[:, 0]) | (home > ranges[:, 1])):
        raise RobotError(f"home_rad: expected angles within {ranges.tolist()}, got {home.tolist()}")
    bases = base_frames(model, text)
    frames = {"base": next(iter(bases), "base"), "tool": "tcp"}
    _check_keys("frames", content.get("frames", {}), set(frames))
    frames |= content.get("frames", {})
    for key, frame in frames.items():
        if not FRAME_NAME.fullmatch(_text(frame, f"frames: {key}", "the name of a frame")):
            raise RobotError(f"frames: {key}: expected the name of a frame, got {frame!r}")
    if frames["base"] not in bases:
        raise RobotError(
            f"frames: base: expected a link that stands where the description's root does, "
            f"{' or '.join(bases)}, for all positions count from there, got {frames['base']!r}"
        )
    named = content.get("topics", {})
    _check_keys("topics", named, set(TOPICS))
    cameras = content.get("cameras", {})
    if "cameras" in content and not (isinstance(cameras, dict) and cameras):
        raise RobotError(f"cameras: expected topics by camera, got {cameras!r}")
    for camera in cameras:
        if not (isinstance(camera, str) and ROS_NAME.fullmatch(camera)):
            raise RobotError(
                f"cameras: expected names of letters, digits and _, as in topics, got {camera!r}"
            )
    check_topics(named, cameras)
    limits = _limits(content.get("limits", {}), published, len(names))
    check_home(arm, limits)
    return Robot(
        name=_text(content.get("name", path.stem), "name", "the robot's name"),
        arm=arm,
        limits=limits,
        gripper=_gripper(content, names),
        base_frame=frames["base"],
        tool_frame=frames["tool"],
        topics=dict(named),
        cameras=dict(cameras),
        notes=unchecked(arm, model, limits, text),
    )


def urdf_limits(
    text: str, names: tuple[str, ...], source: str = "description"
) -> dict[str, NDArray[np.float64]]:
    """Joint ranges and velocities that a URDF states for all of `names`; of an MJCF none.

    Raises `RobotError`, which begins with `source`.
    """
    if "<xacro:" in text:
        raise RobotError(
            f"{source}: expected a URDF, got a xacro file; expand it first: "
            f"xacro FILE.urdf.xacro > FILE.urdf"
        )
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise RobotError(f"{source}: not XML: {error}") from error
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
            found[field_name] = np.array(
                [
                    _stated(value, f"{source}: joint {name}: limit: {attribute}")
                    for name, value in zip(names, values, strict=True)
                ]
            )
    return found


def _stated(value: str | None, name: str) -> float:
    """A number of a URDF."""
    try:
        number = float(value or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RobotError(f"{name}: expected a finite number, got {value!r}")
    return number


def _limits(section: Any, published: Mapping[str, NDArray], joints: int) -> Limits:
    _check_keys("limits", section, {*JOINT_FIELDS, *NUMBERS, *BOXES, "range_ends"})
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
    for name in (*JOINT_FIELDS[2:], *NUMBERS):
        if name in section and np.any(values[name] > LARGEST[name]):
            raise RobotError(
                f"limits: {name}: expected at most {LARGEST[name]:g}, got "
                f"{shortened(section[name])}: another unit?"
            )
    if "range_ends" in section:
        values["range_ends"] = _range_ends(section["range_ends"], joints)
    low, high = (_corner(section.get(name), f"limits: {name}") for name in BOXES[:2])
    for name, corner_m in zip(BOXES[:2], (low, high), strict=True):
        check_corner(f"limits: {name}", corner_m, REACH_M)
    values["workspace"] = Box(low, high)
    boxes = section.get("keep_out_m", [])
    if not (isinstance(boxes, list) and all(_are_numbers(each, 6) for each in boxes)):
        raise RobotError(
            f"limits: keep_out_m: expected lists of six numbers [m], x, y, z of a low and of a "
            f"high corner, got {shortened(boxes)}"
        )
    values["keep_out"] = tuple(Box(tuple(each[:3]), tuple(each[3:])) for each in boxes)
    check_keep_out("limits: keep_out_m", values["keep_out"])
    return Limits(**values)


def _range_ends(section: Any, joints: int) -> RangeEnds:
    names = [each.name for each in fields(RangeEnds)]
    _check_keys("limits: range_ends", section, set(names))
    return RangeEnds(
        **{
            name: tuple(_numbers(section.get(name), f"limits: range_ends: {name}", joints).tolist())
            for name in names
        }
    )


def _gripper(content: Mapping[str, Any], arm_joints: tuple[str, ...]) -> Gripper:
    section = content.get("gripper")
    _check_keys("gripper", section, {"joints", "closed", "opened"})
    assert isinstance(section, dict)
    names = _names(section.get("joints"), "gripper: joints")
    if shared := [name for name in names if name in arm_joints]:
        raise RobotError(f"gripper: joints: expected others than the arm's, got {shared}")
    closed, opened = (
        float(_numbers(section.get(key), f"gripper: {key}", 1)[0]) for key in ("closed", "opened")
    )
    for key, value in (("closed", closed), ("opened", opened)):
        if abs(value) > GRIPPER_MOST:
            raise RobotError(
                f"gripper: {key}: expected radians or m of each joint, at most {GRIPPER_MOST:g}, "
                f"got {value:g}: mm, degrees or percent?"
            )
    if closed == opened:
        raise RobotError(f"gripper: expected closed and opened to differ, got {closed} twice")
    return Gripper(names, closed, opened)


def _names(names: Any, key: str) -> tuple[str, ...]:
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        raise RobotError(f"{key}: expected a list of names, got {names!r}")
    if len(set(names)) < len(names):
        raise RobotError(f"{key}: expected different names, got {names!r}")
    return tuple(names)


def _numbers(value: Any, name: str, count: int) -> NDArray[np.float64]:
    """One finite number for all, or one for each of `count`."""
    numbers = value if isinstance(value, list) else [value]
    if not (_are_numbers(numbers, 1) or _are_numbers(numbers, count)):
        got = "nothing" if value is None else shortened(value)
        several = f" or {count} of them" if count > 1 else ""
        raise RobotError(f"{name}: expected a number{several} (finite), got {got}")
    return per_joint(value, count)


def _corner(value: Any, name: str) -> tuple[float, float, float]:
    if not _are_numbers(value, 3):
        got = "nothing" if value is None else shortened(value)
        raise RobotError(f"{name}: expected x, y, z [m], got {got}")
    return (float(value[0]), float(value[1]), float(value[2]))


def _are_numbers(values: Any, count: int) -> bool:
    """Whether these are `count` finite numbers; a truth value is none."""
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(each) in (int, float) and abs(each) < HUGE for each in values)
    )


def _text(value: Any, name: str, what: str) -> str:
    if not (isinstance(value, str) and value):
        got = "nothing" if value in (None, "") else shortened(value)
        raise RobotError(f"{name}: expected {what}, got {got}")
    return value


def _check_keys(name: str, section: Any, known: set[str]) -> None:
    if not isinstance(section, dict):
        raise RobotError(f"{name}: expected keys and values, got {section!r}")
    for key in section:
        if key not in known:
            raise RobotError(f"{name}: {expected_one_of(sorted(known), key)}")
