"""`VlaRos/Imagined-v0`: Gymnasium's contract, blocks of actions, seeds, edits, refusals."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import world_models
from policies.interface import Observation, ObservationError
from policies.openvla.state import observation_state
from policies.spaces import observation_of
from world_models.checkpoint import save_world_model
from world_models.dynamics import Decoding
from world_models.env import ImaginedEnv, find_starts
from world_models.interface import NotGenerativeError
from world_models.state import context_of, full_state, to_observation
from world_models.words import InstructionError


class NoiseStarts:
    """Another picture for every draw."""

    def draw(self, rng):
        picture = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        state = np.r_[rng.uniform(-0.5, 0.5, 6), 0.5, rng.uniform(-1, 1, 7)]
        return to_observation(state, {"front": picture}, "move the bar right")

    def close(self):
        pass


@pytest.fixture
def env(make_model):
    return ImaginedEnv(make_model(), NoiseStarts(), Decoding(2), render_mode="rgb_array")


@pytest.mark.filterwarnings("ignore:.*")
def test_gymnasium_accepts_it(env):
    check_env(env)


def test_it_is_registered(make_model, tmp_path):
    """A start from any environment whose observations are ours: here from one that imagines."""
    save_world_model(tmp_path, make_model())
    gymnasium.register("Test/Noise-v0", lambda: ImaginedEnv(make_model(), NoiseStarts()))
    try:
        env = gymnasium.make(world_models.IMAGINED_ENV_ID, model=tmp_path, env="Test/Noise-v0")
        values, info = env.reset(seed=3)
        assert values["front"].shape == (16, 16, 3) and info["imagined_frames"] == 0
    finally:
        del gymnasium.registry["Test/Noise-v0"]


def episode(env, seed, steps=6):
    values, _ = env.reset(seed=seed)
    rng = np.random.default_rng(0)
    seen = [values["front"]]
    for _ in range(steps):
        values, *_ = env.step(rng.normal(0, 0.1, 7))
        seen.append(values["front"])
    return np.stack(seen), values


def test_same_seed_same_imagination(env):
    first, values = episode(env, 5)
    again, same = episode(env, 5)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(values["ee_position"], same["ee_position"])
    assert (episode(env, 6)[0] != first).any()


def test_a_block_is_gathered_before_a_frame_is_imagined(env):
    before, _ = env.reset(seed=0)
    values, reward, terminated, _, info = env.step(np.full(7, 0.05))
    assert not info["imagined"] and info["imagined_frames"] == 0
    assert reward == 0 and not terminated
    np.testing.assert_array_equal(values["front"], before["front"])
    values, reward, _, _, info = env.step(np.zeros(7))
    assert info["imagined"] and info["imagined_frames"] == 1
    latent = env.model.next(
        env.model.encode(context(env, seed=0)),
        np.clip([[[0.05] * 7, [0.0] * 7]], env.action_space.low, env.action_space.high),
        env.decoding,
    )
    np.testing.assert_array_equal(values["front"], env.model.decode(latent)[0])
    assert reward == pytest.approx(float(env.model.reward(latent)[0]), abs=1e-5)
    np.testing.assert_allclose(values["ee_position"], env.model.state(latent)[0, :3], atol=1e-6)


def context(env, seed):
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    env.reset(seed=seed)
    return context_of([NoiseStarts().draw(rng)], [], "front", 16)


def test_likely_success_ends_the_episode(env):
    with torch.no_grad():
        env.model.dynamics.outcome.layers[-1].bias[1] = 50.0
    env.reset(seed=0)
    assert not env.step(np.zeros(7))[2]
    _, _, terminated, truncated, info = env.step(np.zeros(7))
    assert terminated and not truncated and info["success"]
    assert info["success_probability"] > 0.99


def test_an_edit_is_what_imagining_goes_on_from(env):
    env.reset(seed=0)
    for _ in range(5):  # two frames, and the first action of a third
        before = env.step(np.full(7, 0.04))[0]
    values, info = env.edit(lambda picture: picture // 2)
    np.testing.assert_array_equal(values["front"], before["front"] // 2)
    np.testing.assert_allclose(values["ee_position"], before["ee_position"], atol=1e-5)
    assert info["imagined_frames"] == 2 and not info["imagined"]
    seen = observation_of(values, ["front"])
    latent = env.model.encode(context_of([seen], [], "front", 16))
    block = np.array([[[0.04] * 7, [0.0] * 7]])
    block = np.clip(block, env.action_space.low, env.action_space.high)
    latent = env.model.next(latent, block, env.decoding)
    after, *_ = env.step(np.zeros(7))
    np.testing.assert_array_equal(after["front"], env.model.decode(latent)[0])


def test_what_an_edit_must_give(env):
    env.reset(seed=0)
    with pytest.raises(ObservationError, match="uint8"):
        env.edit(lambda picture: picture / 255.0)


@pytest.mark.parametrize("action", [np.zeros(6), np.full(7, np.nan), np.zeros((2, 7))])
def test_actions_that_make_no_sense_are_refused(env, action):
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action: expected"):
        env.step(action)


def test_what_cannot_be_is_refused(env, make_model):
    with pytest.raises(NotGenerativeError, match="imagines no pictures"):
        ImaginedEnv(make_model("latent"), NoiseStarts())
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(np.zeros(7))
    with pytest.raises(ValueError, match=r"options: expected observation, episode"):
        env.reset(options={"target": "bar"})
    with pytest.raises(ValueError, match="for starts from a dataset"):
        env.reset(options={"episode": 3})
    with pytest.raises(InstructionError, match="unknown to this world model: cup"):
        env.reset(options={"instruction": "move the cup"})
    for dataset, other in ((None, None), ("folder", "sim:VlaRos/Lift-v0")):
        with pytest.raises(ValueError, match="either a dataset or an env"):
            find_starts(env.model.config, dataset, other)
    with pytest.raises(ObservationError, match="env: expected an environment that Gymnasium knows"):
        find_starts(env.model.config, None, "VlaRos/Nothing-v0")
    with pytest.raises(ValueError, match="success_threshold"):
        ImaginedEnv(env.model, NoiseStarts(), success_threshold=0.0)


def test_a_state_survives_being_an_observation():
    rng = np.random.default_rng(0)
    state = np.r_[rng.uniform(-0.5, 0.5, 6), 0.3, rng.uniform(-1, 1, 7)]
    seen = to_observation(state, {}, "go")
    assert isinstance(seen, Observation)
    back = full_state(observation_state(seen), seen.joint_positions)
    np.testing.assert_allclose(back, state, atol=1e-6)
