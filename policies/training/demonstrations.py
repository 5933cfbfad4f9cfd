"""A LeRobotDataset as `Examples`: every frame decoded once, at the model's size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.datasets.video_utils import decode_video_frames
from numpy.typing import NDArray

from policies.interface import ACTION_DIM
from policies.openvla.preprocess import resize
from policies.openvla.state import DATASET_STATE_NAMES, state_vector
from policies.training.examples import Examples

TARGET, GOAL = "observation.target_position", "observation.goal_position"
EXECUTED = "executed_action"  # what the arm was told, where that differs from the label


class DatasetError(ValueError):
    """A dataset that cannot be trained on; the message says what was expected and what it has."""


@dataclass(frozen=True)
class Demonstrations:
    """The frames of a dataset in order, and where its episodes begin."""

    examples: Examples
    episode_starts: NDArray[np.int64]  # (episodes,) row of each episode's first frame
    rate_hz: float


def open_dataset(folder: Path, camera: str) -> LeRobotDataset:
    """Open a LeRobotDataset folder and check that it has what training needs."""
    if not (folder / "meta" / "info.json").is_file():
        raise DatasetError(f"{folder}: expected a LeRobotDataset, found no meta/info.json")
    try:
        dataset = LeRobotDataset(f"local/{folder.name}", root=folder)
    except Exception as error:  # whatever LeRobot or its readers raise about a damaged folder
        raise DatasetError(f"{folder}: LeRobot cannot open it: {error}") from error
    features = dataset.meta.features
    image_key = f"observation.images.{camera}"
    if image_key not in features:
        cameras = [key for key in features if key.startswith("observation.images.")]
        raise DatasetError(f"{folder}: camera: expected {image_key!r}, it has {cameras}")
    names = tuple(features.get("observation.state", {}).get("names") or ())
    if names != DATASET_STATE_NAMES:
        raise DatasetError(
            f"{folder}: observation.state: expected {list(DATASET_STATE_NAMES)}, "
            f"it has {list(names)}"
        )
    shape = tuple(features.get("action", {}).get("shape", ()))
    if shape != (ACTION_DIM,):
        raise DatasetError(f"{folder}: action: expected shape ({ACTION_DIM},), it has {shape}")
    return dataset


def load_demonstrations(
    folder: Path,
    camera: str,
    image_size_px: int,
    on_progress: Callable[[int, int], None] | None = None,
    chunk_length: int = 1,
) -> Demonstrations:
    """Read a whole dataset into memory; `on_progress(done, episodes)` is called per episode.

    With a `chunk_length` above 1 every frame also knows the actions that follow its own.
    """
    dataset = open_dataset(folder, camera)
    rows = dataset.hf_dataset.with_format("numpy")
    action = np.stack(rows["action"]).astype(np.float32)
    state = np.stack(rows["observation.state"]).astype(np.float64)
    task_index = np.asarray(rows["task_index"]).astype(int)
    task_of_index = {int(row.task_index): str(name) for name, row in dataset.meta.tasks.iterrows()}
    if TARGET in dataset.meta.features and GOAL in dataset.meta.features:
        target, goal = np.stack(rows[TARGET]), np.stack(rows[GOAL])
        grounding = np.concatenate([target[:, :2], goal[:, :2]], axis=1).astype(np.float32)
    else:  # a robot's dataset: nobody knows where things were
        grounding = np.full((len(action), 4), np.nan, dtype=np.float32)
    images = np.empty((len(action), image_size_px, image_size_px, 3), dtype=np.uint8)
    starts = []
    for done, (start, frames) in enumerate(_episodes(dataset, camera), start=1):
        starts.append(start)
        for offset, frame in enumerate(frames):
            images[start + offset] = resize(frame, image_size_px)
        if on_progress is not None:
            on_progress(done, dataset.meta.total_episodes)
    later = None
    if chunk_length > 1:
        followed: NDArray[np.bool_] = np.ones(len(action), dtype=bool)
        if EXECUTED in dataset.meta.features:
            executed = np.stack(rows[EXECUTED])
            followed = np.asarray(np.all(np.abs(executed - action) < 1e-6, axis=1))
        later = later_actions(action, followed, np.array(starts), chunk_length)[:, None]
    examples = Examples(
        images=images,
        states=state_vector(state[:, :3], state[:, 3:7], state[:, 7]).astype(np.float32),
        instructions=[[task_of_index[index]] for index in task_index],
        grounding=grounding[:, None],
        actions=action[:, None],
        later_actions=later,
    )
    return Demonstrations(examples, np.array(starts), float(dataset.meta.fps))


def later_actions(
    actions: NDArray[np.float32],
    followed: NDArray[np.bool_],
    episode_starts: NDArray[np.int64],
    chunk_length: int,
) -> NDArray[np.float32]:
    """(n, chunk_length - 1, 7): the actions after each frame's own.

    nan from the end of the episode on, and from the first frame on whose action was not `followed`
    (n,): what comes then answers a disturbance that nobody could foresee.
    """
    count = len(actions)
    later = np.full((count, chunk_length - 1, actions.shape[1]), np.nan, dtype=np.float32)
    episode = np.searchsorted(episode_starts, np.arange(count), side="right")
    known: NDArray[np.bool_] = np.ones(count, dtype=bool)
    for ahead in range(1, min(chunk_length, count)):
        known = known[: count - ahead] & followed[ahead - 1 : count - 1]
        known &= episode[: count - ahead] == episode[ahead:]
        later[: count - ahead][known, ahead - 1] = actions[ahead:][known]
    return later


def _episodes(dataset: LeRobotDataset, camera: str) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(first row, (n, h, w, 3) uint8 RGB frames) of every episode."""
    key = f"observation.images.{camera}"
    meta = dataset.meta
    for index in range(meta.total_episodes):
        episode = meta.episodes[index]
        first, last = int(episode["dataset_from_index"]), int(episode["dataset_to_index"])
        if meta.features[key]["dtype"] != "video":
            frames = [np.asarray(dataset[row][key]) for row in range(first, last)]
            stacked = np.stack(frames).transpose(0, 2, 3, 1)
            yield first, (stacked * 255.0).round().astype(np.uint8)
            continue
        begin = float(episode[f"videos/{key}/from_timestamp"])
        timestamps = [begin + frame / meta.fps for frame in range(last - first)]
        path = dataset.root / meta.get_video_file_path(index, key)
        decoded = decode_video_frames(
            path, timestamps, 0.5 / meta.fps, backend="pyav", return_uint8=True
        )
        yield first, decoded.permute(0, 2, 3, 1).numpy()


def join(parts: list[Examples]) -> Examples:
    """Several sets as one; all must have one instruction per image."""
    return Examples(
        images=np.concatenate([part.images for part in parts]),
        states=np.concatenate([part.states for part in parts]),
        instructions=[row for part in parts for row in part.instructions],
        grounding=np.concatenate([part.grounding for part in parts]),
        actions=np.concatenate([part.actions for part in parts]),
        later_actions=(
            np.concatenate([part.later_actions for part in parts])
            if all(part.later_actions is not None for part in parts)
            else None
        ),
    )
