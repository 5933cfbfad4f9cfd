"""Which topics of a bag become which features of a dataset: a YAML file as frozen dataclasses.

docs/recording.md shows every field; config/convert.yaml is a commented example.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from sim.yaml_file import expected_one_of, read_yaml, shortened

IMAGE_PREFIX = "observation.images."
JOINT_FIELDS = ("position", "velocity", "effort")
ACTION = "action"  # what features that are told, not measured, are called at first
HELD = "held"
RESAMPLING = ("linear", "latest", HELD)
INSTANTS = ("now", "next")
SPLITS = ("bag", "topic", "gap")
KEPT_NAMES = ("next.success", "next.reward", "timestamp", "task", "index")  # LeRobot's and ours


def image_feature(camera: str) -> str:
    """What a dataset calls a camera's images: LeRobot takes no /, which topics may have."""
    return IMAGE_PREFIX + camera.replace("/", "_")


class MappingError(ValueError):
    """A mapping that cannot be used; the message names the field and the choices."""


def _check_topic(topic: Any) -> None:
    if not isinstance(topic, str) or not topic.startswith("/"):
        raise MappingError(f"topic: expected a name that begins with '/', got {shortened(topic)}")


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise MappingError(f"{name}: {expected_one_of(choices, value)}")


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise MappingError(f"{name}: expected {low:g} to {high:g}, got {shortened(value)}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)  # True is an int in Python


@dataclass(frozen=True)
class Numbers:
    """Numbers of one topic; several of these, one after another, make a feature."""

    topic: str
    names: tuple[str, ...] = ()  # which joints; for other types what to call the numbers
    field: str = "position"  # of a JointState, one of `JOINT_FIELDS`
    resample: str = ""  # one of `RESAMPLING`; empty: by the type, see docs/recording.md
    at: str = ""  # one of `INSTANTS`; empty: next for features called action..., else now

    def __post_init__(self) -> None:
        _check_topic(self.topic)
        if len(set(self.names)) != len(self.names):
            raise MappingError(f"names: expected each once, got {', '.join(self.names)}")
        _check_choice("field", self.field, JOINT_FIELDS)
        if self.resample:
            _check_choice("resample", self.resample, RESAMPLING)
        if self.at:
            _check_choice("at", self.at, INSTANTS)


@dataclass(frozen=True)
class Camera:
    """Images of one topic, as they are or resized."""

    topic: str
    height_px: int = 0  # both or none
    width_px: int = 0

    def __post_init__(self) -> None:
        _check_topic(self.topic)
        sizes = (self.height_px, self.width_px)
        if any(not _is_whole(size) or size % 2 or size < 0 for size in sizes) or (
            bool(self.height_px) != bool(self.width_px)
        ):
            raise MappingError(
                f"height_px, width_px: expected two even whole numbers or none, "
                f"got {self.height_px}, {self.width_px}"
            )


@dataclass(frozen=True)
class Split:
    """What one episode is."""

    by: str = "bag"  # one of `SPLITS`
    topic: str = ""  # by topic: a Bool (true while recording) or a String (each text is one)
    longer_than_s: float = 1.0  # by gap: of the first camera's images, or of the first numbers

    def __post_init__(self) -> None:
        _check_choice("by", self.by, SPLITS)
        if (self.by == "topic") != bool(self.topic):
            raise MappingError("topic: expected one with `by: topic`, and only then")
        if self.topic:
            _check_topic(self.topic)
        _check_range("longer_than_s", self.longer_than_s, 0.01, 3600.0)


@dataclass(frozen=True)
class Task:
    """The instruction: a text, or the newest String of a topic when the episode begins."""

    text: str = ""
    topic: str = ""

    def __post_init__(self) -> None:
        if bool(self.text) == bool(self.topic):
            raise MappingError("task: expected either `text` or `topic`")
        if self.topic:
            _check_topic(self.topic)


@dataclass(frozen=True)
class Outcome:
    """The last Bool of a topic within the episode says how it went."""

    topic: str

    def __post_init__(self) -> None:
        _check_topic(self.topic)


@dataclass(frozen=True)
class TopicMapping:
    """All of it."""

    features: Mapping[str, Camera | tuple[Numbers, ...]]
    task: Task
    rate_hz: int = 10
    robot_type: str = "unknown"
    episodes: Split = Split()
    success: Outcome | None = None
    max_gap_s: float = 0.5  # of images and what is measured: longer, and the episode is left out
    min_rows: int = 5

    def __post_init__(self) -> None:
        if not _is_whole(self.rate_hz) or not 1 <= self.rate_hz <= 100:
            raise MappingError(
                f"rate_hz: expected a whole number from 1 to 100, got {shortened(self.rate_hz)}"
            )
        _check_range("max_gap_s", self.max_gap_s, 0.001, 60.0)
        if not _is_whole(self.min_rows) or self.min_rows < 1:
            raise MappingError(
                f"min_rows: expected a whole number from 1 on, got {shortened(self.min_rows)}"
            )

    @property
    def cameras(self) -> dict[str, Camera]:
        return {name: c for name, c in self.features.items() if isinstance(c, Camera)}

    @property
    def numbers(self) -> dict[str, tuple[Numbers, ...]]:
        return {name: n for name, n in self.features.items() if isinstance(n, tuple)}


def read_mapping(path: Path) -> TopicMapping:
    """The mapping a file holds. Raises `MappingError` (or `YamlError`) naming file and field."""
    try:
        return parse_mapping(read_yaml(path, "mapping"))
    except MappingError as error:
        raise MappingError(f"{path}: {error}") from error


def parse_mapping(content: Any) -> TopicMapping:
    values = _table(content, "mapping", TopicMapping)
    described = _mapping(values["features"], "features")
    if not described:
        raise MappingError("features: expected at least one, got none")
    chosen: dict[str, Camera | tuple[Numbers, ...]] = {}
    for name, value in described.items():
        where = f"features, {name}"
        if not isinstance(name, str) or name in KEPT_NAMES or "/" in name:
            raise MappingError(
                f"features: expected names without '/' and other than {', '.join(KEPT_NAMES)}, "
                f"got {shortened(name)}"
            )
        if name.startswith(IMAGE_PREFIX):
            chosen[name] = _build(value, where, Camera)
        else:
            parts = value if isinstance(value, list) else [value]
            if not parts:
                raise MappingError(f"{where}: expected at least one topic, got none")
            chosen[name] = tuple(
                _build(part, f"{where}, {index}" if len(parts) > 1 else where, Numbers)
                for index, part in enumerate(parts, start=1)
            )
    values["features"] = chosen
    for name, kind in (("task", Task), ("episodes", Split), ("success", Outcome)):
        if name in values:
            values[name] = _build(values[name], name, kind)
    return TopicMapping(**values)


def _build(value: Any, where: str, kind: type) -> Any:
    """A dataclass from a mapping of its fields."""
    values = _table(value, where, kind)
    if "names" in values:
        names = values["names"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise MappingError(f"{where}: names: expected a list of names, got {shortened(names)}")
        values["names"] = tuple(names)
    try:
        return kind(**values)
    except MappingError as error:
        raise MappingError(f"{where}: {error}") from error


def _table(value: Any, where: str, kind: type) -> dict[str, Any]:
    values = _mapping(value, where)
    known = {each.name: each for each in fields(kind)}
    for name in values:
        if name not in known:
            raise MappingError(f"{where}: {expected_one_of(known, name)}")
    missing = [
        name
        for name, each in known.items()
        if each.default is MISSING and each.default_factory is MISSING and name not in values
    ]
    if missing:
        raise MappingError(f"{where}: missing {', '.join(missing)}")
    return dict(values)


def _mapping(value: Any, where: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise MappingError(f"{where}: expected a mapping, got {shortened(value)}")
    return value
