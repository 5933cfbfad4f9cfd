"""The verbs of a world model; planning with them reads like the papers (TD-MPC2, 2310.16828).

`encode` what was seen, imagine what comes `next`, `decode` it to a picture, and ask for `reward`,
`success`, `steps_to_goal` and `value`. What is between the verbs, a `Latent`, is opaque.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policies.interface import ACTION_DIM, ACTION_NAMES, ActionError, ObservationError
from world_models.dynamics import Decoding


class NotGenerativeError(TypeError):
    """A picture is asked of a model that has none."""


class NothingImaginedError(ValueError):
    """An outcome is asked of a latent that was encoded: outcomes are of imagined steps."""


@runtime_checkable
class Latent(Protocol):
    """b situations, seen or imagined. Never changed: any number of futures can branch off it."""

    def __len__(self) -> int:
        """How many situations."""

    def repeat(self, times: int) -> Latent:
        """Each situation `times` times, one behind the other."""


@dataclass(frozen=True)
class Context:
    """What was seen and done up to now: b situations of t frames each. Validated when built."""

    images: NDArray[np.uint8]  # (b, t, s, s, 3) RGB at the model's size
    states: NDArray[np.floating]  # (b, t, state_dim), see `world_models.state`
    actions: NDArray[np.floating]  # (b, t - 1, k, 7) that led from each frame to the next
    instructions: Sequence[str]  # b

    def __post_init__(self) -> None:
        images = self.images
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 5:
            raise ObservationError(
                "images: expected uint8 of shape (b, t, s, s, 3), got "
                f"{getattr(images, 'dtype', type(images).__name__)} {getattr(images, 'shape', '')}"
            )
        rows, frames = images.shape[:2]
        if not rows or not frames:
            raise ObservationError(f"images: expected at least one frame, got shape {images.shape}")
        if self.states.ndim != 3 or self.states.shape[:2] != (rows, frames):
            raise ObservationError(
                f"states: expected shape ({rows}, {frames}, state_dim), got {self.states.shape}"
            )
        if not np.all(np.isfinite(self.states)):
            raise ObservationError("states: expected finite numbers")
        if self.actions.ndim != 4 or self.actions.shape[:2] != (rows, frames - 1):
            raise ActionError(
                f"actions: expected shape ({rows}, {frames - 1}, k, {ACTION_DIM}), "
                f"got {self.actions.shape}"
            )
        if len(self.instructions) != rows:
            raise ObservationError(
                f"instructions: expected {rows}, one per situation, got {len(self.instructions)}"
            )


def check_actions(actions: Tensor, rows: int, per_frame: int) -> None:
    """Raise `ActionError` unless they are (rows, per_frame, 7) finite numbers."""
    if tuple(actions.shape) != (rows, per_frame, ACTION_DIM):
        raise ActionError(
            f"actions: expected shape ({rows}, {per_frame}, {ACTION_DIM}), "
            f"got {tuple(actions.shape)}"
        )
    if not bool(torch.isfinite(actions).all()):
        row, step, column = (int(i) for i in (~torch.isfinite(actions)).nonzero()[0])
        raise ActionError(
            f"actions: expected finite numbers, got {float(actions[row, step, column])} for "
            f"{ACTION_NAMES[column]!r} in row {row}, step {step}"
        )


@runtime_checkable
class WorldModel(Protocol):
    """Imagines what actions lead to. All results are on the CPU unless they are latents."""

    actions_per_frame: int
    generative: bool  # whether `decode` works

    def encode(self, context: Context) -> Latent:
        """What was seen, as latents. Raises `ObservationError` for what does not fit the model."""

    def next(
        self,
        latent: Latent,
        actions: Tensor | NDArray[np.floating],
        decoding: Decoding | None = None,
        generator: torch.Generator | None = None,
    ) -> Latent:
        """One frame on: `actions` (b, actions_per_frame, 7), as in `policies.interface`.

        Raises `ActionError` for actions that are not finite or of another shape.
        """

    def decode(self, latent: Latent) -> NDArray[np.uint8]:
        """(b, s, s, 3) uint8 RGB. Raises `NotGenerativeError` where there are no pictures."""

    def reward(self, latent: Latent) -> NDArray[np.float32]:
        """(b,) summed over the last frame's actions."""

    def success(self, latent: Latent) -> NDArray[np.float32]:
        """(b,) probability that the last frame's actions finished the task."""

    def steps_to_goal(self, latent: Latent) -> NDArray[np.float32]:
        """(b,) control steps until the task is done, if it ever is."""

    def value(self, latent: Latent) -> NDArray[np.float32]:
        """(b,) discounted success from here on, in [0, 1]."""

    def state(self, latent: Latent) -> NDArray[np.float32]:
        """(b, state_dim) the robot's state, seen or imagined."""
