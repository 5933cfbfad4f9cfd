"""A LeRobotDataset as `Examples`: every frame decoded once, at the model's size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.datasets.video_utils import decode_video_frames
from numpy.typing import NDArray

from policies.openvla.preprocess import resize
from policies.openvla.state import STATE_DIM
from policies.training.examples import Examples
from policies.training.features import (
    ACTION,
    DatasetError,
    FeatureMap,
    choose_features,
    to_state_vector,
)

TARGET, GOAL = "observation.target_position", "observation.goal_position"
EXECUTED = "executed_action"  # what the arm was told, where that differs from the label


@dataclass(frozen=True)
class Demonstrations:
    """The frames of a dataset in order, and where its episodes begin."""

    examples: Examples
    episode_starts: NDArray[np.int64]  # (episodes,) row of each episode's first frame
    rate_hz: float


def open_dataset(
    folder: Path,
    camera: str,
    with_state: bool = True,
    wanted: Mapping[str, str] | None = None,
) -> tuple[LeRobotDataset, FeatureMap]:
    """Open a LeRobotDataset folder and find in it what training needs.

    `camera` is the policy's; `with_state`: whether the policy looks at the robot's state; `wanted`:
    see `policies.training.features.parse_map`. Raises `DatasetError`.
    """
    if not (folder / "meta" / "info.json").is_file():
        raise DatasetError(f"{folder}: expected a LeRobotDataset, found no meta/info.json")
    try:
        # The videos are read here, with PyAV: torchcodec needs the system's FFmpeg.
        dataset = LeRobotDataset(f"local/{folder.name}", root=folder, video_backend="pyav")
    except Exception as error:  # whatever LeRobot or its readers raise about a damaged folder
        raise DatasetError(f"{folder}: LeRobot cannot open it: {error}") from error
    return dataset, choose_features(dataset.meta.features, camera, with_state, wanted, str(folder))


def load_demonstrations(
    folder: Path,
    camera: str,
    image_size_px: int,
    on_progress: Callable[[int, int], None] | None = None,
    chunk_length: int = 1,
    with_state: bool = True,
    wanted: Mapping[str, str] | None = None,
    gripper_range: tuple[float, float] = (0.0, 1.0),
) -> Demonstrations:
    """Read a whole dataset into memory; `on_progress(done, episodes)` is called per episode.

    With a `chunk_length` above 1 every frame also knows the actions that follow its own.
    `with_state` and `wanted`: see `open_dataset`; without a state all are zero. `gripper_range`:
    what the dataset's actions call closed and open.
    """
    dataset, chosen = open_dataset(folder, camera, with_state, wanted)
    rows = dataset.hf_dataset.with_format("numpy")
    action = np.stack(rows[chosen.action]).astype(np.float32)
    action[:, 6] = opening(action[:, 6], gripper_range, f"{folder}: {chosen.action}")
    states: NDArray[np.float64] = np.zeros((len(action), STATE_DIM))
    if chosen.state is not None:
        states = to_state_vector(np.stack(rows[chosen.state]))
    task_index = np.asarray(rows["task_index"]).astype(int)
    task_of_index = {int(row.task_index): str(name) for name, row in dataset.meta.tasks.iterrows()}
    if TARGET in dataset.meta.features and GOAL in dataset.meta.features:
        target, goal = np.stack(rows[TARGET]), np.stack(rows[GOAL])
        grounding = np.concatenate([target[:, :2], goal[:, :2]], axis=1).astype(np.float32)
    else:  # a robot's dataset: nobody knows where things were
        grounding = np.full((len(action), 4), np.nan, dtype=np.float32)
    images = np.empty((len(action), image_size_px, image_size_px, 3), dtype=np.uint8)
    starts = []
    for done, (start, frames) in enumerate(episode_frames(dataset, chosen.image), start=1):
        starts.append(start)
        for offset, frame in enumerate(frames):
            images[start + offset] = resize(frame, image_size_px)
        if on_progress is not None:
            on_progress(done, dataset.meta.total_episodes)
    later = None
    if chunk_length > 1:
        followed: NDArray[np.bool_] = np.ones(len(action), dtype=bool)
        if chosen.action == ACTION and EXECUTED in dataset.meta.features:
            executed = np.stack(rows[EXECUTED])
            followed = np.asarray(np.all(np.abs(executed - action) < 1e-6, axis=1))
        later = later_actions(action, followed, np.array(starts), chunk_length)[:, None]
    examples = Examples(
        images=images,
        states=states.astype(np.float32),
        instructions=[[instruction_of(task_of_index, index, folder)] for index in task_index],
        grounding=grounding[:, None],
        actions=action[:, None],
        later_actions=later,
    )
    return Demonstrations(examples, np.array(starts), float(dataset.meta.fps))


def opening(
    values: NDArray[np.float32], closed_open: tuple[float, float], source: str
) -> NDArray[np.float32]:
    """Gripper commands (n,) as the opening wanted: 0 = closed, 1 = open."""
    closed, opened = closed_open
    if not (np.isfinite(closed) and np.isfinite(opened) and closed != opened):
        raise DatasetError(f"gripper: expected two different numbers, got {closed}, {opened}")
    wanted = (values - closed) / (opened - closed)
    if wanted.min() < -0.05 or wanted.max() > 1.05:
        raise DatasetError(
            f"{source}: gripper: expected {closed:g} (closed) to {opened:g} (open), it goes from "
            f"{values.min():g} to {values.max():g}; say which is which with --gripper CLOSED,OPEN"
        )
    return np.clip(wanted, 0.0, 1.0).astype(np.float32)


def instruction_of(tasks: Mapping[int, str], index: int, folder: Path) -> str:
    """Raises `DatasetError` for a task without words."""
    text = tasks.get(int(index), "").strip()
    if not text:
        raise DatasetError(f"{folder}: task {index}: expected an instruction, it is empty")
    return text


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


def episode_frames(dataset: LeRobotDataset, key: str) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(first row, (n, h, w, 3) uint8 RGB frames) of every episode; `key`: the image feature."""
    meta = dataset.meta
    is_video = meta.features[key]["dtype"] == "video"
    pictures = None if is_video else dataset.hf_dataset.with_format(None).select_columns([key])
    for index in range(meta.total_episodes):
        episode = meta.episodes[index]
        first, last = int(episode["dataset_from_index"]), int(episode["dataset_to_index"])
        if pictures is not None:
            frames = [pictures[row][key].convert("RGB") for row in range(first, last)]
            yield first, np.stack([np.asarray(frame) for frame in frames])
            continue
        begin = float(episode[f"videos/{key}/from_timestamp"])
        timestamps = [begin + frame / meta.fps for frame in range(last - first)]
        path = dataset.root / meta.get_video_file_path(index, key)
        try:
            decoded = decode_video_frames(
                path, timestamps, 0.5 / meta.fps, backend="pyav", return_uint8=True
            )
        except (OSError, RuntimeError, ValueError) as error:  # of PyAV, in several kinds
            raise DatasetError(
                f"{path}: the video of episode {index} is damaged: {error}"
            ) from None
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
