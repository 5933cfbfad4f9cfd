"""rosbag2 (MCAP or sqlite3) without ROS, through the `rosbags` library: opening, and stamps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


def is_bag(path: Path) -> bool:
    """Whether `path` looks like a rosbag2: a folder with its metadata, or one storage file."""
    return path.suffix in (".mcap", ".db3") or (path / "metadata.yaml").is_file()


@contextmanager
def open_bag(path: Path) -> Iterator[Any]:
    """A `rosbags.highlevel.AnyReader`. What damaged bytes raise is up to that library."""
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    # The store is for bags (sqlite3 of older ROS) that do not carry their own definitions.
    with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        yield reader


def stamp_ns(message: Any) -> int:
    """[ns] of a message's header; 0: unstamped."""
    stamp = message.header.stamp
    return stamp.sec * 10**9 + stamp.nanosec
