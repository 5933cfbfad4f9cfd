"""Logs of any kind from a path: a rosbag2, a LeRobotDataset, or a folder of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sim.bags import is_bag
from sim.sim2real.lerobot_logs import is_dataset, read_dataset
from sim.sim2real.logs import Log, LogError
from sim.sim2real.rosbag import TOPICS, BagTopics, read_bag


def read_logs(paths: Sequence[Path], topics: BagTopics = TOPICS) -> list[Log]:
    """The logs at all `paths`. Raises `LogError` for the first that cannot be used."""
    return [log for path in paths for log in _read(Path(path), topics)]


def _read(path: Path, topics: BagTopics) -> list[Log]:
    if not path.exists():
        raise LogError(f"{path}: no such file or folder")
    if is_bag(path):
        return [read_bag(path, topics)]
    if is_dataset(path):
        return read_dataset(path)
    inside = sorted(path.iterdir()) if path.is_dir() else []
    known = [each for each in inside if is_bag(each) or is_dataset(each)]
    if not known:
        raise LogError(
            f"{path}: expected a rosbag2 (a folder with metadata.yaml, an .mcap or .db3 file), a "
            "LeRobotDataset (a folder with meta/info.json), or a folder of such; it is none"
        )
    return [log for each in known for log in _read(each, topics)]
