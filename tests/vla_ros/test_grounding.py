"""What MuJoCo makes of the actions that are imagined: references that belong together."""

import numpy as np
import pytest

from sim.pretraining import CLASS_NAMES
from vla_ros.grounding import EVENT_FRAMES, event_branches, motion_actions, reference
from world_models.checkpoint import load_world_model


@pytest.fixture(scope="module")
def model(tiny_world_model):
    return load_world_model(tiny_world_model())


def test_slow_motion_comes_back_and_stays_above():
    actions = motion_actions("slow", 2520, 10.0, 1.0)  # all three periods fit into 252 s
    path = np.cumsum(actions[:, :3], axis=0)
    np.testing.assert_allclose(path[-1], 0.0, atol=1e-9)
    assert path[:, 2].min() > -1e-9 and np.abs(actions[:, :3]).max() < 0.01
    assert (actions[:, 6] == 1.0).all()
    still = motion_actions("hold", 10, 10.0, 0.0)
    assert not still.any()


def test_a_reference_is_the_simulator_under_the_actions(model):
    found = reference(model, "hold", starts=2, seconds=1.2, every_s=0.4, seed=11)
    assert found.frames_ahead.tolist() == [0, 2, 4, 6]
    assert found.images.shape == (2, 4, 16, 16, 3) and found.actions.shape == (2, 6, 2, 7)
    np.testing.assert_array_equal(found.images[:, 0], found.context.images[:, 0])
    there = np.isfinite(found.positions).all(-1)
    assert there.any(-1).all() and found.positions.shape[2] == len(CLASS_NAMES)
    still = found.positions[:, 0], found.positions[:, -1]
    np.testing.assert_allclose(*still, atol=2e-3)  # nothing moves


def test_an_event_is_all_that_the_branches_differ_in(model):
    plain, pushed = event_branches(model, "push", starts=1, seed=3)
    np.testing.assert_array_equal(plain.actions, pushed.actions)
    assert plain.context.instructions == pushed.context.instructions
    assert plain.images.shape[1] == EVENT_FRAMES + 1
    named = np.isfinite(plain.positions).all(-1)
    assert named.sum() == EVENT_FRAMES + 1  # the target, at every instant
    moved = np.linalg.norm(plain.positions[named] - pushed.positions[named], axis=-1)
    assert moved[0] > 0.02
    plain, slippery = event_branches(model, "friction", starts=1, seed=3)
    np.testing.assert_array_equal(plain.images[:, 0], slippery.images[:, 0])  # it does not show
