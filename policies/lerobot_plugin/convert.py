"""From LeRobot's batches of tensors to what OpenVLA's training and inference take."""

from __future__ import annotations

from typing import Any

import numpy as np
from lerobot.utils.constants import ACTION, OBS_STATE
from numpy.typing import NDArray
from torch import Tensor

from policies.interface import ACTION_DIM, Observation
from policies.openvla.preprocess import resize
from policies.openvla.state import state_vector
from policies.training.demonstrations import GOAL, TARGET
from policies.training.examples import Examples

Batch = dict[str, Any]
PADDED = f"{ACTION}_is_pad"
AXES = ("x", "y", "z")
NO_STATE = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0)  # as `DATASET_STATE_NAMES`; nobody reads it


def to_images(images: Tensor) -> NDArray[np.uint8]:
    """(b, 3, h, w) in [0, 1] -> (b, h, w, 3) uint8: exactly what they were before LeRobot."""
    return (images.detach().float() * 255.0).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def to_states(batch: Batch, count: int, with_state: bool) -> NDArray[np.float64]:
    """(b, 8) as `DATASET_STATE_NAMES` says. A model without a state token needs none: whatever the
    dataset calls its state is not looked at.
    """
    if not with_state:
        return np.tile(NO_STATE, (count, 1))
    return batch[OBS_STATE].detach().double().cpu().numpy()


def to_observations(
    batch: Batch, camera: str, image_key: str, with_state: bool = True
) -> list[Observation]:
    """One observation per row of a batch, without joint positions, which OpenVLA does not read."""
    images = to_images(batch[image_key])
    states = to_states(batch, len(images), with_state)
    return [
        Observation(
            images={camera: image},
            joint_positions=np.zeros(0),
            gripper_opening=float(state[7]),
            ee_position=state[:3],
            ee_quaternion=state[3:7],
            instruction=text,
            stamp_ns=0,
        )
        for image, state, text in zip(images, states, batch["task"], strict=True)
    ]


def to_examples(
    batch: Batch,
    image_key: str,
    image_size_px: int,
    grounding_names: tuple[str, ...] = (),
    with_state: bool = True,
    unforeseen: NDArray[np.bool_] | None = None,
) -> Examples:
    """The rows of a training batch, one instruction each.

    Of several actions a frame (`action`: (b, k, 7)) those behind the episode's end are unknown:
    LeRobot repeats the last one there, and says so (`action_is_pad`: (b, k)). So are those that
    `unforeseen` (dataset's rows, k) names for the row's `index`.
    `grounding_names`: what the model names before the action (`target_x`, `goal_y`, ...); known
    where the dataset has the column, not supervised elsewhere.
    """
    images = [resize(image, image_size_px) for image in to_images(batch[image_key])]
    states = to_states(batch, len(images), with_state)
    actions = batch[ACTION].detach().float().cpu().numpy().reshape(len(images), -1, ACTION_DIM)
    later = None
    if actions.shape[1] > 1:
        unknown = batch[PADDED].detach().cpu().numpy().reshape(len(images), -1)
        if unforeseen is not None:
            unknown = unknown | unforeseen[batch["index"].detach().cpu().numpy().reshape(-1)]
        later = np.where(unknown[..., None], np.float32(np.nan), actions)[:, None, 1:]
    named = [_position(batch, name, len(images)) for name in grounding_names]
    grounding = np.stack(named, axis=1) if named else np.zeros((len(images), 0), np.float32)
    return Examples(
        images=np.stack(images),
        states=state_vector(states[:, :3], states[:, 3:7], states[:, 7]).astype(np.float32),
        instructions=[[text] for text in batch["task"]],
        grounding=grounding[:, None],
        actions=actions[:, :1],
        later_actions=later,
    )


def _position(batch: Batch, name: str, count: int) -> NDArray[np.float32]:
    """(b,) [m]: the coordinate called `target_x`, `goal_z` and so on, nan where nobody knows."""
    which, _, axis = name.partition("_")
    column = {"target": TARGET, "goal": GOAL}.get(which, "")
    if column not in batch or axis not in AXES:
        return np.full(count, np.nan, dtype=np.float32)
    return batch[column].detach().float().cpu().numpy()[:, AXES.index(axis)]
