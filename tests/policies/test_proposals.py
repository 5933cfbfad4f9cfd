import numpy as np
import pytest
import torch

from policies.factory import load_policy
from policies.interface import ActionChunk, ActionError, Observation
from policies.openvla.decoding import Sampler
from policies.proposals import (
    NOISE,
    SamplingPolicy,
    check_plannable,
    colored_noise,
    sample_around,
)


def observe() -> Observation:
    rng = np.random.default_rng(3)
    return Observation(
        images={"front": rng.integers(0, 255, size=(48, 64, 3), dtype=np.uint8)},
        joint_positions=np.zeros(7),
        gripper_opening=1.0,
        ee_position=np.array([0.45, 0.0, 0.2]),
        ee_quaternion=np.array([0.0, 1.0, 0.0, 0.0]),
        instruction="pick up the red cube",
        stamp_ns=123,
    )


@pytest.fixture
def policy(tiny_folder):
    return load_policy(str(tiny_folder))


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 9])
def test_colored_noise_has_variance_one_at_every_step(steps):
    noise = colored_noise(np.random.default_rng(0), 8000, steps)
    assert noise.shape == (8000, steps, 7)
    np.testing.assert_allclose(noise.var(axis=(0, 2)), 1.0, atol=0.03)
    np.testing.assert_allclose(noise.mean(axis=(0, 2)), 0.0, atol=0.02)


def test_colored_noise_goes_on_in_its_direction_and_white_noise_does_not():
    def correlation(exponent):
        noise = colored_noise(np.random.default_rng(0), 8000, 8, exponent)[:, :, 0]
        return np.corrcoef(noise[:, 3], noise[:, 4])[0, 1]

    assert abs(correlation(0.0)) < 0.05
    assert correlation(2.0) > 0.5


def test_a_token_policy_is_sampled_from_its_own_distribution(policy):
    assert isinstance(policy, SamplingPolicy) and policy.can_sample
    chunk = policy.predict_chunk(observe())
    samples = sample_around(policy, observe(), chunk, 6, np.random.default_rng(0))
    again = sample_around(policy, observe(), chunk, 6, np.random.default_rng(0))
    assert samples.shape == (6, 1, 7)
    np.testing.assert_array_equal(samples, again)
    assert len(np.unique(samples, axis=0)) > 1
    assert (samples[..., 6] >= 0).all() and (samples[..., 6] <= 1).all()
    assert np.abs(samples[..., :6]).max() <= 0.05  # the statistics' quantiles


def test_tokens_are_drawn_as_often_as_their_logits_say_and_only_from_the_range():
    logits = torch.tensor([9.0, 0.0, 1.0, 2.0, 9.0]).expand(20_000, -1)
    drawn = Sampler(first=1, end=4, temperature=1.0, seed=0)(logits)
    share = np.bincount(drawn.numpy(), minlength=5) / len(drawn)
    expected = np.exp([0.0, 1.0, 2.0]) / np.exp([0.0, 1.0, 2.0]).sum()
    np.testing.assert_allclose(share[1:4], expected, atol=0.01)
    assert share[0] == share[4] == 0
    cold = Sampler(first=1, end=4, temperature=1e-6, seed=0)(logits)
    assert (cold == 3).all()


def test_a_temperature_of_zero_is_refused(policy):
    with pytest.raises(ValueError, match="temperature: expected a number above 0, got 0"):
        policy.sample_chunks(observe(), 3, 0.0, seed=5)


class Regressing:
    name, cameras = "regressing", ()

    def reset(self, seed=None):
        pass

    def predict_chunk(self, observation):
        actions = np.zeros((4, 7))
        actions[:, 0] = (0.0, 0.1, 0.2, 0.3)
        return ActionChunk(actions, observation.stamp_ns, 0.1)


def test_a_policy_without_a_distribution_gets_noise_as_wide_as_its_chunk_varies():
    policy = Regressing()
    chunk = policy.predict_chunk(observe())
    samples = sample_around(policy, observe(), chunk, 4000, np.random.default_rng(0))
    deviation = (samples - chunk.actions).std(axis=(0, 1))
    expected = np.maximum(chunk.actions.std(axis=0), NOISE)
    assert expected[0] > 0.1 and expected[1] == NOISE[1]
    np.testing.assert_allclose(deviation, expected, rtol=0.05)


def test_absolute_chunks_are_refused():
    chunk = ActionChunk(np.zeros((1, 7)), 0, 0.1, mode="absolute")
    with pytest.raises(ActionError, match="displacements in the base frame, got mode 'absolute'"):
        check_plannable(chunk)
