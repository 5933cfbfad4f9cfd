"""Demonstrations of the scripted experts as a `LeRobotDataset` (v3, video).

Worker processes simulate, render and encode; this process joins their episodes in the order of the
seeds, so that the same seed gives the same dataset whatever the number of workers.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.interface import ACTION_NAMES, Policy
from policies.openvla.state import DATASET_STATE_NAMES
from sim import check_env_ids, robot, task_name, video
from sim.env import CONTROL_RATE_HZ, IMAGE_SIZE_PX, TabletopEnv
from sim.parallel import interrupts_deferred, ordered_map
from sim.randomization import NOMINAL
from sim.rendering import RenderingError
from sim.rollout import Demonstration, Perturbation, demonstrate
from sim.scene import CAMERAS
from sim.scenes import descriptions
from sim.variants import STANDARD, find_variant

RATE_HZ = int(CONTROL_RATE_HZ)
FILE_SIZE_LIMIT_BYTES = 32 * 2**20  # of one video file; it is put together in memory
MAX_FAILED_SHARE = 0.5  # of the attempts; above it collection gives up
STATISTICS_STRIDE_PX = 8  # every 8th pixel of every frame enters the image statistics
INCOMPLETE_SUFFIX = ".incomplete"
COLLECTION_FILE = "meta/collection.json"
RANDOMIZATION_FILE = "meta/randomization.jsonl"  # what each episode drew, where anything was drawn


class DatasetError(RuntimeError):
    """A dataset that cannot be written; the message says where, why and what to do."""


@dataclass(frozen=True)
class Collection:
    """What to collect."""

    env_ids: tuple[str, ...]  # episodes alternate over them
    episodes: int  # kept ones, over all environments together
    output: Path
    seed: int = 1_000_000  # far from the seeds that evaluation uses
    perturb: float = 0.3  # share of disturbed steps; 0: clean demonstrations
    cameras: tuple[str, ...] = CAMERAS
    image_size_px: int = IMAGE_SIZE_PX
    workers: int = 1
    policy: str | None = None  # let this one act and the expert label what it gets into (DAgger)
    variant: str = STANDARD  # a key of `sim.variants.VARIANTS`
    randomization: str = NOMINAL  # what `sim.randomization.load_domain` takes

    def __post_init__(self) -> None:
        check_env_ids(self.env_ids)
        unknown = [camera for camera in self.cameras if camera not in CAMERAS]
        if unknown or len(set(self.cameras)) != len(self.cameras):
            raise ValueError(
                f"cameras: expected some of {', '.join(CAMERAS)}, each once, "
                f"got {', '.join(self.cameras)}"
            )
        if self.episodes < 1:
            raise ValueError(f"episodes: expected 1 or more, got {self.episodes}")
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")
        if not 16 <= self.image_size_px <= 640 or self.image_size_px % 2:
            raise ValueError(
                f"image_size: expected an even number from 16 to 640, got {self.image_size_px}"
            )
        Perturbation(self.perturb)
        find_variant(self.variant, self.randomization)


@dataclass(frozen=True)
class Progress:
    """How far a collection is; passed on after every attempt."""

    kept: int
    failed: int
    frames: int


@dataclass(frozen=True)
class _Job:
    env_id: str
    seed: int
    perturbation: Perturbation
    cameras: tuple[str, ...]
    image_size_px: int
    encoder_options: tuple[tuple[str, str], ...]
    policy: str | None = None
    variant: str = STANDARD
    randomization: str = NOMINAL


@dataclass(frozen=True)
class _Recording:
    """A finished attempt as it travels from a worker."""

    job: _Job
    demonstration: Demonstration  # without its images
    videos: Mapping[str, bytes]  # camera -> mp4
    pixels: Mapping[str, NDArray[np.uint8]]  # camera -> (n, 3, h', w') for statistics


def features(cameras: tuple[str, ...], image_size_px: int) -> dict[str, dict[str, Any]]:
    """The dataset's features as LeRobot describes them.

    `action` is the expert's label, `executed_action` what the arm was told (they differ where the
    demonstration was disturbed; a world model wants the latter). `observation.target_position` and
    `observation.goal_position` are the simulator's truth, for auxiliary training losses: no policy
    may read them.
    """

    def vector(names: tuple[str, ...]) -> dict[str, Any]:
        return {"dtype": "float32", "shape": (len(names),), "names": list(names)}

    image = {
        "dtype": "video",
        "shape": (image_size_px, image_size_px, 3),
        "names": ["height", "width", "channels"],
    }
    return {
        **{f"observation.images.{camera}": dict(image) for camera in cameras},
        "observation.state": vector(DATASET_STATE_NAMES),
        "observation.joint_positions": vector(robot.JOINT_NAMES),
        "observation.target_position": vector(("x", "y", "z")),
        "observation.goal_position": vector(("x", "y", "z")),
        "action": vector(ACTION_NAMES),
        "executed_action": vector(ACTION_NAMES),
    }


def collect(
    collection: Collection, on_progress: Callable[[Progress], None] = lambda progress: None
) -> Progress:
    """Write the dataset to `collection.output`, which must not exist or be empty.

    Until the end everything lies in a sibling folder named `*.incomplete`, which only a kill leaves
    behind. Ctrl-C keeps the finished episodes: the dataset is completed with them, and
    `KeyboardInterrupt` is raised. Raises `DatasetError` for a folder that cannot be written to, a
    full disk, or an expert that fails more often than not; nothing is left then.
    """
    writer = DatasetWriter(collection)
    kept = failed = frames = 0
    recordings = ordered_map(_record, _jobs(collection, writer.options), collection.workers)
    try:
        with interrupts_deferred() as interrupted:
            for recording in recordings:
                # A learner's failures are what is worth labelling.
                if recording.demonstration.success or collection.policy:
                    writer.add(recording)
                    kept += 1
                    frames += recording.demonstration.steps
                else:
                    failed += 1
                on_progress(Progress(kept, failed, frames))
                if kept == collection.episodes or interrupted():
                    break
                if failed >= 20 and failed > MAX_FAILED_SHARE * (kept + failed):
                    raise DatasetError(
                        f"the expert failed in {failed} of {kept + failed} episodes; "
                        f"perturb is {collection.perturb}, try less"
                    )
            if kept:
                writer.finish()
            if interrupted():
                raise KeyboardInterrupt
    except RenderingError:
        raise
    except OSError as error:
        raise _explain(error, writer.folder, kept) from error
    finally:
        recordings.close()  # type: ignore[attr-defined]  # ends the workers
        writer.discard()  # what is not finished cannot be opened
    return Progress(kept, failed, frames)


def _jobs(collection: Collection, options: Mapping[str, str]) -> Iterator[_Job]:
    attempt = 0
    while True:
        turn, index = divmod(attempt, len(collection.env_ids))
        yield _Job(
            env_id=collection.env_ids[index],
            seed=collection.seed + turn,
            perturbation=Perturbation(collection.perturb),
            cameras=collection.cameras,
            image_size_px=collection.image_size_px,
            encoder_options=tuple(options.items()),
            policy=collection.policy,
            variant=collection.variant,
            randomization=collection.randomization,
        )
        attempt += 1


@lru_cache(maxsize=8)
def _environment(
    env_id: str, cameras: tuple[str, ...], image_size_px: int, variant: str, randomization: str
):
    return TabletopEnv(
        task_name(env_id),
        cameras=cameras,
        image_size_px=image_size_px,
        variant=variant,
        randomization=randomization,
    )


@lru_cache(maxsize=1)
def _learner(policy: str) -> Policy:
    import torch

    from policies.factory import load_policy

    torch.set_num_threads(1)  # the workers share the cores
    return load_policy(policy)


def _record(job: _Job) -> _Recording:
    """Simulate, render and encode one attempt; runs in a worker."""
    env = _environment(job.env_id, job.cameras, job.image_size_px, job.variant, job.randomization)
    learner = _learner(job.policy) if job.policy else None
    demonstration = demonstrate(env, job.seed, job.perturbation, learner=learner)
    videos, pixels = {}, {}
    if demonstration.success or learner is not None:
        stride = STATISTICS_STRIDE_PX
        for camera, images in demonstration.images.items():
            videos[camera] = video.encode(images, RATE_HZ, dict(job.encoder_options))
            pixels[camera] = images[:, ::stride, ::stride].transpose(0, 3, 1, 2)  # (n, 3, h', w')
    demonstration.images = {}
    return _Recording(job, demonstration, videos, pixels)


class DatasetWriter:
    """Writes recordings one after another as a `LeRobotDataset`, without encoding them again.

    LeRobot's own writer copies a video file for every episode it appends and computes statistics
    over every pixel, several times the cost of simulating. Files and metadata are the same.
    """

    def __init__(self, collection: Collection) -> None:
        # Imported here: LeRobot takes seconds to load, and workers do without it.
        from lerobot.configs import RGBEncoderConfig
        from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata

        output = Path(collection.output).absolute()
        self.output = output
        self.folder = output.with_name(output.name + INCOMPLETE_SUFFIX)
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise DatasetError(f"output {output} already exists; choose another or remove it")
        if self.folder.exists():
            raise DatasetError(
                f"{self.folder} is left from an interrupted collection (or one is running); "
                "remove it to start again"
            )
        self._collection = collection
        self._encoder = RGBEncoderConfig(
            vcodec=video.CODEC,
            pix_fmt=video.PIXEL_FORMAT,
            g=video.KEYFRAME_INTERVAL,
            crf=video.QUALITY_CRF,
            preset=video.PRESET,
        )
        self.options: dict[str, str] = self._encoder.get_codec_options(1, as_strings=True)
        try:
            self._meta = LeRobotDatasetMetadata.create(
                repo_id=f"local/{output.name}",
                fps=RATE_HZ,
                features=features(collection.cameras, collection.image_size_px),
                robot_type="fr3",
                root=self.folder,
                metadata_buffer_size=100,
                video_files_size_in_mb=max(1, FILE_SIZE_LIMIT_BYTES // 2**20),
            )
        except OSError as error:
            raise _explain(error, self.folder, 0) from error
        self._columns: dict[str, list[NDArray]] = {}
        self._rows: list[dict[str, Any]] = []
        self._joiners: dict[str, video.VideoJoiner] = {}
        self._file_index = 0

    def add(self, recording: _Recording) -> None:
        """Append one successful episode. Raises `OSError` when the disk is full."""
        demonstration, meta = recording.demonstration, self._meta
        length = demonstration.steps
        values = {
            "observation.state": demonstration.state,
            "observation.joint_positions": demonstration.joint_positions,
            "observation.target_position": demonstration.target_position,
            "observation.goal_position": demonstration.goal_position,
            "action": demonstration.action,
            "executed_action": demonstration.executed_action,
        }
        meta.save_episode_tasks([demonstration.instruction])
        counters = {
            "timestamp": np.arange(length, dtype=np.float32) / RATE_HZ,
            "frame_index": np.arange(length),
            "episode_index": np.full(length, meta.total_episodes),
            "index": np.arange(length) + meta.total_frames,
            "task_index": np.full(length, meta.get_task_index(demonstration.instruction)),
        }
        metadata = {
            "data/chunk_index": 0,
            "data/file_index": 0,
            "dataset_from_index": meta.total_frames,
            "dataset_to_index": meta.total_frames + length,
            **self._add_videos(recording, length),
        }
        for name, column in {**values, **counters}.items():
            self._columns.setdefault(name, []).append(column)
        self._rows.append(
            {
                "episode_index": meta.total_episodes,
                "env": recording.job.env_id,
                "seed": recording.job.seed,
                "steps": length,
            }
        )
        if demonstration.randomization:
            with (self.folder / RANDOMIZATION_FILE).open("a") as file:
                row = self._rows[-1] | {"randomization": demonstration.randomization}
                file.write(json.dumps(row) + "\n")
        meta.save_episode(
            meta.total_episodes,
            length,
            [demonstration.instruction],
            _statistics({**values, **counters}, recording.pixels),
            metadata,
        )

    def _add_videos(self, recording: _Recording, length: int) -> dict[str, Any]:
        """Append the cameras' videos; returns where LeRobot's metadata finds them."""
        if any(j.size_bytes > FILE_SIZE_LIMIT_BYTES for j in self._joiners.values()):
            self._close_videos()
            self._file_index += 1
        metadata: dict[str, Any] = {}
        for camera, encoded in recording.videos.items():
            key = f"observation.images.{camera}"
            chunk, file = divmod(self._file_index, self._meta.chunks_size)
            if key not in self._joiners:
                path = self._meta.video_path.format(
                    video_key=key, chunk_index=chunk, file_index=file
                )
                self._joiners[key] = video.VideoJoiner(self.folder / path, RATE_HZ)
            joiner = self._joiners[key]
            start = joiner.frames
            joiner.append(encoded, length)
            metadata |= {
                f"videos/{key}/chunk_index": chunk,
                f"videos/{key}/file_index": file,
                f"videos/{key}/from_timestamp": start / RATE_HZ,
                f"videos/{key}/to_timestamp": joiner.frames / RATE_HZ,
            }
        return metadata

    def finish(self) -> None:
        """Write what is still in memory and give the folder its final name."""
        import datasets
        import pyarrow.parquet
        from lerobot.datasets.feature_utils import get_hf_features_from_features
        from lerobot.datasets.io_utils import write_info

        self._close_videos()
        schema = get_hf_features_from_features(self._meta.features)
        table = datasets.Dataset.from_dict(
            {name: np.concatenate(self._columns[name]) for name in schema}, features=schema
        )
        path = self.folder / self._meta.data_path.format(chunk_index=0, file_index=0)
        path.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(table.with_format("arrow")[:], path)
        if self._collection.cameras:
            self._meta.update_video_info(video_encoder=self._encoder)
        write_info(self._meta.info, self.folder)
        self._meta.finalize()
        settings = asdict(self._collection) | {"output": self.output.name}
        del settings["workers"]  # the dataset does not depend on it
        domain = find_variant(self._collection.variant, self._collection.randomization).domain
        if domain:
            settings["ranges"] = domain.ranges()
        scenes = descriptions(self._collection.env_ids)
        if scenes:
            settings["scenes"] = scenes
        (self.folder / COLLECTION_FILE).write_text(
            json.dumps({**settings, "recorded": self._rows}, indent=1) + "\n"
        )
        if self.output.exists():
            self.output.rmdir()  # empty, as checked at the start
        os.replace(self.folder, self.output)

    def discard(self) -> None:
        """Remove what has been written, unless it is finished."""
        while self._joiners:
            self._joiners.popitem()[1].discard()
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # or it writes what it still holds when collected
            self._meta.finalize()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _close_videos(self) -> None:
        while self._joiners:
            self._joiners.popitem()[1].close()


def _statistics(
    values: Mapping[str, NDArray], pixels: Mapping[str, NDArray[np.uint8]]
) -> dict[str, dict[str, NDArray]]:
    """LeRobot's statistics of one episode; images (n, 3, h, w) as numbers from 0 to 1."""
    from lerobot.datasets.compute_stats import DEFAULT_QUANTILES, get_feature_stats

    statistics = {
        name: get_feature_stats(
            column, axis=0, keepdims=column.ndim == 1, quantile_list=DEFAULT_QUANTILES
        )
        for name, column in values.items()
    }
    for camera, samples in pixels.items():
        found = get_feature_stats(
            samples, axis=(0, 2, 3), keepdims=True, quantile_list=DEFAULT_QUANTILES
        )
        statistics[f"observation.images.{camera}"] = {
            name: value if name == "count" else np.squeeze(value / 255.0, axis=0)  # (3, 1, 1)
            for name, value in found.items()
        }
    return statistics


def _explain(error: OSError, folder: Path, kept: int) -> DatasetError:
    hint = ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        hint = f"; {kept} episodes were done: free some space and start again"
    elif error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        hint = "; choose an output folder you may write to"
    return DatasetError(f"cannot write the dataset to {folder}: {error.strerror or error}{hint}")
