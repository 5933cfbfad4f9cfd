"""Demonstrations of the scripted experts as a `LeRobotDataset` (v3, video).

Worker processes simulate, render and encode; this process joins their episodes in the order of the
seeds, so that the same seed gives the same dataset whatever the number of workers.
"""

from __future__ import annotations

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
from sim.episode_files import DatasetError, EpisodeFiles, explain
from sim.episode_tables import (
    OUTCOME,
    EpisodeData,
    image,
    outcome_columns,
    sample_pixels,
    vector,
)
from sim.parallel import interrupts_deferred, ordered_map
from sim.policies import load_named
from sim.randomization import NOMINAL
from sim.rendering import RenderingError
from sim.rollout import EXPERT_SHARE, Demonstration, Perturbation, demonstrate
from sim.scene import CAMERAS
from sim.scenes import descriptions
from sim.variants import STANDARD, find_variant

RATE_HZ = int(CONTROL_RATE_HZ)
FILE_SIZE_LIMIT_BYTES = 32 * 2**20  # of one video file; it is put together in memory
MAX_FAILED_SHARE = 0.5  # of the attempts; above it collection gives up
INCOMPLETE_SUFFIX = ".incomplete"
COLLECTION_FILE = "meta/collection.json"
RANDOMIZATION_FILE = "meta/randomization.jsonl"  # what each episode drew, where anything was drawn


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
    expert_share: float = EXPERT_SHARE  # of the policy's roll-outs is acted by the expert
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
        if not 0.0 <= self.expert_share <= 1.0:
            raise ValueError(f"expert_share: expected 0 to 1, got {self.expert_share}")
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
    expert_share: float = EXPERT_SHARE
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

    return {
        **{
            f"observation.images.{camera}": image(image_size_px, image_size_px)
            for camera in cameras
        },
        "observation.state": vector(DATASET_STATE_NAMES),
        "observation.joint_positions": vector(robot.JOINT_NAMES),
        "observation.target_position": vector(("x", "y", "z")),
        "observation.goal_position": vector(("x", "y", "z")),
        "action": vector(ACTION_NAMES),
        "executed_action": vector(ACTION_NAMES),
        **OUTCOME,
    }


