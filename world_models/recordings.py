"""Recorded episodes in memory: what was seen, what was executed, how it ended.

Read from LeRobotDatasets. A world model needs what the arm was told, not what an expert would have
done: column `executed_action` where there is one, else `action`. How an episode ended comes from,
in this order:

1. columns `next.success` (bool) and `next.reward` (float), true of the row whose action did it,
2. `success` of the episode's entry under `recorded` in `meta/collection.json`,
3. `meta/collection.json` without a policy: the expert's failed attempts were left out,

and is otherwise unknown: such episodes teach pictures and no outcomes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from policies.openvla.preprocess import resize
from policies.training.demonstrations import (
    EXECUTED,
    GOAL,
    TARGET,
    episode_frames,
    instruction_of,
    open_dataset,
)
from policies.training.features import DatasetError, to_state_vector
from world_models.state import full_state

JOINTS, SUCCESS, REWARD = "observation.joint_positions", "next.success", "next.reward"
COLLECTION = "meta/collection.json"


@dataclass(frozen=True)
class Recordings:
    """n frames of consecutive episodes; row i was seen before action i."""

    images: NDArray[np.uint8]  # (n, s, s, 3) RGB
    states: NDArray[np.float32]  # (n, 14), see `world_models.state`
    actions: NDArray[np.float32]  # (n, 7) executed, see `policies.interface`
    success: NDArray[np.float32]  # (n,) 1: action i finished the task; nan: nobody knows
    rewards: NDArray[np.float32]  # (n,) of action i; nan: nobody knows
    targets: NDArray[np.float32]  # (n, 3) [m] where the named item was; nan: nobody knows
    goals: NDArray[np.float32]  # (n, 3) [m] where it shall go; nan: nobody knows
    instructions: tuple[str, ...]  # one per episode
    starts: NDArray[np.int64]  # (episodes + 1,) first row of each episode, and n
    rate_hz: float
    robot: str

    @property
    def episodes(self) -> int:
        return len(self.instructions)

    def length(self, episode: int) -> int:
        """Frames of an episode."""
        return int(self.starts[episode + 1] - self.starts[episode])

    def episode_of_rows(self) -> NDArray[np.int64]:
        """(n,)."""
        return np.repeat(np.arange(self.episodes), np.diff(self.starts))

    def part(self, first: int, last: int) -> Recordings:
        """Episodes `first` to `last`, the latter not included."""
        rows = slice(int(self.starts[first]), int(self.starts[last]))
        return Recordings(
            images=self.images[rows],
            states=self.states[rows],
            actions=self.actions[rows],
            success=self.success[rows],
            rewards=self.rewards[rows],
            targets=self.targets[rows],
            goals=self.goals[rows],
            instructions=self.instructions[first:last],
            starts=self.starts[first : last + 1] - self.starts[first],
            rate_hz=self.rate_hz,
            robot=self.robot,
        )

    def spread(self, count: int) -> Recordings:
        """At most `count` of the episodes, evenly spread over all of them."""
        if count >= self.episodes:
            return self
        chosen = np.linspace(0, self.episodes - 1, count).round().astype(int)
        return join([self.part(int(episode), int(episode) + 1) for episode in chosen])

    def split(self, held_out_share: float) -> tuple[Recordings, Recordings]:
        """(training, held out): the last share of the episodes, at least one, is held out."""
        if self.episodes < 2:
            raise DatasetError(f"dataset: expected at least 2 episodes, got {self.episodes}")
        held_out = min(self.episodes - 1, max(1, round(self.episodes * held_out_share)))
        cut = self.episodes - held_out
        return self.part(0, cut), self.part(cut, self.episodes)


def join(parts: Sequence[Recordings]) -> Recordings:
    """Several as one. Raises `DatasetError` when they are of different robots or frame rates."""
    for name in ("rate_hz", "robot"):
        found = sorted({getattr(part, name) for part in parts})
        if len(found) != 1:
            raise DatasetError(f"datasets: expected one {name} in all of them, got {found}")
    offsets = np.cumsum([0, *(len(part.images) for part in parts)])
    starts = [part.starts[:-1] + offset for part, offset in zip(parts, offsets, strict=False)]
    arrays = [name for name in _ARRAYS if name != "starts"]
    return Recordings(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays},
        instructions=tuple(text for part in parts for text in part.instructions),
        starts=np.concatenate([*starts, offsets[-1:]]),
        rate_hz=parts[0].rate_hz,
        robot=parts[0].robot,
    )


def split_all(parts: Iterable[Recordings], held_out_share: float) -> tuple[Recordings, Recordings]:
    """(training, held out) over several datasets; the last episodes of each are held out."""
    pairs = [part.split(held_out_share) for part in parts]
    return join([training for training, _ in pairs]), join([held_out for _, held_out in pairs])


def read_recordings(
    folder: Path,
    camera: str,
    image_size_px: int,
    on_progress: Callable[[int, int], None] = lambda done, episodes: None,
) -> Recordings:
    """A LeRobotDataset's frames of one camera. Raises `DatasetError` naming what is missing.

    `on_progress(done, episodes)` is called per episode.
    """
    dataset, chosen = open_dataset(folder, camera)
    features = dataset.meta.features
    if JOINTS not in features or tuple(features[JOINTS]["shape"]) != (7,) or not chosen.state:
        raise DatasetError(
            f"{folder}: expected {JOINTS} with 7 numbers and the tool's pose, "
            f"it has {', '.join(sorted(features))}"
        )
    rows = dataset.hf_dataset.with_format("numpy")
    column = lambda name: np.stack(rows[name]).astype(np.float32)  # noqa: E731
    actions = column(EXECUTED if EXECUTED in features else chosen.action)
    states = full_state(to_state_vector(column(chosen.state)), column(JOINTS))
    for name, values in (("action", actions), ("state", states)):
        if not np.all(np.isfinite(values)):
            row = int(np.argwhere(~np.isfinite(values))[0, 0])
            raise DatasetError(f"{folder}: {name}: expected finite numbers, row {row} has others")
    count = len(actions)
    images = np.empty((count, image_size_px, image_size_px, 3), dtype=np.uint8)
    starts = []
    for done, (start, frames) in enumerate(episode_frames(dataset, chosen.image), start=1):
        starts.append(start)
        for offset, frame in enumerate(frames):
            images[start + offset] = resize(frame, image_size_px)
        on_progress(done, dataset.meta.total_episodes)
    bounds = np.array([*starts, count])
    success, rewards = _endings(folder, features, rows, bounds)
    tasks = {int(row.task_index): str(name) for name, row in dataset.meta.tasks.iterrows()}
    task_index = np.asarray(rows["task_index"]).astype(int)
    unknown = np.full((count, 3), np.nan, dtype=np.float32)
    return Recordings(
        images=images,
        states=states,
        actions=actions,
        success=success,
        rewards=rewards,
        targets=column(TARGET) if TARGET in features else unknown,
        goals=column(GOAL) if GOAL in features else unknown,
        instructions=tuple(instruction_of(tasks, task_index[start], folder) for start in starts),
        starts=bounds,
        rate_hz=float(dataset.meta.fps),
        robot=str(dataset.meta.robot_type or "unknown"),
    )


def _endings(
    folder: Path, features, rows, starts: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(n,) success and (n,) reward of every action; see the module's text."""
    success = np.zeros(starts[-1], dtype=np.float32)
    lasts = starts[1:] - 1
    if SUCCESS in features:
        success = np.asarray(rows[SUCCESS]).reshape(-1).astype(np.float32)
    else:
        success[lasts] = _collected(folder / COLLECTION, len(lasts))
    rewards = success.copy()
    if REWARD in features:
        rewards = np.asarray(rows[REWARD]).reshape(-1).astype(np.float32)
    return success, rewards


