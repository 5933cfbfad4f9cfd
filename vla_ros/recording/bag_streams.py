"""What a mapping wants of a bag, read once: numbers with their stamps, and when images came.

Samples count from their header stamps; messages without one from when they were recorded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.bags import IMAGE_TYPES, open_bag, stamp_ns
from sim.following import Trajectory, follow
from sim.yaml_file import expected_one_of
from vla_ros.recording.arrivals import Arrivals, different_clocks
from vla_ros.recording.bag_clock import set_back_ns
from vla_ros.recording.mapping import ACTION, HELD, MappingError, Numbers, TopicMapping
from vla_ros.recording.resample import Series, interpolate, rising

JOINT_STATE = "sensor_msgs/msg/JointState"
POSE = "geometry_msgs/msg/PoseStamped"
TWIST = "geometry_msgs/msg/TwistStamped"
ARRAY = "std_msgs/msg/Float64MultiArray"
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
SCALARS = ("std_msgs/msg/Float64", "std_msgs/msg/Float32", "std_msgs/msg/Bool")
TEXT, FLAG = "std_msgs/msg/String", "std_msgs/msg/Bool"
NUMBER_TYPES = (JOINT_STATE, POSE, TWIST, ARRAY, TRAJECTORY, *SCALARS)
NAMED = (JOINT_STATE, TRAJECTORY)  # whose numbers have names
MEASURED = (JOINT_STATE, POSE)  # interpolated unless the mapping says otherwise
POSE_NAMES = ("x", "y", "z", "qw", "qx", "qy", "qz")
TWIST_NAMES = ("vx", "vy", "vz", "wx", "wy", "wz")


class BagError(ValueError):
    """A bag that cannot be converted; the message names the bag, the topic and the choices."""


@dataclass
class _Part:
    """One `Numbers` while a bag is read."""

    source: Numbers
    kind: str
    names: tuple[str, ...] = ()
    others: set[str] = field(default_factory=set)  # named by messages with none of its names
    stamps_ns: list[int] = field(default_factory=list)
    rows: list[NDArray[np.float64]] = field(default_factory=list)
    trajectories: list[tuple[int, NDArray[np.int64], NDArray[np.float64]]] = field(
        default_factory=list
    )


@dataclass(frozen=True)
class NumberStream:
    """The samples of one `Numbers`."""

    series: Series
    names: tuple[str, ...]
    kind: str
    linear: bool
    next_row: bool  # taken at the instant of the next row
    held: bool = False  # until the next one, however long; what is not must keep coming


@dataclass(frozen=True)
class BagStreams:
    """A bag as far as the mapping wants it."""

    name: str
    arrivals: dict[str, Arrivals]  # topic -> of all wanted topics
    numbers: dict[str, tuple[NumberStream, ...]]  # feature ->
    words: dict[str, list[tuple[int, Any]]]  # topic -> (received [ns], text or flag)


def read_streams(path: Path, mapping: TopicMapping) -> BagStreams:
    """Read a bag once. Raises `BagError` or `MappingError` for what cannot be used."""
    try:
        with open_bag(path) as reader:
            kinds = {connection.topic: connection.msgtype for connection in reader.connections}
            wanted = _wanted_topics(mapping, kinds, path.name)
            parts = {
                name: [_Part(source, kinds[source.topic]) for source in sources]
                for name, sources in mapping.numbers.items()
            }
            publishers = {
                each.topic: len(each.ext.offered_qos_profiles) for each in reader.connections
            }
            arrivals = {
                topic: Arrivals(kinds[topic], publishers=publishers[topic]) for topic in wanted
            }
            words: dict[str, list[tuple[int, Any]]] = {}
            chosen = [each for each in reader.connections if each.topic in wanted]
            for connection, received_ns, raw in reader.messages(connections=chosen):
                message = reader.deserialize(raw, connection.msgtype)
                topic = connection.topic
                stamp = stamp_ns(message) if hasattr(message, "header") else 0
                here = [p for each in parts.values() for p in each if p.source.topic == topic]
                arrivals[topic].add(stamp, received_ns, _driver(here, message))
                if connection.msgtype in (TEXT, FLAG):
                    words.setdefault(topic, []).append((received_ns, message.data))
                for part in here:
                    _add(part, message, stamp, received_ns, path.name)
        back_ns = set_back_ns(path)
    except (BagError, MappingError):
        raise
    except Exception as error:  # damaged bytes raise whatever they lead to
        raise BagError(f"{path}: cannot be read as a rosbag2: {error}; {_mend(path)}") from error
    if back_ns:
        raise BagError(
            f"{path.name}: its recorder's clock was set back by {back_ns / 1e9:.2f} s: messages of "
            "before and after are mixed, and cannot be told apart"
        )
    if reason := different_clocks(arrivals):
        raise BagError(f"{path.name}: {reason}")
    numbers = {
        name: tuple(_stream(part, name, path.name) for part in each) for name, each in parts.items()
    }
    return BagStreams(path.name, arrivals, numbers, words)


def _mend(path: Path) -> str:
    """What helps against a recording that was cut off."""
    stored = [path] if path.is_file() else sorted(path.glob("*.mcap"))
    if stored and stored[0].suffix == ".mcap":
        name = stored[0].name
        return f"if the recorder was killed, `mcap recover {name} -o mended.mcap` saves the rest"
    return "if the recorder was killed, `ros2 bag reindex FOLDER` writes its metadata.yaml anew"


def _wanted_topics(mapping: TopicMapping, kinds: dict[str, str], bag: str) -> set[str]:
    """All topics of the mapping, each in the bag and of a type that can be used."""
    wanted: list[tuple[str, str, tuple[str, ...]]] = []
    for name, camera in mapping.cameras.items():
        wanted.append((f"features, {name}", camera.topic, IMAGE_TYPES))
    for name, sources in mapping.numbers.items():
        wanted += [(f"features, {name}", source.topic, NUMBER_TYPES) for source in sources]
    if mapping.task.topic:
        wanted.append(("task", mapping.task.topic, (TEXT,)))
    if mapping.episodes.topic:
        wanted.append(("episodes", mapping.episodes.topic, (FLAG, TEXT)))
    if mapping.success:
        wanted.append(("success", mapping.success.topic, (FLAG,)))
    for where, topic, types in wanted:
        if topic not in kinds:
            raise MappingError(f"{bag}: {where}: topic: {expected_one_of(sorted(kinds), topic)}")
        if kinds[topic] not in types:
            raise MappingError(
                f"{bag}: {where}: topic {topic}: expected one of {', '.join(types)}, "
                f"got {kinds[topic]}"
            )
    return {topic for _, topic, _ in wanted}


# --- numbers ----------------------------------------------------------------------------------


def _driver(parts: Iterable[_Part], message: Any) -> tuple[str, ...] | None:
    """The wanted joints that a message names: arm and gripper may have drivers of their own on one
    topic. None: it names others only."""
    wanted = {name for part in parts if part.kind in NAMED for name in part.source.names}
    named = wanted & _joint_names(message) if wanted else set()
    return None if wanted and not named else tuple(sorted(named))


def _joint_names(message: Any) -> set[str]:
    return set(message.name if hasattr(message, "name") else message.joint_names)


def _is_of_others(part: _Part, message: Any) -> bool:
    """Whether it names joints, and none of the wanted ones."""
    if part.kind not in NAMED or not part.source.names:
        return False
    names = _joint_names(message)
    if not names or names & set(part.source.names):
        return False
    part.others |= names
    return True


def _add(part: _Part, message: Any, stamp: int, received_ns: int, bag: str) -> None:
    where = f"{bag}: {part.source.topic}"
    if _is_of_others(part, message):
        return
    if part.kind == TRAJECTORY:
        _add_trajectory(part, message, stamp, received_ns, where)
        return
    values, names = _numbers(part, message, where)
    if part.names and len(part.names) != len(values):
        raise BagError(f"{where}: expected {len(part.names)} numbers, got {len(values)}")
    part.names = part.names or _named(part.source, names, where)
    if not np.all(np.isfinite(values)):
        raise BagError(
            f"{where}: expected finite numbers, got {values} in message {len(part.rows)}"
        )
    part.stamps_ns.append(stamp or received_ns)
    part.rows.append(values)


def _numbers(part: _Part, message: Any, where: str) -> tuple[NDArray, tuple[str, ...]]:
    """The numbers of a message, and what to call them if the mapping does not say."""
    if part.kind == JOINT_STATE:
        values = np.asarray(getattr(message, part.source.field), float)
        if len(values) != len(message.name):
            raise BagError(
                f"{where}: {part.source.field}: expected one number for each of "
                f"{len(message.name)} names, got {len(values)}"
            )
        return _by_name(part.source.names, message.name, values, where), part.source.names
    if part.kind == POSE:
        p, q = message.pose.position, message.pose.orientation
        values = np.array([p.x, p.y, p.z, q.w, q.x, q.y, q.z])
        if abs(float(np.linalg.norm(values[3:])) - 1.0) > 0.01:
            raise BagError(f"{where}: expected a unit quaternion, got {values[3:]}")
        return values, POSE_NAMES
    if part.kind == TWIST:
        v, w = message.twist.linear, message.twist.angular
        return np.array([v.x, v.y, v.z, w.x, w.y, w.z]), TWIST_NAMES
    values = np.atleast_1d(np.asarray(message.data, float))
    short = part.source.topic.strip("/").replace("/", "_")
    return values, (short,) if len(values) == 1 else tuple(
        f"{short}_{index}" for index in range(len(values))
    )


def _add_trajectory(part: _Part, message: Any, stamp: int, received_ns: int, where: str) -> None:
    if not message.points:
        raise BagError(f"{where}: expected at least one point, got none")
    start_ns = stamp or received_ns
    times_ns = [
        start_ns + point.time_from_start.sec * 10**9 + point.time_from_start.nanosec
        for point in message.points
    ]
    lengths = {len(point.positions) for point in message.points}
    if lengths != {len(message.joint_names)}:
        raise BagError(
            f"{where}: expected {len(message.joint_names)} positions in every point, "
            f"got {sorted(lengths)}"
        )
    positions = np.array([point.positions for point in message.points], float)
    part.names = part.source.names
    rows = _by_name(part.source.names, message.joint_names, positions, where)
    if not np.all(np.isfinite(rows)):
        raise BagError(f"{where}: expected finite positions, got {rows}")
    part.trajectories.append((received_ns, np.array(times_ns, np.int64), rows))


def _by_name(
    wanted: tuple[str, ...], names: Iterable[str], values: NDArray, where: str
) -> NDArray[np.float64]:
    """Columns (..., len(wanted)) of values (..., len(names))."""
    present = list(names)
    if not wanted:
        raise MappingError(f"{where}: names: expected some of {', '.join(present)}, got none")
    for name in wanted:
        if name not in present:
            raise MappingError(f"{where}: names: {expected_one_of(present, name)}")
    return values[..., [present.index(name) for name in wanted]]


def _named(source: Numbers, names: tuple[str, ...], where: str) -> tuple[str, ...]:
    if source.names and len(source.names) != len(names):
        raise MappingError(
            f"{where}: names: expected {len(names)}, for {', '.join(names)}, "
            f"got {', '.join(source.names)}"
        )
    return source.names or names


def _stream(part: _Part, feature: str, bag: str) -> NumberStream:
    if not part.stamps_ns and not part.trajectories:
        if part.others:
            seen = expected_one_of(sorted(part.others), part.source.names[0])
            raise MappingError(f"{bag}: {part.source.topic}: names: {seen}")
        raise BagError(f"{bag}: no messages on {part.source.topic}")
    if part.kind == TRAJECTORY:
        series, linear = _path(part), True
    else:
        kept = rising(np.array(part.stamps_ns))
        series = Series(np.array(part.stamps_ns)[kept], np.stack(part.rows)[kept])
        resample = part.source.resample or ("linear" if part.kind in MEASURED else "latest")
        linear = resample == "linear"
    command = part.kind == TRAJECTORY or (feature.startswith(ACTION) and not linear)
    held = command or part.source.resample == HELD
    at = part.source.at or ("next" if feature.startswith(ACTION) else "now")
    return NumberStream(series, part.names, part.kind, linear, at == "next", held)


def _path(part: _Part) -> Series:
    """The corners of what a controller commands, from the first point it was given to reach:
    where the command stood before is not known."""
    first_ns, _, positions = part.trajectories[0]
    corners_s, corners = follow(
        [
            Trajectory((arrival - first_ns) / 1e9, (times - first_ns) / 1e9, rows)
            for arrival, times, rows in part.trajectories
        ],
        positions[0],
    )
    stamps_ns = first_ns + np.round(corners_s * 1e9).astype(np.int64)
    kept = rising(stamps_ns)
    path = Series(stamps_ns[kept], corners[kept])
    ahead_ns = [
        int(time) for arrival, times, _ in part.trajectories for time in times[times > arrival][:1]
    ]
    known_ns = np.array([min(ahead_ns, default=first_ns)])
    later = path.stamps_ns > known_ns
    return Series(
        np.concatenate([known_ns, path.stamps_ns[later]]),
        np.concatenate([interpolate(path, known_ns), path.values[later]]),
    )
