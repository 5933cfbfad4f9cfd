"""Runs as rosbag2 (MCAP or sqlite3), read and written without ROS through the `rosbags` library.

Topics are those of this stack: `sensor_msgs/JointState`, commands as `trajectory_msgs/
JointTrajectory` for a `joint_trajectory_controller`, images, and the outcome as `std_msgs/Bool`.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sim import robot
from sim.bags import IMAGE_TYPES, open_bag, stamp_ns
from sim.following import Trajectory, follow
from sim.sim2real.clocks import image_stamps_ns, joint_stamps_ns
from sim.sim2real.logs import Log, LogError, ordered_by_name

Storage = Literal["mcap", "sqlite3"]
STORAGES: tuple[Storage, ...] = ("mcap", "sqlite3")
EPOCH_NS = 1_700_000_000 * 10**9  # when written logs begin


@dataclass(frozen=True)
class BagTopics:
    """Where a bag has what. The defaults are `vla_ros.topics`'; remap them for other robots."""

    joint_states: str = "/joint_states"
    command: str = "/joint_trajectory_controller/joint_trajectory"
    instruction: str = "/instruction"
    success: str = "/episode/success"


TOPICS = BagTopics()


@dataclass
class _Messages:
    """What a bag holds, as it comes."""

    received_ns: list[int] = field(default_factory=list)  # of joint states, the recorder's clock
    measured_ns: list[int] = field(default_factory=list)  # the same, as stamped by the driver
    positions: list[NDArray[np.float64]] = field(default_factory=list)  # (7,) [rad]
    fingers: list[NDArray[np.float64] | None] = field(default_factory=list)  # (2,) [m]
    commands: list[tuple[int, Any]] = field(default_factory=list)  # (received [ns], message)
    images_ns: dict[str, list[tuple[int, int]]] = field(default_factory=dict)  # (taken, received)
    instruction: str | None = None
    success: bool | None = None


def read_bag(path: Path, topics: BagTopics = TOPICS) -> Log:
    """The run a bag holds. Raises `LogError` for what cannot be used.

    Joint states count from their header stamps. A command with a header stamp starts then, one
    without (as our executor sends them) when it was received.
    """
    messages = _collect(path, topics)
    name = path.name
    if not messages.positions:
        raise LogError(f"{name}: no joint states on {topics.joint_states}")
    if not messages.commands:
        raise LogError(f"{name}: no commands on {topics.command}")
    stamps_ns = joint_stamps_ns(name, messages.measured_ns, messages.received_ns)
    start_ns = int(stamps_ns[0])
    trajectories = [
        _trajectory(name, received_ns, message, start_ns)
        for received_ns, message in messages.commands
    ]
    command_stamps_s, commands = follow(trajectories, messages.positions[0])
    fingers = [row for row in messages.fingers if row is not None]
    openings = None
    if len(fingers) == len(messages.positions):
        openings = np.mean(fingers, axis=1) / robot.FINGER_TRAVEL_M
    return Log(
        name=name,
        stamps_s=(stamps_ns - start_ns) / 1e9,
        joint_positions=np.stack(messages.positions),
        command_stamps_s=command_stamps_s,
        commands=commands,
        gripper_openings=openings,
        image_stamps_s={
            topic: (image_stamps_ns(name, topic, *zip(*rows, strict=True)) - start_ns) / 1e9
            for topic, rows in messages.images_ns.items()
        },
        instruction=messages.instruction,
        success=messages.success,
    )