def collect(
    collection: Collection, on_progress: Callable[[Progress], None] = lambda progress: None
) -> Progress:
    """Write the dataset to `collection.output`, which must not exist or be empty.

    Until the end everything lies in a sibling folder named `*.incomplete`, which only a kill leaves
    behind, with what was written until then (every 32 MB). Ctrl-C keeps the finished episodes: the
    dataset is completed with them, and `KeyboardInterrupt` is raised. A full disk keeps those that
    fit, and `DatasetError` is raised; as it is for a folder that cannot be written to, or an expert
    that fails more often than not: nothing is left then.
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
        raise explain(error, writer.rescue(), writer.written) from error
    finally:
        recordings.close()  # type: ignore[attr-defined]  # ends the workers
        writer.discard()
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
            expert_share=collection.expert_share,
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

    torch.set_num_threads(1)  # the workers share the cores
    return load_named(policy)


def _record(job: _Job) -> _Recording:
    """Simulate, render and encode one attempt; runs in a worker."""
    env = _environment(job.env_id, job.cameras, job.image_size_px, job.variant, job.randomization)
    learner = _learner(job.policy) if job.policy else None
    demonstration = demonstrate(
        env, job.seed, job.perturbation, learner=learner, expert_share=job.expert_share
    )
    videos, pixels = {}, {}
    if demonstration.success or learner is not None:
        for camera, images in demonstration.images.items():
            videos[camera] = video.encode(images, RATE_HZ, dict(job.encoder_options))
            pixels[camera] = sample_pixels(images)
    demonstration.images = {}
    return _Recording(job, demonstration, videos, pixels)


class DatasetWriter:
    """Writes recordings one after another as a `LeRobotDataset`, without encoding them again.

    LeRobot's own writer copies a video file for every episode it appends and computes statistics
    over every pixel, several times the cost of simulating. What it reads is the same.
    """

    def __init__(self, collection: Collection) -> None:
        output = Path(collection.output).absolute()
        self.output = output
        self.folder = output.with_name(output.name + INCOMPLETE_SUFFIX)
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise DatasetError(f"output {output} already exists; choose another or remove it")
        if self.folder.exists():
            raise DatasetError(
                f"{self.folder} is left from an interrupted collection (or one is running); "
                "remove it to start again, or rename it to keep the episodes it holds, if any"
            )
        self._collection = collection
        try:
            self._files = EpisodeFiles(
                self.folder,
                RATE_HZ,
                features(collection.cameras, collection.image_size_px),
                "fr3",
            )
        except OSError as error:
            raise explain(error, self.folder, 0) from error
        self.options = self._files.encoder_options
        self._waiting: list[_Recording] = []  # finished, not yet written
        self._rows: list[dict[str, Any]] = []  # of what is written
        self._keep = False

    def add(self, recording: _Recording) -> None:
        """Append one episode; every 32 MB are written. Raises `OSError` when the disk is full."""
        self._waiting.append(recording)
        for camera in self._collection.cameras:
            size_bytes = sum(len(each.videos[camera]) for each in self._waiting)
            if size_bytes > FILE_SIZE_LIMIT_BYTES:
                self._write()
                break

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._write_what_fits(waiting)

    def _write_what_fits(self, recordings: list[_Recording]) -> None:
        """All at once; when the disk is full, as many as it takes. Raises `OSError` then too."""
        first = self._files.episodes
        try:
            if recordings:
                self._files.append([_to_episode(recording) for recording in recordings])
        except OSError:
            if len(recordings) == 1:
                raise
            half = len(recordings) // 2
            self._write_what_fits(recordings[:half])
            self._write_what_fits(recordings[half:])
            return
        for number, recording in enumerate(recordings, start=first):
            row = {
                "episode_index": number,
                "env": recording.job.env_id,
                "seed": recording.job.seed,
                "steps": recording.demonstration.steps,
                "success": recording.demonstration.success,
            }
            self._rows.append(row)
            if recording.demonstration.randomization:
                drawn = {"randomization": recording.demonstration.randomization}
                with (self.folder / RANDOMIZATION_FILE).open("a") as file:
                    file.write(json.dumps(row | drawn) + "\n")

    @property
    def written(self) -> int:
        """Episodes on the disk."""
        return len(self._rows)

    def finish(self) -> None:
        """Write what is still in memory and give the folder its final name."""
        self._write()
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
        self._files.close()
        if self.output.exists():
            self.output.rmdir()  # empty, as checked at the start
        os.replace(self.folder, self.output)

    def rescue(self) -> Path:
        """After a full disk: finish with what is written. Where that is."""
        self._waiting = []
        if not self.written:
            return self.output
        try:
            self.finish()
        except OSError:  # no room for its name: all of it can be opened where it is
            self._keep = True
            return self.folder
        return self.output

    def discard(self) -> None:
        """Remove what has been written, unless it is finished."""
        self._files.close()
        if not self._keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def _to_episode(recording: _Recording) -> EpisodeData:
    demonstration = recording.demonstration
    names = {camera: f"observation.images.{camera}" for camera in recording.videos}
    return EpisodeData(
        task=demonstration.instruction,
        columns={
            "observation.state": demonstration.state,
            "observation.joint_positions": demonstration.joint_positions,
            "observation.target_position": demonstration.target_position,
            "observation.goal_position": demonstration.goal_position,
            "action": demonstration.action,
            "executed_action": demonstration.executed_action,
            **outcome_columns(demonstration.success, demonstration.steps),
        },
        videos={names[camera]: encoded for camera, encoded in recording.videos.items()},
        pixels={names[camera]: samples for camera, samples in recording.pixels.items()},
    )
