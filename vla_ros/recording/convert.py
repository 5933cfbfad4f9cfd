"""From bags to a LeRobotDataset, by a mapping, with a report of gaps and skew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim import video
from sim.bags import is_bag, open_bag
from sim.episode_files import EpisodeFiles, explain
from sim.episode_tables import (
    OUTCOME,
    EpisodeData,
    image,
    outcome_columns,
    sample_pixels,
    vector,
)
from vla_ros.recording.bag_streams import BagError, BagStreams, read_streams
from vla_ros.recording.mapping import TopicMapping
from vla_ros.recording.output_folder import whole_or_not_at_all
from vla_ros.recording.pictures import PictureError, decode, resized
from vla_ros.recording.plan import EpisodePlan, plan_episodes
from vla_ros.recording.report import bag_report


def find_bags(path: Path) -> list[Path]:
    """The bag at `path`, or those in it. Raises `BagError` when there are none."""
    if not path.exists():
        raise BagError(f"{path}: no such file or folder")
    if is_bag(path):
        return [path]
    inside = sorted(each for each in path.iterdir() if is_bag(each)) if path.is_dir() else []
    if not inside:
        raise BagError(
            f"{path}: expected a rosbag2 (a folder with metadata.yaml, an .mcap or .db3 file), or "
            "a folder of such; it is none"
        )
    return inside


def convert(
    bags: Sequence[Path],
    output: Path,
    mapping: TopicMapping,
    on_progress: Callable[[int, int], None] = lambda done, bags: None,
) -> dict[str, Any]:
    """Write the dataset, whole or not at all; returns the report.

    Raises `BagError`, `MappingError` or `DatasetError`; also when no episode at all can be used.
    """
    output = Path(output).absolute()
    try:
        with whole_or_not_at_all(output) as folder:
            return {"output": output.name, **_convert(bags, folder, mapping, on_progress)}
    except OSError as error:
        raise explain(error, output, 0) from error


def _convert(
    bags: Sequence[Path],
    folder: Path,
    mapping: TopicMapping,
    on_progress: Callable[[int, int], None],
) -> dict[str, Any]:
    reports: list[dict[str, Any]] = []
    files: EpisodeFiles | None = None
    features: dict[str, dict[str, Any]] = {}  # of the first bag
    try:
        for done, path in enumerate(bags):
            on_progress(done, len(bags))
            streams = read_streams(path, mapping)
            plans = plan_episodes(streams, mapping)
            kept = [plan for plan in plans if not plan.left_out]
            if kept:
                videos = _Videos(path, mapping, streams, kept)
                described = _features(mapping, streams, videos.shapes)
                if files is None:
                    features = described
                    files = EpisodeFiles(folder, mapping.rate_hz, features, mapping.robot_type)
                _check_same(streams.name, features, described)
                encoded = videos.encode(files.encoder_options)
                first = files.episodes
                files.append(
                    [
                        _episode(plan, mapping, *each)
                        for plan, each in zip(kept, encoded, strict=True)
                    ]
                )
                for number, plan in enumerate(kept, start=first):
                    plan.number = number
            reports.append(bag_report(streams, plans, mapping))
        if files is None:
            reasons = {plan["left_out"] for report in reports for plan in report["episodes"]}
            raise BagError(
                f"no episode can be used: {'; '.join(sorted(reasons)) or 'there are none'}"
            )
        return {"episodes": files.episodes, "frames": files.frames, "bags": reports}
    finally:
        if files is not None:
            files.close()


def _features(
    mapping: TopicMapping, streams: BagStreams, shapes: dict[str, tuple[int, ...]]
) -> dict[str, dict[str, Any]]:
    found = {name: image(shape[0], shape[1]) for name, shape in shapes.items()}
    for name, parts in streams.numbers.items():
        names = [each for part in parts for each in part.names]
        if len(set(names)) != len(names):
            raise BagError(
                f"{streams.name}: {name}: expected each name once, got {', '.join(names)}; "
                "give `names`"
            )
        found[name] = vector(names)
    return found | (OUTCOME if mapping.success else {})


def _check_same(bag: str, first: dict[str, dict], found: dict[str, dict]) -> None:
    for name, feature in first.items():
        for key in ("shape", "names"):
            if feature[key] != found[name][key]:
                raise BagError(
                    f"{bag}: {name}: expected {key} {feature[key]}, as in the first bag, "
                    f"got {found[name][key]}"
                )


def _episode(
    plan: EpisodePlan,
    mapping: TopicMapping,
    videos: dict[str, bytes],
    pixels: dict[str, NDArray[np.uint8]],
) -> EpisodeData:
    outcome = outcome_columns(bool(plan.success), plan.rows) if mapping.success else {}
    return EpisodeData(plan.task, {**plan.columns, **outcome}, videos, pixels)


class _Videos:
    """Decodes the images that the plans of one bag want, in a second pass."""

    def __init__(
        self, path: Path, mapping: TopicMapping, streams: BagStreams, plans: list[EpisodePlan]
    ) -> None:
        self._path = path
        self._cameras = mapping.cameras
        self._rate_hz = mapping.rate_hz
        self._streams = streams
        self._plans = plans
        self.shapes = self._probe()  # feature -> (h, w, 3) of the first image

    def _images(self, feature: str, wanted: set[int]):
        """(message index, image) of those wanted, in order."""
        camera = self._cameras[feature]
        last = max(wanted)
        with open_bag(self._path) as reader:
            connections = [each for each in reader.connections if each.topic == camera.topic]
            messages = reader.messages(connections=connections)
            for index, (connection, _, raw) in enumerate(messages):
                if index in wanted:
                    message = reader.deserialize(raw, connection.msgtype)
                    try:
                        picture = decode(message, connection.msgtype)
                    except PictureError as error:
                        raise BagError(
                            f"{self._streams.name}: {camera.topic}: message {index}: {error}"
                        ) from error
                    yield index, resized(picture, camera.height_px, camera.width_px)
                if index == last:
                    return

    def _probe(self) -> dict[str, tuple[int, ...]]:
        found = {}
        for feature in self._cameras:
            first = int(self._plans[0].images[feature][0])
            (_, picture), *_ = self._images(feature, {first})
            found[feature] = picture.shape
        return found

    def encode(self, options: dict[str, str]) -> list[tuple[dict, dict]]:
        """(videos, pixels) by feature, for every plan."""
        done: list[tuple[dict, dict]] = [({}, {}) for _ in self._plans]
        for feature, shape in self.shapes.items():
            wanted = {int(index) for plan in self._plans for index in plan.images[feature]}
            encoders = [
                video.Encoder(shape[0], shape[1], self._rate_hz, options) for _ in self._plans
            ]
            samples: list[list[NDArray]] = [[] for _ in self._plans]
            for index, picture in self._images(feature, wanted):
                if picture.shape != shape:
                    raise BagError(
                        f"{self._streams.name}: {feature}: expected images of shape {shape}, got "
                        f"{picture.shape} in message {index}; height_px and width_px resize"
                    )
                for number, plan in enumerate(self._plans):
                    for _ in range(int(np.sum(plan.images[feature] == index))):
                        encoders[number].add(picture)
                        samples[number].append(sample_pixels(picture[None]).copy())
            for (videos, pixels), encoder, kept in zip(done, encoders, samples, strict=True):
                videos[feature] = encoder.finish()
                pixels[feature] = np.concatenate(kept)
        return done
