"""Demonstrations: labels are the expert's, disturbances are as described, and seeds fix all."""

import numpy as np
import pytest

from policies.interface import ActionChunk
from policies.openvla.state import dataset_state
from sim.env import ACTION_HIGH, ACTION_LOW, TabletopEnv
from sim.rollout import Disturbance, Perturbation, demonstrate


@pytest.fixture(scope="module")
def env():
    env = TabletopEnv("Lift", cameras=("front",), image_size_px=64)
    yield env
    env.close()


def disturbed(perturbation, seed, steps=20_000):
    """Executed actions (steps, 7) in place of a constant one."""
    process = Disturbance(perturbation, np.random.default_rng(seed))
    action = np.array([0, 0, 0, 0, 0, 0, 1.0])
    return np.array([process.disturb(action) for _ in range(steps)]), action


def test_the_wanted_share_of_steps_is_disturbed_in_runs():
    settings = Perturbation(rate=0.3)
    executed, action = disturbed(settings, 0)
    off = np.any(executed != action, axis=1)
    assert off.mean() == pytest.approx(0.3, abs=0.03)
    runs = np.count_nonzero(off[1:] & ~off[:-1])
    assert off.sum() / runs == pytest.approx(settings.run_steps, rel=0.1)


def test_the_noise_is_bounded_and_correlated_within_a_run():
    settings = Perturbation(rate=0.5, run_steps=1000.0)
    executed, action = disturbed(settings, 1)
    noise = (executed - action)[:, :6]
    assert np.abs(noise[:, :3]).max() <= settings.max_position_m + 1e-12
    assert np.abs(noise[:, 3:]).max() <= settings.max_rotation_rad + 1e-12
    on = np.any(noise != 0, axis=1)
    pairs = on[1:] & on[:-1]
    measured = np.corrcoef(noise[:-1][pairs, 0], noise[1:][pairs, 0])[0, 1]
    assert measured == pytest.approx(settings.correlation, abs=0.07)


def test_the_gripper_is_now_and_then_wrong():
    executed, _ = disturbed(Perturbation(rate=0.3), 2)
    assert 0.005 < np.mean(executed[:, 6] == 0.0) < 0.05


def test_without_perturbation_nothing_is_changed():
    executed, action = disturbed(Perturbation(rate=0.0), 3, steps=100)
    np.testing.assert_array_equal(executed, np.tile(action, (100, 1)))


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_the_rate_is_checked(rate):
    with pytest.raises(ValueError, match="perturbation rate: expected 0 to 0.9"):
        Perturbation(rate)


def test_labels_are_the_experts_in_the_states_the_disturbance_led_to(env):
    demonstration = demonstrate(env, 1, Perturbation(0.5))
    assert demonstration.success
    assert np.any(demonstration.action != demonstration.executed_action)
    assert np.all(demonstration.executed_action <= ACTION_HIGH.astype(np.float32))
    assert np.all(demonstration.executed_action >= ACTION_LOW.astype(np.float32))
    env.reset(seed=1)
    for label, executed in zip(demonstration.action, demonstration.executed_action, strict=True):
        np.testing.assert_allclose(env.expert_action(), label, atol=1e-4)
        env.move(executed)


def test_same_seed_same_demonstration(env):
    first, second = (demonstrate(env, 4, Perturbation(0.3)) for _ in range(2))
    np.testing.assert_array_equal(first.action, second.action)
    np.testing.assert_array_equal(first.images["front"], second.images["front"])
    other = demonstrate(env, 5, Perturbation(0.3))
    assert not np.array_equal(first.action[0], other.action[0])


class Resting:
    """Always stays where it is."""

    name, cameras = "resting", ()
    action = np.array([0, 0, 0, 0, 0, 0, 1.0])

    def reset(self, seed=None):
        pass

    def predict_chunk(self, observation):
        return ActionChunk(self.action[None], observation.stamp_ns, 0.1)


def test_a_learner_acts_with_as_much_of_the_expert_as_asked_for(env):
    def own_steps(expert_share, perturb=0.0):
        demonstration = demonstrate(
            env, 2, Perturbation(perturb), 40, Resting(), expert_share=expert_share
        )
        return np.all(demonstration.executed_action == Resting.action, axis=1).mean()

    assert own_steps(0.0) == 1.0
    assert own_steps(1.0) < 0.3  # but for a short run before the expert's first turn
    assert 0.0 < own_steps(0.0, perturb=0.5) < 1.0  # whoever acts is disturbed


def test_rows_belong_together(env):
    demonstration = demonstrate(env, 6, Perturbation(0.0))
    steps = demonstration.steps
    assert demonstration.images["front"].shape == (steps, 64, 64, 3)
    for name, width in (
        ("state", 8),
        ("joint_positions", 7),
        ("action", 7),
        ("executed_action", 7),
        ("target_position", 3),
        ("goal_position", 3),
    ):
        values = getattr(demonstration, name)
        assert values.shape == (steps, width) and values.dtype == np.float32
    values, info = env.reset(seed=6)
    state = dataset_state(
        values["ee_position"], values["ee_quaternion"], float(values["gripper_opening"][0])
    )
    np.testing.assert_allclose(demonstration.state[0], state, atol=1e-6)
    np.testing.assert_allclose(demonstration.target_position[0], info["target_position"], atol=1e-6)
    np.testing.assert_array_equal(demonstration.images["front"][0], values["front"])


def test_the_states_quaternion_does_not_jump_between_its_signs():
    for w in (-1e-3, 1e-3):
        for sign in (-1, 1):
            quaternion = sign * np.array([w, np.sqrt(1 - w**2), 0, 0])
            state = dataset_state(np.zeros(3), quaternion, 1.0)
            np.testing.assert_allclose(state[3:7], [w, 1, 0, 0], atol=1e-5)
