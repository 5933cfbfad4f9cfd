"""Appends episodes to a `LeRobotDataset` (v3) such that a kill at any instant harms none of them.

LeRobot's own writer keeps a parquet file open over many episodes, whose footer only `finalize`
writes, and rewrites `info.json` in place: a kill leaves a folder that does not open. Here every
`append` makes files of its own beside the dataset and then renames them into it, in an order in
which each step leaves a whole dataset; `meta/info.json` comes last and says how much counts.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from sim import video
from sim.episode_tables import (
    EpisodeData,
    counters,
    episode_row,
    statistics,
    sum_statistics,
    with_tasks,
    write_episodes,
    write_rows,
)

PENDING = ".pending"  # what is not yet part of the dataset
LOCK = ".lock"
INFO = "meta/info.json"
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DatasetError(RuntimeError):
    """A dataset that cannot be written; the message says where, why and what to do."""


class EpisodeFiles:
    """A dataset in `folder`, new or to be continued. A context manager: one writer at a time.

    Raises `DatasetError` when the folder holds something else, a dataset with other features, or is
    being written to by another process; `append` raises `OSError` when the disk is full, and the
    dataset stays as it was.
    """

    def __init__(
        self, folder: Path, rate_hz: int, features: Mapping[str, dict[str, Any]], robot_type: str
    ) -> None:
        # Imported here: LeRobot takes seconds to load.
        from lerobot.configs import RGBEncoderConfig
        from lerobot.utils.constants import DEFAULT_FEATURES

        self.folder = Path(folder).absolute()
        self._encoder = RGBEncoderConfig(
            vcodec=video.CODEC,
            pix_fmt=video.PIXEL_FORMAT,
            g=video.KEYFRAME_INTERVAL,
            crf=video.QUALITY_CRF,
            preset=video.PRESET,
        )
        self.encoder_options: dict[str, str] = self._encoder.get_codec_options(1, as_strings=True)
        wanted = {**deepcopy(dict(features)), **DEFAULT_FEATURES}
        self._tasks: Any = None  # LeRobot's table: task -> task_index
        self._stats: Any = None
        kinds = ["data", "meta/episodes"]
        kinds += [f"videos/{name}" for name, f in features.items() if f["dtype"] == "video"]
        self._next_file = dict.fromkeys(kinds, (0, 0))  # chunk, file
        existing = self.folder.is_dir() and set(os.listdir(self.folder)) - {PENDING, LOCK}
        if existing and not (self.folder / INFO).is_file():
            raise DatasetError(f"output {self.folder} already exists and is no LeRobotDataset")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = self._take_lock()
        try:
            shutil.rmtree(self.folder / PENDING, ignore_errors=True)
            if existing:
                self._resume(rate_hz, wanted, robot_type)
            else:
                self._begin(rate_hz, wanted, robot_type)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> EpisodeFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def episodes(self) -> int:
        return self._info.total_episodes

    @property
    def frames(self) -> int:
        return self._info.total_frames

    def close(self) -> None:
        """Remove what only writing needs; an empty folder too. May be called again."""
        if self._lock < 0:
            return
        shutil.rmtree(self.folder / PENDING, ignore_errors=True)
        with contextlib.suppress(OSError):
            (self.folder / LOCK).unlink()
        os.close(self._lock)
        self._lock = -1
        with contextlib.suppress(OSError):
            self.folder.rmdir()  # only when empty

    # --- opening ----------------------------------------------------------------------------

    def _take_lock(self) -> int:
        path = self.folder / LOCK
        lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(lock), os.stat(path)):  # a third makes it anew
                raise FileNotFoundError(f"{path} was removed by whoever had it")
        except OSError as error:
            os.close(lock)
            raise DatasetError(
                f"output {self.folder} is being written to by another process"
            ) from error
        return lock

    def _begin(self, rate_hz: int, features: dict[str, Any], robot_type: str) -> None:
        from lerobot.datasets.dataset_metadata import CODEBASE_VERSION
        from lerobot.datasets.feature_utils import create_empty_dataset_info

        videos = any(feature["dtype"] == "video" for feature in features.values())
        self._info = create_empty_dataset_info(
            CODEBASE_VERSION, rate_hz, features, videos, robot_type
        )

    def _resume(self, rate_hz: int, features: dict[str, Any], robot_type: str) -> None:
        from lerobot.datasets.io_utils import load_episodes, load_info, load_stats, load_tasks
        from lerobot.datasets.utils import update_chunk_file_indices

        try:
            self._info = load_info(self.folder)
            found = {"rate_hz": self._info.fps, "robot_type": self._info.robot_type}
            for name, value in {"rate_hz": rate_hz, "robot_type": robot_type}.items():
                if found[name] != value:
                    raise DatasetError(
                        f"output {self.folder} exists with another {name}: "
                        f"expected {value}, it has {found[name]}; choose another folder"
                    )
            _check_features(self.folder, self._info.features, features)
            self._tasks = load_tasks(self.folder)
            self._stats = load_stats(self.folder)
            if self._stats is None or int(self._stats["index"]["count"][0]) != self.frames:
                self._stats = sum_statistics(self.folder, self.episodes)  # a kill in between
            last = load_episodes(self.folder)[self.episodes - 1]
        except DatasetError:
            raise
        except Exception as error:  # whatever LeRobot or its readers raise about a damaged folder
            raise DatasetError(f"output {self.folder}: cannot be continued: {error}") from error
        for kind in self._next_file:
            self._next_file[kind] = update_chunk_file_indices(
                last[f"{kind}/chunk_index"], last[f"{kind}/file_index"], self._info.chunks_size
            )

    def _video_names(self) -> list[str]:
        return [name for name, f in self._info.features.items() if f["dtype"] == "video"]

    # --- appending --------------------------------------------------------------------------

    def append(self, episodes: Sequence[EpisodeData]) -> None:
        """Add episodes, in one file of each kind: all of them or, with an error, none."""
        from lerobot.datasets.utils import update_chunk_file_indices

        pending = self.folder / PENDING
        shutil.rmtree(pending, ignore_errors=True)
        state = deepcopy((self._info, self._tasks, self._stats))
        try:
            paths = self._write(pending, episodes)
            for path in paths:
                _flush(pending / path)
            for path in paths:  # in this order: see the module's docstring
                (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
                os.replace(pending / path, self.folder / path)
        except BaseException:
            self._info, self._tasks, self._stats = state
            raise
        finally:
            shutil.rmtree(pending, ignore_errors=True)
        for kind, indices in self._next_file.items():
            self._next_file[kind] = update_chunk_file_indices(*indices, self._info.chunks_size)

    def _write(self, pending: Path, episodes: Sequence[EpisodeData]) -> list[Path]:
        """Write the files under `pending`; their paths, in the order in which they may appear."""
        from lerobot.datasets.compute_stats import aggregate_stats
        from lerobot.datasets.io_utils import write_info, write_stats, write_tasks
        from lerobot.datasets.utils import DEFAULT_EPISODES_PATH, DEFAULT_TASKS_PATH, STATS_PATH

        info = self._info
        first = info.total_episodes == 0
        video_paths, spans = self._write_videos(pending, episodes)
        self._tasks = with_tasks(self._tasks, [episode.task for episode in episodes])
        tables, rows = [], []
        for index, episode in enumerate(episodes):
            table = {
                **episode.columns,
                **counters(episode, info.fps, info.total_episodes, info.total_frames, self._tasks),
            }
            found = statistics(table, episode.pixels)
            self._stats = aggregate_stats([self._stats, found]) if self._stats else found
            row = episode_row(episode, table, found)
            for kind, (chunk, file) in self._next_file.items():
                row |= {f"{kind}/chunk_index": chunk, f"{kind}/file_index": file}
            rows.append(row | spans[index])
            tables.append(table)
            info.total_episodes += 1
            info.total_frames += episode.length
        info.total_tasks = len(self._tasks)
        info.splits = {"train": f"0:{info.total_episodes}"}
        if first:
            self._describe_videos(pending, video_paths)
        data_path = self._path(info.data_path, "data")
        episodes_path = self._path(DEFAULT_EPISODES_PATH, "meta/episodes")
        write_rows(pending / data_path, tables, info.features)
        write_episodes(pending / episodes_path, rows)
        write_tasks(self._tasks, pending)
        write_stats(self._stats, pending)
        write_info(info, pending)
        meta = [Path(path) for path in (DEFAULT_TASKS_PATH, STATS_PATH, INFO)]
        return [*video_paths.values(), data_path, episodes_path, *meta]

    def _path(self, pattern: str, kind: str, **names: str) -> Path:
        chunk, file = self._next_file[kind]
        return Path(pattern.format(chunk_index=chunk, file_index=file, **names))

    def _write_videos(
        self, pending: Path, episodes: Sequence[EpisodeData]
    ) -> tuple[dict[str, Path], list[dict[str, float]]]:
        """Paths by feature, and for each episode from when to when it lasts in them [s]."""
        paths: dict[str, Path] = {}
        spans: list[dict[str, float]] = [{} for _ in episodes]
        rate_hz = self._info.fps
        for name in self._video_names():
            paths[name] = self._path(self._info.video_path, f"videos/{name}", video_key=name)
            joiner = video.VideoJoiner(pending / paths[name], rate_hz)
            try:
                for span, episode in zip(spans, episodes, strict=True):
                    span[f"videos/{name}/from_timestamp"] = joiner.frames / rate_hz
                    joiner.append(episode.videos[name], episode.length)
                    span[f"videos/{name}/to_timestamp"] = joiner.frames / rate_hz
            except BaseException:
                joiner.discard()
                raise
            joiner.close()
        return paths, spans

    def _describe_videos(self, pending: Path, paths: Mapping[str, Path]) -> None:
        from lerobot.datasets.video_utils import get_video_info

        for name, path in paths.items():
            found = get_video_info(pending / path, video_encoder=self._encoder)
            self._info.features[name]["info"] = found


def check_output(
    folder: Path, rate_hz: int, features: Mapping[str, dict[str, Any]], robot_type: str
) -> None:
    """What can be known before the first image comes: all but the size of the videos.

    Raises `DatasetError` and `OSError` as `EpisodeFiles` does. A folder that does not exist yet is
    not made.
    """
    if not folder.is_dir() or not os.listdir(folder):
        return
    known = {
        name: {**feature, "shape": None} if feature["dtype"] == "video" else feature
        for name, feature in features.items()
    }
    EpisodeFiles(folder, rate_hz, known, robot_type).close()


def _check_features(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    if missing := sorted(set(found) ^ set(wanted)):
        raise DatasetError(
            f"output {folder} exists with other features: only one of the two has "
            f"{', '.join(missing)}; choose another folder"
        )
    for name, feature in wanted.items():
        for key in ("dtype", "shape", "names"):
            expected, got = feature.get(key), found[name].get(key)
            if key == "shape":
                if expected is None:  # not known yet
                    continue
                expected, got = tuple(expected), tuple(got)
            if expected != got:
                raise DatasetError(
                    f"output {folder} exists with another {name}: expected {key} {expected}, "
                    f"it has {got}; choose another folder"
                )


def explain(error: OSError, folder: Path, kept: int) -> DatasetError:
    """What a user can do about it."""
    hint = ""
    if error.errno in FULL_DISK:
        stay = f"{kept} episodes were written and stay: " if kept else ""
        hint = f"; {stay}free some space and start again"
    elif error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        hint = "; choose an output folder you may write to"
    return DatasetError(f"cannot write the dataset to {folder}: {error.strerror or error}{hint}")


def _flush(path: Path) -> None:
    """To the disk: after a power cut a name without its content would be worse than neither."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
