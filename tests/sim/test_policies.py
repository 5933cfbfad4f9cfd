"""Policies that need no training, and policies that shake."""

import numpy as np
import pytest

from policies.interface import ActionChunk, ActionError
from sim.env import TabletopEnv, to_observation
from sim.evaluation import Evaluation, evaluate
from sim.policies import NOISE_CORRELATION, NoisyPolicy, ZeroPolicy, split_noise


class Fixed:
    """Answers the same chunk."""

    name, cameras = "fixed", ("front",)

    def __init__(self, rows=4, mode="delta"):
        self.rows, self.mode = rows, mode

    def reset(self, seed=None):
        self.seed = seed

    def predict_chunk(self, observation):
        actions = np.full((self.rows, 7), 0.01)
        return ActionChunk(actions, observation.stamp_ns, 0.1, mode=self.mode)


@pytest.fixture(scope="module")
def observation():
    env = TabletopEnv("Lift", cameras=())
    return to_observation(env.reset(seed=0)[0])


def draws(policy, seed, observation, count):
    policy.reset(seed)
    return np.concatenate([policy.predict_chunk(observation).actions for _ in range(count)])


def test_noise_is_as_large_and_as_correlated_as_it_says(observation):
    noise = draws(NoisyPolicy(Fixed(), 1.5), 3, observation, 2000) - 0.01  # (8000, 7)
    np.testing.assert_allclose(noise[:, :3].std(0), 0.015, rtol=0.06)
    np.testing.assert_allclose(noise[:, 3:6].std(0), 0.03, rtol=0.06)
    assert (noise[:, 6] == 0).all()
    following = np.corrcoef(noise[:-1, 0], noise[1:, 0])[0, 1]
    assert following == pytest.approx(NOISE_CORRELATION, abs=0.04)


def test_noise_follows_the_seed_and_not_the_length_of_chunks(observation):
    shaking, other = NoisyPolicy(Fixed(4), 1.0), NoisyPolicy(Fixed(1), 1.0)
    first = draws(shaking, 5, observation, 2)
    np.testing.assert_array_equal(first, draws(shaking, 5, observation, 2))
    np.testing.assert_array_equal(first, draws(other, 5, observation, 8))
    assert not np.array_equal(first, draws(shaking, 6, observation, 2))
    assert shaking._policy.seed == 6  # the policy's own draws are seeded, too
    assert shaking.cameras == ("front",) and shaking.name == "noisy:1:fixed"


def test_noise_stays_within_what_the_robot_takes(observation):
    actions = draws(NoisyPolicy(Fixed(), 30.0), 0, observation, 20)
    assert np.abs(actions[:, :3]).max() == 0.08


def test_poses_do_not_shake(observation):
    with pytest.raises(ActionError, match="expected displacements, got mode 'absolute'"):
        NoisyPolicy(Fixed(mode="absolute"), 1.0).predict_chunk(observation)


def test_names():
    assert split_noise("openvla-mini") == (0.0, "openvla-mini")
    assert split_noise("noisy:1.5:ws://host:8000") == (1.5, "ws://host:8000")
    for name in ("noisy:", "noisy:1", "noisy:-1:zero", "noisy:inf:zero", "noisy:a:zero"):
        with pytest.raises(ValueError, match="expected noisy:LEVEL:POLICY"):
            split_noise(name)


def test_an_evaluation_takes_shaking_policies():
    rate = lambda policy: evaluate(Evaluation(policy, ("VlaRos/Lift-v0",), 4, seed=50))  # noqa: E731
    assert rate("noisy:0:expert")["success_rate"] == 1.0
    assert rate("noisy:4:expert")["success_rate"] < 1.0
    with pytest.raises(ValueError, match="expected a checkpoint folder or one of"):
        Evaluation("noisy:1:no-such", ("VlaRos/Lift-v0",))
    with pytest.raises(ValueError, match="blackout: expert has no network"):
        Evaluation("noisy:1:expert", ("VlaRos/Lift-v0",), blackout=True)


def test_standing_still(observation):
    assert (ZeroPolicy().predict_chunk(observation).actions == 0).all()