def write_bag(
    path: Path,
    log: Log,
    storage: Storage = "mcap",
    images: Mapping[str, Sequence[tuple[float, NDArray[np.uint8]]]] | None = None,
    topics: BagTopics = TOPICS,
) -> None:
    """Write a run as a rosbag2 folder; `images` are (stamp [s], (h, w, 3) uint8 RGB) by topic."""
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    if storage not in STORAGES:
        raise LogError(f"storage: expected one of {', '.join(STORAGES)}, got {storage!r}")
    if path.exists():
        raise LogError(f"{path} already exists; choose another or remove it")
    store = get_typestore(Stores.ROS2_JAZZY)
    rows = sorted(
        itertools.chain(
            _joint_messages(store, log, topics),
            _command_messages(store, log, topics),
            _image_messages(store, images or {}),
            _note_messages(store, log, topics),
        ),
        key=lambda row: row[0],
    )
    plugin = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}[storage]
    incomplete = path.with_name(f".{path.name}.incomplete")
    incomplete.parent.mkdir(parents=True, exist_ok=True)
    try:
        with Writer(incomplete, version=9, storage_plugin=plugin) as writer:
            connections: dict[str, Any] = {}
            for stamp_s, topic, message in rows:
                kind = message.__msgtype__
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, kind, typestore=store)
                writer.write(connections[topic], _ns(stamp_s), store.serialize_cdr(message, kind))
        _rename(incomplete, path)
    finally:
        shutil.rmtree(incomplete, ignore_errors=True)


# --- reading --------------------------------------------------------------------------------


def _collect(path: Path, topics: BagTopics) -> _Messages:
    messages = _Messages()
    try:
        with open_bag(path) as reader:
            present = {connection.topic for connection in reader.connections}
            for needed, what in (
                (topics.joint_states, "joint states"),
                (topics.command, "commands"),
            ):
                if needed not in present:
                    raise LogError(
                        f"{path.name}: no {what}: topic {needed} is not in the bag; "
                        f"it has {', '.join(sorted(present)) or 'none'}"
                    )
            for connection, received_ns, raw in reader.messages():
                wanted = connection.topic in vars(topics).values()
                if wanted or connection.msgtype in IMAGE_TYPES:
                    message = reader.deserialize(raw, connection.msgtype)
                    _sort_in(messages, path.name, topics, connection, received_ns, message)
    except LogError:
        raise
    except Exception as error:  # damaged bytes raise whatever they lead to
        raise LogError(f"{path}: cannot be read as a rosbag2: {error}") from error
    return messages


def _sort_in(
    messages: _Messages,
    name: str,
    topics: BagTopics,
    connection: Any,
    received_ns: int,
    message: Any,
) -> None:
    topic = connection.topic
    if connection.msgtype in IMAGE_TYPES:
        messages.images_ns.setdefault(topic, []).append((stamp_ns(message), received_ns))
        return
    expected = {
        topics.joint_states: "sensor_msgs/msg/JointState",
        topics.command: "trajectory_msgs/msg/JointTrajectory",
        topics.instruction: "std_msgs/msg/String",
        topics.success: "std_msgs/msg/Bool",
    }[topic]
    if connection.msgtype != expected:
        raise LogError(f"{name}: {topic}: expected {expected}, got {connection.msgtype}")
    if topic == topics.joint_states:
        if len(message.name) != len(message.position):
            raise LogError(
                f"{name}: {topic}: expected one position for each of {len(message.name)} names, "
                f"got {len(message.position)}"
            )
        if not set(robot.JOINT_NAMES) & set(message.name) and len(messages.positions):
            return  # a gripper's driver may publish on the same topic
        messages.received_ns.append(received_ns)
        messages.measured_ns.append(stamp_ns(message))
        messages.positions.append(
            ordered_by_name(message.name, message.position, robot.JOINT_NAMES, f"{name}: {topic}")
        )
        fingers = None
        if set(robot.FINGER_JOINT_NAMES) <= set(message.name):
            fingers = ordered_by_name(
                message.name, message.position, robot.FINGER_JOINT_NAMES, f"{name}: {topic}"
            )
        messages.fingers.append(fingers)
    elif topic == topics.command:
        messages.commands.append((received_ns, message))
    elif topic == topics.instruction:
        messages.instruction = str(message.data)
    else:
        messages.success = bool(message.data)


