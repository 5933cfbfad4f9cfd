"""The world model that ships: it loads, fits the suite, and tells actions and outcomes apart."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from policies.openvla.errors import CheckpointError
from world_models.checkpoint import (
    CHECKPOINTS,
    DEFAULT_WORLD_MODEL,
    load_world_model,
    shipped_world_models,
    world_model_folder,
)


@pytest.fixture(scope="module")
def model():
    return load_world_model(DEFAULT_WORLD_MODEL)


def test_this_ships():
    assert shipped_world_models() == (DEFAULT_WORLD_MODEL,)
    folder = world_model_folder(DEFAULT_WORLD_MODEL)
    assert folder == CHECKPOINTS / DEFAULT_WORLD_MODEL
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 20 * 2**20
    card = (folder / "README.md").read_text()
    assert all(word in card for word in ("data", "steps", "success"))


def test_other_names_are_paths_and_wrong_ones_are_refused_with_the_choices(tmp_path):
    assert world_model_folder(tmp_path) == tmp_path
    with pytest.raises(CheckpointError, match=DEFAULT_WORLD_MODEL):
        load_world_model(tmp_path / "nowhere")


@pytest.mark.slow
def test_what_it_imagines_follows_the_actions(model):
    """Eight actions to the left and to the right: the tool goes there, in picture and state."""
    env = gymnasium.make("VlaRos/Imagined-v0", model=DEFAULT_WORLD_MODEL, env="sim:VlaRos/Lift-v0")
    ends = {}
    for side in (-0.03, 0.03):
        observation, _ = env.reset(seed=3)
        start = observation["ee_position"][1]
        for _ in range(8):
            observation, *_ = env.step(np.array([0, side, 0, 0, 0, 0, 1.0]))
        ends[side] = observation["ee_position"][1] - start
    env.close()
    assert ends[-0.03] < -0.05
    assert ends[0.03] > 0.05
