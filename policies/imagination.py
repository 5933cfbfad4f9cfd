"""What a planner asks of a model of the world, learned or simulated.

`Dynamics` says what comes of actions, `Objective` how good that is; the two and the solver that
searches are separate. `world_models.planning` has the solvers and the learned back end,
`sim.oracle` the simulator as its own model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from policies.interface import Observation


@dataclass(frozen=True)
class Judgement:
    """How good n imagined situations are; every number is in [0, 1]."""

    success: NDArray[np.float64]  # (n,) probability that the last frame's actions did the task
    value: NDArray[np.float64]  # (n,) of going on from here, where the task is not done
    eventually: NDArray[np.float64]  # (n,) probability that it will be done, where it is not

    def __post_init__(self) -> None:
        for name in ("success", "value", "eventually"):
            values = getattr(self, name)
            if values.shape != self.success.shape or values.ndim != 1:
                raise ValueError(
                    f"{name}: expected shape {self.success.shape} of one dimension, "
                    f"got {values.shape}"
                )
            if not np.all((values >= 0) & (values <= 1)):
                raise ValueError(f"{name}: expected numbers from 0 to 1, got {values}")


class Dynamics[Situations](Protocol):
    """Imagines; a `Situations` is n of them, opaque, and never changed."""

    actions_per_frame: int  # control steps from one imagined frame to the next
    rate_hz: float  # of the actions
    max_frames: int | None  # that may be imagined ahead; None: any number
    max_decode_steps: int  # effort beyond this makes no difference
    cameras: tuple[str, ...]  # that `begin` looks at
    action_range: tuple[NDArray[np.float64], NDArray[np.float64]]  # (7,) each: lowest, highest

    def begin(self, observation: Observation) -> Situations:
        """The present situation. Raises `ObservationError` for what the model cannot use."""

    def branch(self, situations: Situations, count: int) -> Situations:
        """One situation `count` times."""

    def next(
        self, situations: Situations, actions: NDArray[np.float64], decode_steps: int
    ) -> Situations:
        """One frame on, under `actions` (n, actions_per_frame, 7), with this much effort."""


class Objective[Situations](Protocol):
    """Judges what was imagined."""

    discount: float  # per control step: success that comes sooner is better

    def judge(self, situations: Situations) -> Judgement:
        """Of n imagined situations, one frame behind those before them."""