def _collected(path: Path, episodes: int) -> NDArray[np.float32]:
    """(episodes,) whether each succeeded, nan where `path` does not say."""
    unknown = np.full(episodes, np.nan, dtype=np.float32)
    try:
        about = json.loads(path.read_text())
        recorded = about["recorded"]
        if len(recorded) == episodes and all("success" in row for row in recorded):
            return np.array([float(row["success"]) for row in recorded], dtype=np.float32)
        if about.get("policy") is None:
            return np.ones(episodes, dtype=np.float32)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return unknown  # no file, or not ours
    return unknown


def read_kept(
    folder: Path,
    camera: str,
    image_size_px: int,
    keep: Path,
    on_progress: Callable[[int, int], None] = lambda done, episodes: None,
) -> Recordings:
    """`read_recordings`, kept in the folder `keep` for the next time: decoding takes minutes."""
    about = json.dumps([str(folder.resolve()), _fingerprint(folder), camera, image_size_px])
    path = keep / f"{hashlib.sha256(about.encode()).hexdigest()[:16]}.safetensors"
    kept = _kept_arrays(path)
    if kept is not None:
        arrays, metadata = kept
        return Recordings(
            **arrays,
            instructions=tuple(json.loads(metadata["instructions"])),
            rate_hz=float(metadata["rate_hz"]),
            robot=metadata["robot"],
        )
    found = read_recordings(folder, camera, image_size_px, on_progress)
    keep.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")  # of several processes the last one wins
    save_file(
        {name: getattr(found, name) for name in _ARRAYS},
        partial,
        metadata={
            "instructions": json.dumps(found.instructions),
            "rate_hz": repr(found.rate_hz),
            "robot": found.robot,
        },
    )
    os.replace(partial, path)
    return found


_ARRAYS = ("images", "states", "actions", "success", "rewards", "targets", "goals", "starts")


def _kept_arrays(path: Path) -> tuple[dict[str, NDArray], dict[str, str]] | None:
    """Arrays and the rest; None where nothing is kept, or what an older version kept."""
    if not path.is_file():
        return None
    with safe_open(path, "np") as file:
        if not set(_ARRAYS) <= set(file.keys()):
            return None
        return {name: file.get_tensor(name) for name in _ARRAYS}, file.metadata()


def _fingerprint(folder: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times [ns] of the files that say what a dataset holds."""
    files = sorted(path for part in ("meta", "data") for path in (folder / part).rglob("*.*"))
    return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
