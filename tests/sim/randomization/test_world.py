"""A randomized world: late commands, late and lossy senses, a table of another height."""

import json

import gymnasium
import mujoco
import numpy as np
import pytest

import sim  # noqa: F401  registers the environments
from sim import robot
from sim.env import TabletopEnv
from sim.kinematics import Kinematics
from sim.randomization import AXES, PRESETS
from sim.randomization.domain import Domain, Range
from sim.randomization.world import RandomizedTabletop
from sim.scene import Item, Scene
from sim.tabletop import Tabletop

SCENE = Scene(items=(Item("cube", "red", (0.45, 0.0)),))


def domain(axis, **ranges):
    return Domain("test", "", {axis: {name: Range(*pair) for name, pair in ranges.items()}})


def world(axis, **ranges):
    return RandomizedTabletop(SCENE, domain(axis, **ranges), np.random.SeedSequence(0))


def trajectory(world, commands, steps_each=25):
    """(n, 7) [rad] after every 4 ms, where a new target comes every 0.1 s."""
    rows = []
    after = world._after_step
    world._after_step = lambda: (after(), rows.append(world.joint_positions))
    for target in commands:
        world.advance(steps_each * 0.004, target, 0.5)
    return np.array(rows)


COMMANDS = [robot.HOME_RAD + 0.03 * index * np.array([1, 0, 0, -1, 0, 1, 0]) for index in range(8)]


@pytest.mark.parametrize("delay_ms", [40, 100, 152])
def test_a_command_takes_effect_when_it_has_arrived(delay_ms):
    at_once = trajectory(Tabletop(SCENE), COMMANDS)
    late = trajectory(world("latency", delay_ms=(delay_ms, delay_ms)), COMMANDS)
    steps = round(delay_ms / 4)
    assert len(at_once) == len(late) == 200
    np.testing.assert_allclose(late[:steps], np.tile(at_once[0], (steps, 1)), atol=2e-3)
    np.testing.assert_allclose(late[steps:], at_once[:-steps], atol=2e-3)
    assert np.abs(at_once[-1] - at_once[0]).max() > 0.1  # and it did move


def test_without_latency_the_path_is_the_same_bit_for_bit():
    other_axis = world("observation", drop=(0.5, 0.5))
    np.testing.assert_array_equal(
        trajectory(Tabletop(SCENE), COMMANDS), trajectory(other_axis, COMMANDS)
    )


def test_jitter_keeps_the_order_and_follows_from_the_seed():
    def run():
        return trajectory(world("latency", delay_ms=(20, 20), jitter_ms=(200, 200)), COMMANDS)

    np.testing.assert_array_equal(run(), run())
    steady = trajectory(world("latency", delay_ms=(20, 20)), COMMANDS)
    assert np.abs(run() - steady).max() > 5e-3
    assert np.all(np.diff(run()[:, 0]) > -1e-3)  # never back to an older target


def measure(world):
    opening = np.array([world.gripper_opening])
    return {
        "image": np.zeros((4, 4, 3), np.uint8),
        "joint_positions": world.joint_positions,
        "gripper_opening": opening,
        "ee_position": world.ee_position,
        "ee_quaternion": world.ee_rotation.as_quat(canonical=True, scalar_first=True),
    }


def test_what_is_seen_is_as_old_as_was_drawn():
    late = world("observation", delay_ms=(60, 60))
    rows = trajectory(late, COMMANDS)
    seen = late.sense(measure)
    np.testing.assert_array_equal(seen["joint_positions"], rows[-1 - 15])
    assert np.abs(late.joint_positions - seen["joint_positions"]).max() > 1e-3
    np.testing.assert_array_equal(late.joint_positions, rows[-1])  # looking changes nothing


def test_images_are_as_late_as_readings():
    late = world("observation", delay_ms=(80, 80))
    late.advance(0.1, COMMANDS[5])
    frames = []
    for _ in range(3):
        late.advance(0.08, COMMANDS[7])
        mujoco.mj_kinematics(late.model, late.data)  # mj_step leaves these one step behind
        mujoco.mj_camlight(late.model, late.data)
        frames.append((late.render("front", 48, 48), late._seen().render("front", 48, 48)))
    np.testing.assert_array_equal(frames[0][0], frames[1][1])
    assert np.any(frames[1][0] != frames[1][1])


def test_a_lost_observation_repeats_the_one_before():
    lossy = world("observation", drop=(0.5, 0.5))
    seen = []
    for index in range(200):
        lossy.advance(0.004, COMMANDS[index % 2 * 7])
        seen.append(lossy.sense(measure)["joint_positions"])
    repeated = [np.array_equal(*pair) for pair in zip(seen, seen[1:], strict=False)]
    assert np.mean(repeated) == pytest.approx(0.5, abs=0.1)


def test_readings_are_biased_and_noisy_and_agree_with_each_other():
    noisy = world("sensors", joint_noise_rad=(0.002, 0.002), joint_bias_rad=(0.01, 0.01))
    kinematics = Kinematics()
    readings = [noisy.sense(measure) for _ in range(300)]
    errors = np.array([row["joint_positions"] for row in readings]) - noisy.joint_positions
    np.testing.assert_allclose(errors.mean(axis=0), 0.01, atol=5e-4)
    np.testing.assert_allclose(errors.std(axis=0), 0.002, atol=3e-4)
    position, rotation = kinematics.forward(readings[0]["joint_positions"])
    np.testing.assert_allclose(readings[0]["ee_position"], position, atol=1e-9)
    np.testing.assert_allclose(
        readings[0]["ee_quaternion"],
        rotation.as_quat(canonical=True, scalar_first=True),
        atol=1e-9,
    )


