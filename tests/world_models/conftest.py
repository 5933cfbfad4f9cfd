"""A toy world that a tiny model learns in seconds: a bright bar that actions move sideways."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from world_models.config import TINY, WorldModelConfig
from world_models.model import ImaginationModel
from world_models.recordings import Recordings
from world_models.sampling import scales_of
from world_models.words import vocabulary

SIZE_PX = 16
INSTRUCTIONS = ("move the bar right", "push the bar to the right")


def bar_frame(position: float) -> np.ndarray:
    """(16, 16, 3): a bar of three columns at `position` in [0, 1]."""
    frame = np.full((SIZE_PX, SIZE_PX, 3), 30, dtype=np.uint8)
    column = round(position * (SIZE_PX - 3))
    frame[:, column : column + 3] = (220, 180, 60)
    return frame


def bar_recordings(episodes: int, seed: int, max_steps: int = 12) -> Recordings:
    """The bar starts on the left; being far right is success, running out of time is not."""
    rng = np.random.default_rng(seed)
    columns: dict[str, list] = {name: [] for name in ("images", "states", "actions", "success")}
    starts = [0]
    for _ in range(episodes):
        position = rng.uniform(0.0, 0.4)
        for _ in range(max_steps):
            step = rng.uniform(-0.05, 0.25)
            columns["images"].append(bar_frame(position))
            columns["states"].append(np.r_[position, np.zeros(13)])
            columns["actions"].append(np.r_[step, np.zeros(6)])
            position = float(np.clip(position + step, 0, 1))
            columns["success"].append(position > 0.95)
            if position > 0.95:
                break
        starts.append(len(columns["images"]))
    success = np.array(columns["success"], dtype=np.float32)
    states = np.array(columns["states"], dtype=np.float32)
    return Recordings(
        images=np.stack(columns["images"]),
        states=states,
        actions=np.array(columns["actions"], dtype=np.float32),
        success=success,
        rewards=success.copy(),
        targets=states[:, :3].copy(),
        goals=states[:, :3] * 0,
        instructions=tuple(INSTRUCTIONS[episode % 2] for episode in range(episodes)),
        starts=np.array(starts),
        rate_hz=10.0,
        robot="bar",
    )


@pytest.fixture(scope="session")
def recordings() -> Recordings:
    return bar_recordings(24, seed=0)


@pytest.fixture(scope="session")
def many_recordings() -> Recordings:
    """Enough to learn from what holds elsewhere too."""
    return bar_recordings(60, seed=0)


@pytest.fixture(scope="session")
def make_model(recordings):
    """`make_model(kind)`: a tiny model with random weights, conditions included."""

    def make(kind: str = "masked", **sizes) -> ImaginationModel:
        preset = TINY.with_kind(kind)
        torch.manual_seed(0)
        model = ImaginationModel(
            WorldModelConfig(
                preset.tokenizer,
                replace(preset.dynamics, **sizes),
                scales_of(recordings),
                vocabulary(INSTRUCTIONS),
                "front",
                10.0,
                "bar",
            )
        )
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():  # what starts at zero hides mistakes
            for value in model.parameters():
                value += 0.1 * torch.randn(value.shape, generator=generator)
        return model.eval()

    return make
