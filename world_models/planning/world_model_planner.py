"""The planner on a learned world model; it also tells what it expects, and how wrong that was."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from policies.interface import ACTION_DIM, ActionChunk, Observation, Policy
from policies.openvla.preprocess import resize
from world_models.model import ImaginationModel, Imagined
from world_models.planning.effort import Clock
from world_models.planning.learned import LearnedDynamics, LearnedObjective
from world_models.planning.planner import Planner
from world_models.planning.settings import PlannerSettings
from world_models.planning.solvers import drawn_out


@dataclass(frozen=True)
class Expectation:
    """What the last chunk should lead to, frame by frame."""

    stamps_ns: tuple[int, ...]
    tool_positions: NDArray[np.float64]  # (frames, 3) [m], base frame
    pictures: NDArray[np.uint8] | None  # (frames, s, s, 3) RGB; None: the model has no pictures


class WorldModelPlanner(Planner):
    """`policy`, guided by `world_model`."""

    def __init__(
        self,
        policy: Policy,
        world_model: ImaginationModel,
        settings: PlannerSettings | None = None,
        clock: Clock = time.perf_counter_ns,
    ) -> None:
        """Raises `PlannerError` for a horizon beyond the model's context, and for tokens in turn of
        a model without tokens.
        """
        if settings is None:
            frames = world_model.config.dynamics.context_frames
            settings = PlannerSettings(horizon_frames=frames, min_frames=max(1, frames // 2))
        self._model = world_model
        self._last: tuple[Observation, ActionChunk] | None = None
        self._expectation: Expectation | None = None
        dynamics = LearnedDynamics(world_model, settings.autoregressive)
        super().__init__(policy, dynamics, LearnedObjective(world_model), settings, clock)

    def reset(self, seed: int | None = None) -> None:
        super().reset(seed)
        self._last = self._expectation = None

    def predict_chunk(self, observation: Observation) -> ActionChunk:
        errors = self._errors(observation)
        chunk = super().predict_chunk(observation)
        self._last, self._expectation = (observation, chunk), None
        return replace(chunk, diagnostics={**chunk.diagnostics, **errors})

    def expectation(self) -> Expectation | None:
        """Of the last chunk, imagined when it is first asked for: no deadline waits for it.

        Where it was asked for, the next chunk's diagnostics have the error it made. None before the
        first chunk.
        """
        if self._last is None or self._expectation is not None:
            return self._expectation
        observation, chunk = self._last
        model, block = self._model, self._model.actions_per_frame
        frames = min(max(1, len(chunk.actions) // block), model.config.dynamics.context_frames)
        trail, row = self._imagined or (self._imagine(observation, chunk, frames), 0)
        stamps, tools, pictures = [], [], []
        for frame, latent in enumerate(trail[:frames], start=1):
            stamps.append(observation.stamp_ns + round(frame * block * chunk.dt_s * 1e9))
            tools.append(model.state(latent)[row, :3].astype(np.float64))
            if model.generative:
                pictures.append(model.decode(latent)[row])
        self._expectation = Expectation(
            tuple(stamps), np.stack(tools), np.stack(pictures) if pictures else None
        )
        return self._expectation

    def _imagine(
        self, observation: Observation, chunk: ActionChunk, frames: int
    ) -> tuple[Imagined, ...]:
        """Of a chunk that went out without having been looked at finely."""
        actions = drawn_out(np.asarray(chunk.actions), frames * self._model.actions_per_frame)
        latent = self._dynamics.begin(observation)
        trail = []
        for part in actions[None].reshape(frames, 1, -1, ACTION_DIM):
            latent = self._dynamics.next(latent, part, self._final_steps)
            trail.append(latent)
        return tuple(trail)

    def _errors(self, observation: Observation) -> dict[str, float]:
        """How far what is seen now is from what was expected for now; empty: nothing was."""
        expected = self._expectation
        if expected is None or self._last is None:
            return {}
        dt_s = self._last[1].dt_s
        gaps = np.abs(np.array(expected.stamps_ns) - observation.stamp_ns)
        frame = int(gaps.argmin())
        if gaps[frame] > 0.5e9 * self._model.actions_per_frame * dt_s:
            return {}
        tool = np.asarray(observation.ee_position) - expected.tool_positions[frame]
        errors = {"expected_tool_error_m": float(math.hypot(*tool))}
        if expected.pictures is not None:
            picture = expected.pictures[frame].astype(np.float64)
            seen = resize(observation.camera(self._model.config.camera), picture.shape[0])
            errors["expected_picture_error"] = float(np.abs(picture - seen).mean() / 255)
        return errors