@pytest.mark.parametrize("height_m", [0.05, -0.05])
def test_a_higher_table_is_higher_in_the_base_frame_and_the_same_for_the_task(height_m, tmp_path):
    usual = TabletopEnv("Lift", cameras=())
    path = tmp_path / "table.yaml"
    path.write_text(f"axes: {{table: {{height_m: [{height_m}, {height_m}]}}}}")
    raised = TabletopEnv("Lift", cameras=(), randomization=str(path))
    (_, usual_info), (values, info) = usual.reset(seed=4), raised.reset(seed=4)
    assert info["target_position"] - usual_info["target_position"] == pytest.approx(
        [0, 0, height_m], abs=1e-3
    )
    joints = values["joint_positions"]
    position, _ = raised.kinematics.forward(joints)
    np.testing.assert_allclose(values["ee_position"], position, atol=1e-9)
    before = values["ee_position"]
    for _ in range(3):
        raised.move(np.array([0.02, 0, 0, 0, 0, 0, 1.0]))
    raised.move(np.array([0, 0, 0, 0, 0, 0, 1.0]))
    moved = raised.observe()[0]["ee_position"] - before
    np.testing.assert_allclose(moved, [0.06, 0, 0], atol=0.012)
    for _ in range(raised.task.max_steps):
        raised.move(raised.expert_action())
    assert raised.succeeded()


@pytest.mark.parametrize("name", AXES)
def test_every_axis_is_an_environment_and_its_draws_are_recorded(name):
    env = gymnasium.make("VlaRos/Push-v0", cameras=(), randomization=name)
    values, info = env.reset(seed=2)
    assert set(info["randomization"]) == {"domain", "entropy", "spawn_key", name}
    assert set(info["randomization"][name]) >= set(AXES[name].fields)
    assert json.loads(json.dumps(info["randomization"])) == info["randomization"]
    assert env.observation_space.contains(values)


@pytest.mark.parametrize("name", ["train", "hard"])
def test_the_same_seed_is_the_same_episode(name):
    runs = []
    for before in (7, 8):
        env = TabletopEnv("PickPlace", cameras=("front",), image_size_px=32, randomization=name)
        env.reset(seed=before)
        values, info = env.reset(seed=3)
        for _ in range(2):
            values, _, _, _, info = env.step(env.expert_action())
        runs.append((values, info))
        env.close()
    (values, info), (again, info_again) = runs
    assert info["randomization"] == info_again["randomization"]
    assert set(info["randomization"]) == {"domain", "entropy", "spawn_key", *AXES}
    for key in values:
        np.testing.assert_array_equal(values[key], again[key])


def test_the_nominal_episode_is_drawn_whatever_is_randomized():
    usual, hard = (
        TabletopEnv("Push", cameras=()),
        TabletopEnv("Push", cameras=(), randomization="hard"),
    )
    (_, info), (_, hard_info) = usual.reset(seed=9), hard.reset(seed=9)
    first, second = usual.running()[1], hard.running()[1]
    assert info["randomization"] == {}
    assert (first.target, first.direction) == (second.target, second.direction)
    assert [item.position for item in first.scene.items] == [
        item.position for item in second.scene.items
    ]
    assert first.joint_positions == second.joint_positions
    assert hard_info["randomization"]["objects"]["size"][first.target] == pytest.approx(
        second.scene.item(first.target).size_m / first.scene.item(first.target).size_m
    )


def test_episodes_without_a_new_seed_differ_and_repeat():
    def episodes():
        env = TabletopEnv("Lift", cameras=(), randomization="lighting")
        env.reset(seed=1)
        return [env.reset()[1]["randomization"]["lighting"] for _ in range(3)]

    assert episodes() == episodes()
    assert episodes()[0] != episodes()[1]


@pytest.mark.parametrize("task", ["Lift", "PickPlace", "Push"])
def test_the_expert_copes_with_the_training_domain(task):
    env = TabletopEnv(task, cameras=(), randomization="train")
    for seed in range(4):
        env.reset(seed=seed)
        for _ in range(env.task.max_steps):
            env.move(env.expert_action())
            if env.succeeded():
                break
        assert env.succeeded(), seed


def test_a_scene_seen_again_in_another_light():
    world = RandomizedTabletop(SCENE, PRESETS["train"], np.random.SeedSequence(0))
    first = world.render("front", 48, 48)
    state, size = world.data.qpos.copy(), world.draw["objects"]
    world.redraw(np.random.SeedSequence(1))
    np.testing.assert_array_equal(world.data.qpos, state)
    assert world.draw["objects"] == size
    world.reset(robot.HOME_RAD)
    renewed = world.render("front", 48, 48)
    assert np.abs(renewed.astype(int) - first).mean() > 3.0
    # A renderer that existed before shows the same as a new one: textures were uploaded.
    world.close()
    np.testing.assert_array_equal(world.render("front", 48, 48), renewed)
    world.close()