def _trajectory(name: str, received_ns: int, message: Any, start_ns: int) -> Trajectory:
    begin_ns = stamp_ns(message) or received_ns
    points = message.points
    if not points:
        raise LogError(f"{name}: command: expected at least one point, got none")
    times_ns = [
        begin_ns + point.time_from_start.sec * 10**9 + point.time_from_start.nanosec
        for point in points
    ]
    lengths = {len(point.positions) for point in points}
    if lengths != {len(message.joint_names)}:
        raise LogError(
            f"{name}: command: expected {len(message.joint_names)} positions in every point, "
            f"got {sorted(lengths)}"
        )
    positions = ordered_by_name(
        message.joint_names,
        np.array([point.positions for point in points]),
        robot.JOINT_NAMES,
        f"{name}: command",
    )
    return Trajectory(
        (received_ns - start_ns) / 1e9, (np.array(times_ns) - start_ns) / 1e9, positions
    )


# --- writing --------------------------------------------------------------------------------

_Row = tuple[float, str, Any]  # when [s], topic, message


def _joint_messages(store: Any, log: Log, topics: BagTopics) -> Iterable[_Row]:
    names, columns = list(robot.JOINT_NAMES), log.joint_positions
    if log.gripper_openings is not None:
        names += robot.FINGER_JOINT_NAMES
        fingers = np.repeat(log.gripper_openings[:, None] * robot.FINGER_TRAVEL_M, 2, axis=1)
        columns = np.hstack([columns, fingers])
    empty = np.zeros(0)
    for stamp_s, row in zip(log.stamps_s, columns, strict=True):
        message = store.types["sensor_msgs/msg/JointState"](
            _header(store, stamp_s, "base"), names, row.astype(float), empty, empty
        )
        yield float(stamp_s), topics.joint_states, message


def _command_messages(store: Any, log: Log, topics: BagTopics) -> Iterable[_Row]:
    """One trajectory for every corner: to the next one, from when it arrives."""
    duration = store.types["builtin_interfaces/msg/Duration"]
    empty = np.zeros(0)
    stamps_ns = np.round(log.command_stamps_s * 1e9).astype(np.int64)
    for index in range(len(stamps_ns) - 1):
        step_ns = int(stamps_ns[index + 1] - stamps_ns[index])
        point = store.types["trajectory_msgs/msg/JointTrajectoryPoint"](
            log.commands[index + 1].astype(float), empty, empty, empty,
            duration(step_ns // 10**9, step_ns % 10**9),
        )  # fmt: skip
        message = store.types["trajectory_msgs/msg/JointTrajectory"](
            _header(store, None, ""), list(robot.JOINT_NAMES), [point]
        )
        yield float(log.command_stamps_s[index]), topics.command, message


def _image_messages(
    store: Any, images: Mapping[str, Sequence[tuple[float, NDArray[np.uint8]]]]
) -> Iterable[_Row]:
    for topic, frames in images.items():
        for stamp_s, image in frames:
            height, width, _ = image.shape
            message = store.types["sensor_msgs/msg/Image"](
                _header(store, stamp_s, ""), height, width, "rgb8", 0, 3 * width,
                np.ascontiguousarray(image).reshape(-1),
            )  # fmt: skip
            yield stamp_s, topic, message


def _note_messages(store: Any, log: Log, topics: BagTopics) -> Iterable[_Row]:
    if log.instruction is not None:
        yield 0.0, topics.instruction, store.types["std_msgs/msg/String"](log.instruction)
    if log.success is not None:
        yield log.duration_s, topics.success, store.types["std_msgs/msg/Bool"](log.success)


def _header(store: Any, stamp_s: float | None, frame: str) -> Any:
    """`stamp_s` None: unstamped."""
    stamp_ns = 0 if stamp_s is None else _ns(stamp_s)
    time = store.types["builtin_interfaces/msg/Time"](stamp_ns // 10**9, stamp_ns % 10**9)
    return store.types["std_msgs/msg/Header"](time, frame)


def _ns(stamp_s: float) -> int:
    return EPOCH_NS + round(float(stamp_s) * 1e9)


def _rename(incomplete: Path, path: Path) -> None:
    """Give a finished bag its name; the storage file in it is called after the folder."""
    metadata = incomplete / "metadata.yaml"
    old = incomplete.name
    for file in list(incomplete.iterdir()):
        if file.name.startswith(old):
            file.rename(file.with_name(file.name.replace(old, path.name, 1)))
    metadata.write_text(metadata.read_text().replace(old, path.name))
    incomplete.rename(path)
