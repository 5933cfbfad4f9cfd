"""Imagining recorded episodes again: from their first frame, with the executed actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from world_models.dynamics import Decoding
from world_models.interface import Context
from world_models.model import ImaginationModel, Imagined
from world_models.recordings import Recordings


@dataclass
class Rollout:
    """What was imagined for b episodes, horizon by horizon; the lists have one entry each."""

    frames: list[NDArray[np.uint8]] = field(default_factory=list)  # (b, s, s, 3); none: no pictures
    contents: list[torch.Tensor] = field(default_factory=list)  # (b, places, d)
    states: list[NDArray] = field(default_factory=list)  # (b, state_dim)
    reward: list[NDArray] = field(default_factory=list)  # (b,)
    success: list[NDArray] = field(default_factory=list)  # (b,) probabilities
    value: list[NDArray] = field(default_factory=list)  # (b,)
    steps: list[NDArray] = field(default_factory=list)  # (b,) to the goal


def first_context(recordings: Recordings, episodes: Sequence[int], actions: int) -> Context:
    """The first frame of these episodes; `actions`: per frame."""
    rows = recordings.starts[np.asarray(episodes)]
    return Context(
        images=recordings.images[rows][:, None],
        states=recordings.states[rows][:, None],
        actions=np.zeros((len(rows), 0, actions, recordings.actions.shape[1]), dtype=np.float32),
        instructions=tuple(recordings.instructions[episode] for episode in episodes),
    )


def action_blocks(
    recordings: Recordings, episodes: Sequence[int], horizon: int, per_frame: int
) -> NDArray[np.float32]:
    """(b, horizon, per_frame, 7) executed from the first frame on; behind the end the last one."""
    steps = np.arange(horizon * per_frame)
    chosen = np.asarray(episodes)
    rows = recordings.starts[chosen][:, None] + steps
    rows = np.minimum(rows, recordings.starts[chosen + 1][:, None] - 1)
    return recordings.actions[rows].reshape(len(chosen), horizon, per_frame, -1)


def roll_out(
    model: ImaginationModel,
    context: Context,
    actions: NDArray[np.float32],
    decoding: Decoding,
    seed: int,
    with_frames: bool = True,
) -> Rollout:
    """Imagine `actions` (b, horizon, per_frame, 7) from `context` on."""
    generator = torch.Generator().manual_seed(seed)
    latent: Imagined = model.encode(context)
    rollout = Rollout()
    for step in range(actions.shape[1]):
        latent = model.next(latent, actions[:, step], decoding, generator)
        if model.generative and with_frames:
            rollout.frames.append(model.decode(latent))
        rollout.contents.append(latent.contents.cpu())
        rollout.states.append(model.state(latent))
        rollout.reward.append(model.reward(latent))
        rollout.success.append(model.success(latent))
        rollout.value.append(model.value(latent))
        rollout.steps.append(model.steps_to_goal(latent))
    return rollout
