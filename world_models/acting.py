"""A policy acts in an imagined episode: it sees what the model decodes, and the model judges it.

Only the first observation is real. What comes of this is no measurement: `world_models.novelty`
says when it is not worth listening to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from policies.interface import ACTION_DIM, ActionChunk, InstructionError, Observation, Policy
from policies.openvla.preprocess import resize
from policies.proposals import check_plannable
from world_models.dynamics import Decoding
from world_models.model import ImaginationModel
from world_models.state import context_of, to_observation


class ImaginationError(ValueError):
    """A policy that cannot act in what this model imagines; the message says why."""


@dataclass(frozen=True)
class ActingConfig:
    """How an episode is imagined."""

    max_steps: int  # control steps, as the task has them
    action_range: tuple[NDArray[np.float64], NDArray[np.float64]]  # (7,) each, the robot's limits
    execute_steps: int | None = None  # of every chunk, then look again; None: all
    threshold: float = 0.5  # predicted success of a frame above which the task counts as done
    decoding: Decoding = Decoding()

    def __post_init__(self) -> None:
        if self.max_steps < 1:
            raise ValueError(f"max_steps: expected 1 or more, got {self.max_steps}")
        if self.execute_steps is not None and self.execute_steps < 1:
            raise ValueError(f"execute_steps: expected 1 or more, got {self.execute_steps}")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold: expected a number between 0 and 1, got {self.threshold}")


@dataclass(frozen=True)
class ImaginedEpisode:
    """How an imagined episode went."""

    success: bool  # in some frame predicted success was above the threshold, which ended it
    probability: float  # that the task was done in any frame
    likeliest: float  # predicted success of the frame in which it was highest
    steps: int  # control steps imagined
    doubts: tuple[float, ...]  # of every frame, see `Dynamics.doubt`; empty: the kind cannot say


def check_imaginable(model: ImaginationModel, policy: Policy) -> None:
    """Raise `ImaginationError` for a policy that looks at more than the model imagines."""
    if not model.generative:
        raise ImaginationError(
            "world model: expected one of kind masked or flow; one of kind latent imagines no "
            "pictures for a policy to look at"
        )
    camera = model.config.camera
    more = [name for name in policy.cameras if name != camera]
    if more:
        raise ImaginationError(
            f"policy {policy.name!r} looks at the camera {', '.join(more)}; this world model "
            f"imagines only {camera}"
        )


def act(
    model: ImaginationModel, policy: Policy, start: Observation, config: ActingConfig, seed: int
) -> ImaginedEpisode:
    """Let `policy` act in what `model` imagines from `start` on, until success or the time limit.

    A policy that refuses the instruction has failed, as in simulation. Raises `ImaginationError`,
    `ActionError` and `ObservationError` for what does not fit, and the `InstructionError` of
    `world_models.words` for words that the model never saw.
    """
    check_imaginable(model, policy)
    block, camera = model.actions_per_frame, model.config.camera
    size = start.camera(camera).shape[0]
    generator = torch.Generator().manual_seed(seed)
    policy.reset(seed)
    latent = model.encode(context_of([start], [], camera, model.config.tokenizer.image_size_px))
    observation, undone, likeliest, steps = start, 1.0, 0.0, 0
    doubts: list[float] = []
    while steps < config.max_steps and likeliest <= config.threshold:
        try:
            chunk = policy.predict_chunk(observation)
        except InstructionError:
            break
        _check_chunk(model, policy, chunk)
        actions = np.clip(
            whole_frames(chunk.actions, config.execute_steps, block), *config.action_range
        )
        for led in actions.reshape(-1, 1, block, ACTION_DIM):
            latent = model.next(latent, led, config.decoding, generator)
            success = float(model.success(latent)[0])
            undone *= 1.0 - success
            likeliest = max(likeliest, success)
            steps += block
            if latent.doubt is not None:
                doubts.append(float(latent.doubt[0]))
            if steps >= config.max_steps or likeliest > config.threshold:
                break
        observation = to_observation(
            model.state(latent)[0],
            {camera: resize(model.decode(latent)[0], size)},
            start.instruction,
            start.stamp_ns + round(1e9 * steps / model.config.rate_hz),
        )
    return ImaginedEpisode(
        likeliest > config.threshold, 1.0 - undone, likeliest, steps, tuple(doubts)
    )


def whole_frames(
    actions: NDArray[np.float64], execute_steps: int | None, block: int
) -> NDArray[np.float64]:
    """(m, 7), m a multiple of `block`: what of a chunk (k, 7) is done before the next look.

    A model imagines whole frames: what is executed is drawn out to the end of its last frame, with
    the chunk's further actions, and where it has none with its last action once more.
    """
    count = min(execute_steps or len(actions), len(actions))
    rows = np.minimum(np.arange(block * math.ceil(count / block)), len(actions) - 1)
    return np.asarray(actions, dtype=np.float64)[rows]


def _check_chunk(model: ImaginationModel, policy: Policy, chunk: ActionChunk) -> None:
    check_plannable(chunk)
    if not math.isclose(chunk.dt_s * model.config.rate_hz, 1.0, rel_tol=1e-6):
        raise ImaginationError(
            f"policy {policy.name!r}: expected actions at {model.config.rate_hz:g} Hz, as the "
            f"world model imagines, got {1.0 / chunk.dt_s:g} Hz"
        )
