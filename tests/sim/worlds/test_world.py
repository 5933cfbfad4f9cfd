"""The adapter on a tiny environment in another frame, other units and another order."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from policies.interface import ActionChunk, ActionError, InstructionError
from sim.policies import ZeroPolicy
from sim.worlds import World, WorldError
from sim.worlds.evaluation import (
    REFUSED,
    SUCCESS,
    TIME_OVER,
    RandomPolicy,
    WorldEvaluation,
    _Key,
    _prepared,
    evaluate,
    run_episode,
    summarize,
)


def test_the_observation_is_ours(world_config):
    observation = World(world_config()).reset(seed=1)
    np.testing.assert_allclose(observation.ee_position, [0.3, 0.0, 0.2], atol=1e-12)
    # Down in their frame, with their y axis as our x axis: turned by -90 degrees about z.
    turned = Rotation.from_euler("z", -90, degrees=True) * Rotation.from_quat([1, 0, 0, 0])
    ours = Rotation.from_quat(observation.ee_quaternion, scalar_first=True)
    assert (ours * turned.inv()).magnitude() < 1e-9
    assert observation.gripper_opening == 1.0
    assert observation.instruction == "push it"
    image = observation.camera("front")
    assert image[-1, 0].tolist() == [0, 0, 255] and not image[:-1].any()  # upright, red first


@pytest.mark.parametrize("axis", range(3))
def test_two_centimetres_are_two_centimetres(world_config, axis):
    """Whatever the controller makes of one command: what is left of the way is sent again."""
    world = World(world_config())
    before = world.reset(seed=1).ee_position
    goal = before + 0.02 * np.eye(3)[axis]
    rotation = Rotation.from_quat(world.observe().ee_quaternion, scalar_first=True)
    world.reach(goal, rotation, 1.0, dt_s=0.5)
    np.testing.assert_allclose(world.observe().ee_position, goal, atol=1e-4)


def test_gain_makes_up_for_a_lag(world_config):
    halves = World(world_config(("rate_hz: 20", "rate_hz: 10")))
    start = halves.reset(seed=1).ee_position
    lagging = halves.step(np.array([0.02, 0, 0, 0, 0, 0, 1.0])).ee_position - start
    doubled = World(
        world_config(
            ("rate_hz: 20", "rate_hz: 10"), ("  gripper_closed", "  gain: 2.0\n  gripper_closed")
        )
    )
    doubled.reset(seed=1)
    whole = doubled.step(np.array([0.02, 0, 0, 0, 0, 0, 1.0])).ee_position - start
    np.testing.assert_allclose(lagging, [0.01, 0, 0], atol=1e-6)
    np.testing.assert_allclose(whole, [0.02, 0, 0], atol=1e-6)


def test_the_action_is_theirs(world_config):
    world = World(world_config())
    world.reset(seed=1)
    world.step(np.array([0.02, 0.01, -0.03, 0.0, 0.0, 0.1, 0.25]), dt_s=0.05)
    (action,) = world.env.unwrapped.actions
    # Our x is their y, our y is their -x. Their gripper: 1 closes, -1 opens.
    np.testing.assert_allclose(action, [0.5, 0.4, -0.2, -0.6, 0.0, 0.2], atol=1e-6)
    assert world.steps == 1


def test_actions_stay_within_the_space_and_the_clip(world_config):
    for clip, largest in ((None, 1.0), (0.25, 0.25)):
        change = (
            []
            if clip is None
            else [("  gripper_closed", f"  clip: [-{clip}, {clip}]\n  gripper_closed")]
        )
        world = World(world_config(*change))
        world.reset(seed=1)
        world.step(np.array([5.0, 0, -5.0, 0, 0, 0, 0.0]), dt_s=0.05)
        (action,) = world.env.unwrapped.actions
        assert action[1] == largest and action[3] == -largest and action[0] == 1.0


def test_the_gripper_opens_and_closes(world_config):
    world = World(world_config())
    world.reset(seed=1)
    assert world.step(np.zeros(7)).gripper_opening == 0.0
    assert world.step(np.array([0, 0, 0, 0, 0, 0, 1.0])).gripper_opening == 1.0


def test_an_image_may_come_from_render(world_config):
    world = World(world_config(("path: pixels.main, flip: [vertical], channels: bgr", "")))
    assert (world.reset(seed=1).camera("front") == 7).all()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pixels.main", "pixels.mian", "cameras.front.path: 'pixels.mian': expected one of main "),
        ("pixels.main", "state", "cameras.front.path: expected an uint8 image"),
        ("state[0:3]", "sate[0:3]", "tool.position: .* expected one of pixels, state at 'the top'"),
        ("state[0:3]", "state.x", "tool.position: .* expected a dictionary at 'state'"),
        ("state[0:3]", "state[0:2]", r"tool.position: expected 3 finite number\(s\)"),
        ("state[3:7]", "state[0:4]", "tool.quaternion: expected a unit quaternion"),
        ("state[7]", "state[8]", r"gripper.path: .* the array has shape \(8,\)"),
        ("task.language", "task.text", "instruction.info: .* expected one of language at 'task'"),
        ("info: task.language", "attribute: task", "instruction.attribute: .* has no 'task'"),
    ],
)
def test_a_wrong_path_is_refused_with_the_choices(world_config, old, new, message):
    world = World(world_config((old, new)))
    with pytest.raises(WorldError, match=message):
        world.reset(seed=1)


def test_a_wrong_success_path_is_refused_at_the_first_step(world_config):
    world = World(world_config(("done_well", "well_done")))
    world.reset(seed=1)
    with pytest.raises(WorldError, match="success.info: .* expected one of task, done_well"):
        world.step(np.zeros(7))


def test_another_action_size_is_refused(world_config):
    with pytest.raises(WorldError, match=r"action.entries: 5 given .*\(6,\)"):
        World(world_config((", zero, yaw]", ", yaw]")))


def test_a_missing_package_says_how_to_install_it(world_config):
    config = world_config(("rate_hz", "module: no_such_world\ninstall: pip install it\nrate_hz"))
    with pytest.raises(WorldError, match="needs 'no_such_world'.*pip install it"):
        World(config)


def test_an_unknown_environment_and_unknown_arguments_are_refused(world_config):
    with pytest.raises(WorldError, match="env: 'Test/Nothing-v0' is not registered"):
        World(world_config(("Test/OtherArm-v0", "Test/Nothing-v0")))
    with pytest.raises(WorldError, match="kwargs: Test/OtherArm-v0 does not take these"):
        World(world_config(("rate_hz", "kwargs: {speed: 1}\nrate_hz")))


def test_a_camera_that_the_world_lacks_is_refused(world_config):
    with pytest.raises(WorldError, match="the policy looks at wrist; this world has front"):
        World(world_config(), cameras=("wrist",))


def test_an_action_lasts_whole_steps(world_config):
    world = World(world_config())
    assert world.steps_within(0.1) == 2
    with pytest.raises(ActionError, match="takes 20 steps a second"):
        world.steps_within(1 / 15)


class Pusher:
    """Goes forward by two chunks of three centimetres."""

    name, cameras = "pusher", ("front",)

    def reset(self, seed=None):
        pass

    def predict_chunk(self, observation):
        actions = np.tile([0.01, 0, 0, 0, 0, 0, 0.0], (3, 1))
        return ActionChunk(actions, observation.stamp_ns, 0.1)


class Refuser(Pusher):
    def predict_chunk(self, observation):
        raise InstructionError("no such word")


def test_episodes_end_by_success_refusal_or_time(world_config):
    world = World(world_config())
    done = run_episode(world, Pusher(), seed=3)
    assert done.outcome == SUCCESS and done.success and 6 < done.steps < 40
    assert run_episode(world, Refuser(), seed=3).outcome == REFUSED
    idle = run_episode(world, ZeroPolicy(), seed=3)
    assert (idle.outcome, idle.steps, len(idle.latencies_ms)) == (TIME_OVER, 40, 20)


def test_success_may_be_the_end_or_a_reward(world_config):
    by_reward = World(world_config(("info: done_well", "reward: 1.0")))
    assert run_episode(by_reward, Pusher(), seed=3).success
    by_end = World(world_config(("info: done_well", "terminated: true")))
    assert not run_episode(by_end, Pusher(), seed=3).success  # it never terminates


def test_random_draws_follow_the_seed(world_config):
    observation = World(world_config()).reset(seed=1)
    policy, actions = RandomPolicy(), []
    for seed in (1, 1, 2):
        policy.reset(seed=seed)
        actions.append(policy.predict_chunk(observation).actions)
    np.testing.assert_array_equal(actions[0], actions[1])
    assert not np.array_equal(actions[0], actions[2])


def test_what_a_policy_computes_in_is_handed_on(world_config):
    evaluation = WorldEvaluation("openvla-mini", world_config(), 1, seed=0, dtype="bfloat16")
    _, policy = _prepared(_Key(evaluation))
    assert policy.model.dtype == torch.bfloat16
    with pytest.raises(ValueError, match="dtype: expected one of float32, bfloat16, got 'x'"):
        WorldEvaluation("openvla-mini", world_config(), 1, seed=0, dtype="x")


def test_the_summary_has_the_keys_of_an_evaluation(world_config):
    evaluation = WorldEvaluation("zero", world_config(), episodes=2, seed=5)
    summary = summarize(evaluation, list(evaluate(evaluation)))
    assert summary["success_rate"] == 0.0 and summary["wilson_low"] == 0.0
    assert summary["wilson_high"] == pytest.approx(0.6576, abs=1e-4)
    assert summary["dropped_actions"] == ["roll", "pitch"]
    assert [row["seed"] for row in summary["rows"]] == [5, 6]
    assert summary["outcomes"][TIME_OVER] == 2
