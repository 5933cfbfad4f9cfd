"""A world model behind the planner's protocols."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policies.imagination import Judgement
from policies.interface import Observation
from world_models.dynamics import Decoding, DecodingMode
from world_models.model import ImaginationModel, Imagined
from world_models.planning.planner import PlannerError
from world_models.state import context_of

TRAINED_STDS = 2.0  # standard deviations about the mean of the actions in training
MOST_STEPS = 16  # of decoding that bring anything


class LearnedDynamics:
    """Imagines from the present frame alone: what was done before it is not known to a policy."""

    def __init__(self, model: ImaginationModel, autoregressive: bool = False) -> None:
        """Token by token if `autoregressive`: raises `PlannerError` for a kind without tokens."""
        if autoregressive and model.config.dynamics.kind != "masked":
            raise PlannerError(
                "autoregressive: expected a world model of kind 'masked', which has tokens, "
                f"got {model.config.dynamics.kind!r}"
            )
        self.model = model
        self._mode: DecodingMode = "autoregressive" if autoregressive else "parallel"
        self.actions_per_frame = model.actions_per_frame
        self.rate_hz = model.config.rate_hz
        # Beyond it every frame looked back on would be imagined, which was never trained.
        self.max_frames: int | None = model.config.dynamics.context_frames
        # Outcomes are read off the first pass: only pictures that follow each other need more.
        self.max_decode_steps = MOST_STEPS if model.generative else 1
        # Farther out nothing was trained, and a search finds what a model is wrong about.
        mean, reach = (
            np.array(getattr(model.config.scales, f"action_{name}")) for name in ("mean", "std")
        )
        low, high = mean - TRAINED_STDS * reach, mean + TRAINED_STDS * reach
        low[6], high[6] = max(0.0, low[6]), min(1.0, high[6])
        self.action_range = (low, high)
        self.cameras: tuple[str, ...] = (model.config.camera,)

    def begin(self, observation: Observation) -> Imagined:
        config = self.model.config
        size = config.tokenizer.image_size_px
        return self.model.encode(context_of([observation], [], config.camera, size))

    def branch(self, situations: Imagined, count: int) -> Imagined:
        return situations.repeat(count)

    def next(
        self, situations: Imagined, actions: NDArray[np.float64], decode_steps: int
    ) -> Imagined:
        return self.model.next(situations, actions, Decoding(decode_steps, self._mode))


class LearnedObjective:
    """What the model's heads say.

    The value is success discounted by the steps until then, so that value / g^steps is the
    probability that there will be success at all.
    """

    def __init__(self, model: ImaginationModel) -> None:
        self._model = model
        self.discount = model.config.discount

    def judge(self, situations: Imagined) -> Judgement:
        model = self._model
        value = model.value(situations).astype(np.float64)
        steps = model.steps_to_goal(situations).astype(np.float64)
        # A head may say thousands of steps: the power would be 0.
        likely = value / np.maximum(self.discount**steps, 1e-6)
        return Judgement(
            success=model.success(situations).astype(np.float64),
            value=value,
            eventually=np.clip(likely, 0.0, 1.0),
        )
