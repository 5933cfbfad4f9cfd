"""The planner on tiny world models, of every kind and trained, as on the one that will ship."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.interface import ActionChunk, Observation
from policies.training.loop import LoopConfig
from world_models.config import TINY
from world_models.dynamics import Decoding
from world_models.planning.learned import LearnedDynamics, LearnedObjective
from world_models.planning.planner import PlannerError
from world_models.planning.settings import PlannerSettings
from world_models.planning.world_model_planner import WorldModelPlanner
from world_models.training import TrainConfig, train_world_model


def observe(position=0.3, stamp_ns=0, instruction="move the bar right", size=40) -> Observation:
    """The bar's world (`tests/world_models/conftest.py`), larger than the model takes it."""
    frame = np.full((16, 16, 3), 30, dtype=np.uint8)
    column = round(position * 13)
    frame[:, column : column + 3] = (220, 180, 60)
    return Observation(
        images={"front": frame.repeat(size // 16 + 1, 0).repeat(size // 16 + 1, 1)},
        joint_positions=np.zeros(7),
        gripper_opening=0.0,
        ee_position=np.array([position, 0.0, 0.0]),
        ee_quaternion=np.array([0.0, 1.0, 0.0, 0.0]),
        instruction=instruction,
        stamp_ns=stamp_ns,
    )


class Left:
    """Moves the bar the wrong way."""

    name, cameras = "left", ("front",)

    def __init__(self, actions=4, step=-0.05):
        self.actions = np.tile(np.r_[step, np.zeros(6)], (actions, 1))

    def reset(self, seed=None):
        pass

    def predict_chunk(self, observation):
        return ActionChunk(self.actions, observation.stamp_ns, 0.1)


SMALL = {"horizon_frames": 3, "min_frames": 1, "candidates": 8, "elites": 2, "iterations": 2}


@pytest.mark.parametrize("kind", ["masked", "flow", "latent"])
@pytest.mark.parametrize("mode", ["best-of-n", "gate", "icem"])
def test_every_kind_plans_in_every_mode(make_model, kind, mode):
    planner = WorldModelPlanner(Left(), make_model(kind), PlannerSettings(mode=mode, **SMALL))
    planner.reset(seed=0)
    first = planner.predict_chunk(observe())
    planner.reset(seed=0)
    again = planner.predict_chunk(observe())
    np.testing.assert_array_equal(first.actions, again.actions)
    assert np.isfinite(first.actions).all()
    assert first.diagnostics["imagined"] >= 1
    assert 0 <= first.diagnostics["failure"] <= 1


def test_scores_are_those_of_the_models_own_verbs(make_model):
    model = make_model("masked")
    dynamics, objective = LearnedDynamics(model), LearnedObjective(model)
    assert dynamics.max_frames == model.config.dynamics.context_frames
    actions = np.random.default_rng(0).normal(0, 0.1, size=(3, 2, 7))
    imagined = dynamics.next(dynamics.branch(dynamics.begin(observe()), 3), actions, 2)
    judged = objective.judge(imagined)
    np.testing.assert_allclose(judged.success, model.success(imagined))
    np.testing.assert_allclose(judged.value, model.value(imagined))
    expected = model.value(imagined) / 0.95 ** model.steps_to_goal(imagined)
    np.testing.assert_allclose(judged.eventually, np.clip(expected, 0, 1), rtol=1e-4)


def test_token_by_token_is_the_models_own_way_to_decode(make_model):
    model = make_model("masked")
    actions = np.random.default_rng(0).normal(0, 0.1, size=(1, 2, 7))
    begun = LearnedDynamics(model).begin(observe())
    found = LearnedDynamics(model, autoregressive=True).next(begun, actions, 1)
    expected = model.next(begun, actions, Decoding(1, "autoregressive"))
    at_once = model.next(begun, actions, Decoding(1))
    assert torch.equal(found.contents, expected.contents)
    assert not torch.equal(found.contents, at_once.contents)
    settings = PlannerSettings(autoregressive=True, **SMALL)
    planner = WorldModelPlanner(Left(), model, settings)
    assert np.isfinite(planner.predict_chunk(observe()).actions).all()


@pytest.mark.parametrize("kind", ["flow", "latent"])
def test_what_has_no_tokens_is_not_decoded_token_by_token(make_model, kind):
    settings = PlannerSettings(autoregressive=True, **SMALL)
    with pytest.raises(PlannerError, match=f"expected a world model of kind 'masked'.*'{kind}'"):
        WorldModelPlanner(Left(), make_model(kind), settings)


def test_the_default_settings_fit_the_model(make_model):
    planner = WorldModelPlanner(Left(), make_model("masked"))
    assert planner.settings.horizon_frames == 3


def test_a_horizon_beyond_the_context_is_refused(make_model):
    settings = PlannerSettings(horizon_frames=4)
    with pytest.raises(PlannerError, match=r"expected at most 6 actions \(3 frames"):
        WorldModelPlanner(Left(), make_model("masked"), settings)


def test_words_the_model_never_heard_are_refused(make_model):
    planner = WorldModelPlanner(Left(), make_model("masked"), PlannerSettings(**SMALL))
    with pytest.raises(ValueError, match="unknown to this world model: juggle"):
        planner.predict_chunk(observe(instruction="juggle the bar"))


def test_it_tells_what_it_expects_and_then_how_wrong_that_was(make_model):
    model = make_model("masked")
    planner = WorldModelPlanner(Left(), model, PlannerSettings(**SMALL))
    planner.reset(seed=0)
    assert planner.expectation() is None
    planner.predict_chunk(observe())
    expected = planner.expectation()
    assert expected.stamps_ns == (200_000_000, 400_000_000)
    assert expected.pictures.shape == (2, 16, 16, 3)
    tool = expected.tool_positions[0]
    seen = replace(observe(stamp_ns=210_000_000), ee_position=tool + np.array([0.03, 0.0, 0.04]))
    chunk = planner.predict_chunk(seen)
    assert chunk.diagnostics["expected_tool_error_m"] == pytest.approx(0.05, abs=1e-6)
    assert 0 < chunk.diagnostics["expected_picture_error"] < 1
    late = planner.predict_chunk(observe(stamp_ns=900_000_000))
    assert "expected_tool_error_m" not in late.diagnostics  # nobody asked what to expect


def test_a_model_without_pictures_expects_a_tool_position_only(make_model):
    planner = WorldModelPlanner(Left(), make_model("latent"), PlannerSettings(**SMALL))
    planner.predict_chunk(observe())
    expected = planner.expectation()
    assert expected.pictures is None
    assert expected.tool_positions.shape == (2, 3)


class BarWorld:
    """The world that the recordings are of: the bar is where actions moved it."""

    def __init__(self, position):
        self.position, self.steps = position, 0

    def act(self, actions):
        for action in actions:
            if self.done or self.steps == 20:
                break
            self.position = float(np.clip(self.position + np.clip(action[0], -0.05, 0.25), 0, 1))
            self.steps += 1

    @property
    def done(self):
        return self.position > 0.95


@pytest.mark.slow
def test_a_trained_model_takes_a_policy_that_goes_the_wrong_way_to_the_goal(
    many_recordings, tmp_path
):
    """Success and pictures are learned from recordings alone; nothing here tells where to go."""
    training, held_out = many_recordings.split(0.15)
    loop = LoopConfig(
        steps=600, batch_size=16, learning_rate=2e-3, warmup_steps=5, report_every_steps=50,
        precision="fp32", save_every_steps=600,
    )  # fmt: skip
    sizes = TrainConfig(TINY, tokenizer_share=0.4, tokenizer_learning_rate=3e-3)
    device = torch.device("cpu")
    model = train_world_model(
        training, held_out, "front", tmp_path, loop, device, lambda *_: None, sizes
    )
    wide = (0.1, *[0.0] * 6)
    settings = PlannerSettings(mode="icem", horizon_frames=3, noise=wide)
    policy = Left(actions=2)
    planner = WorldModelPlanner(policy, model, settings)
    reached = {"alone": 0, "planned": 0}
    for seed, start in enumerate((0.05, 0.2, 0.3, 0.35) * 2):
        for name, who in (("alone", policy), ("planned", planner)):
            world = BarWorld(start)
            who.reset(seed)
            for decision in range(10):
                stamp_ns = decision * 200_000_000
                world.act(who.predict_chunk(observe(world.position, stamp_ns)).actions)
            reached[name] += world.done
    assert reached["alone"] == 0
    assert reached["planned"] >= 7  # over 8 trainings 127 of 128; the rounding of threads decides
