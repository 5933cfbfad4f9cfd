"""The Gymnasium environments: what they promise, bit for bit."""

import hashlib
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from scipy.spatial.transform import Rotation

from sim import CORE_ENV_IDS, ENV_IDS
from sim import env_id as env_id_of
from sim.env import ACTION_HIGH, TabletopEnv, to_observation
from sim.tasks import CORE_TASKS


def fingerprint(env_id: str, seed: int, steps: int = 10) -> str:
    """A hash over all that is seen in some steps of an episode, images included."""
    env = gymnasium.make(env_id)
    digest = hashlib.sha256()
    rng = np.random.default_rng(seed)
    values, _ = env.reset(seed=seed)
    for _ in range(steps + 1):
        for name in sorted(values):
            value = values[name]
            digest.update(value.encode() if isinstance(value, str) else value.tobytes())
        action = 0.2 * rng.uniform(-1, 1, 7) * ACTION_HIGH
        values, reward, *_ = env.step(action)
        digest.update(str(reward).encode())
    env.close()
    return digest.hexdigest()


@pytest.mark.parametrize("env_id", ENV_IDS)
@pytest.mark.filterwarnings("ignore:.*")
def test_gymnasium_accepts_it(env_id):
    env = gymnasium.make(env_id, render_mode="rgb_array")
    check_env(env.unwrapped)
    env.close()


# The first three, and those with grains and joints of their own.
@pytest.mark.parametrize(
    "env_id", [*CORE_ENV_IDS, *map(env_id_of, ("OpenDrawer", "PressButton", "Pour", "Sweep"))]
)
def test_same_seed_same_episode_bit_for_bit(env_id):
    here = fingerprint(env_id, 3)
    assert here == fingerprint(env_id, 3)
    assert here != fingerprint(env_id, 4)
    code = f"import runpy; print(runpy.run_path({__file__!r})['fingerprint']({env_id!r}, 3))"
    other_process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert here == other_process.stdout.strip()


def test_an_episode_does_not_depend_on_the_one_before():
    env = TabletopEnv("Lift", cameras=())
    env.reset(seed=1)
    for _ in range(5):
        env.step(env.expert_action())
    env.reset(seed=2)
    for _ in range(5):
        env.move(env.expert_action())
    after = env.running()[0].joint_positions
    fresh = TabletopEnv("Lift", cameras=())
    fresh.reset(seed=2)
    for _ in range(5):
        fresh.move(fresh.expert_action())
    np.testing.assert_array_equal(after, fresh.running()[0].joint_positions)


@pytest.fixture
def env():
    env = TabletopEnv("Lift", cameras=())
    env.reset(seed=0)
    yield env
    env.close()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_displacement_moves_the_tool_by_it(env, axis):
    """About: the arm trails its command by some 40 ms, and every action starts where it is."""
    world, _ = env.running()
    action = np.array([0, 0, 0, 0, 0, 0, 1.0])
    action[axis] = 0.02
    start = world.ee_position
    for _ in range(3):
        env.move(action)
    env.move(np.array([0, 0, 0, 0, 0, 0, 1.0]))
    moved = world.ee_position - start
    assert moved[axis] == pytest.approx(0.06, abs=0.012)
    np.testing.assert_allclose(np.delete(moved, axis), 0, atol=3e-3)


def test_yaw_turns_the_tool_about_the_vertical_where_it_stands(env):
    world, _ = env.running()
    start, position = world.ee_rotation, world.ee_position
    env.move(np.array([0, 0, 0, 0, 0, 0.2, 1.0]))
    env.move(np.array([0, 0, 0, 0, 0, 0, 1.0]))
    turned = (world.ee_rotation * start.inv()).as_rotvec()
    np.testing.assert_allclose(turned, [0, 0, 0.2], atol=0.03)
    np.testing.assert_allclose(world.ee_position, position, atol=5e-3)


def test_the_gripper_column_is_an_opening(env):
    for _ in range(6):
        env.move(np.zeros(7))
    assert env.running()[0].gripper_opening < 0.05
    for _ in range(6):
        env.move(np.array([0, 0, 0, 0, 0, 0, 1.0]))
    assert env.running()[0].gripper_opening > 0.95


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros(6), r"action: expected shape \(7,\), got \(6,\)"),
        (np.zeros((1, 7)), r"action: expected shape \(7,\), got \(1, 7\)"),
        (np.full(7, np.nan), "action: expected finite numbers"),
        (np.full(7, np.inf), "action: expected finite numbers"),
    ],
)
def test_a_bad_action_is_refused_and_nothing_moves(env, action, message):
    before = env.running()[0].data.time
    with pytest.raises(ValueError, match=message):
        env.step(action)
    assert env.running()[0].data.time == before


def test_an_action_out_of_range_is_clipped():
    actions = [np.full(7, 100.0), ACTION_HIGH]
    poses = []
    for action in actions:
        env = TabletopEnv("Push", cameras=())
        env.reset(seed=0)
        env.step(action)
        poses.append(env.running()[0].joint_positions)
    np.testing.assert_array_equal(*poses)


def test_bad_arguments_name_the_choices():
    with pytest.raises(ValueError, match="task: expected one of Lift, PickPlace, .* got 'Fly'"):
        TabletopEnv("Fly")
    with pytest.raises(ValueError, match=r"camera: expected some of front, wrist, got \['top'\]"):
        TabletopEnv("Lift", cameras=("top",))
    with pytest.raises(ValueError, match="render_mode: expected one of"):
        TabletopEnv("Lift", render_mode="human")
    env = TabletopEnv("Lift", cameras=())
    with pytest.raises(RuntimeError, match=r"call reset\(\)"):
        env.step(np.zeros(7))
    with pytest.raises(
        ValueError, match=r"options: expected 'target' or 'episode', got \['goal'\]"
    ):
        env.reset(seed=0, options={"goal": 1})


@pytest.mark.parametrize("name", sorted(CORE_TASKS))
def test_retarget_keeps_the_scene_and_names_the_other_item(name):
    env = TabletopEnv(name, cameras=())
    _, info = env.reset(seed=5)
    scene = env.running()[1].scene
    others = [item.name for item in scene.items if not item.is_bowl and item.name != info["target"]]
    values, swapped = env.reset(seed=5, options={"target": others[0]})
    assert env.running()[1].scene == scene
    assert swapped["target"] == others[0]
    assert others[0] in values["instruction"]
    with pytest.raises(ValueError, match="is not in this scene"):
        env.reset(seed=5, options={"target": "golden egg"})


def test_a_bowl_cannot_be_the_target():
    env = TabletopEnv("PickPlace", cameras=())
    env.reset(seed=5)
    episode = env.running()[1]
    bowl = next(item.name for item in episode.scene.items if item.is_bowl)
    with pytest.raises(ValueError, match=f"expected one of .*{episode.target}.*, got '{bowl}'"):
        env.reset(seed=5, options={"target": bowl})


def test_to_observation():
    env = TabletopEnv("Lift", cameras=("wrist",), image_size_px=64)
    values, _ = env.reset(seed=0)
    observation = to_observation(values, stamp_ns=7)
    assert set(observation.images) == {"wrist"}
    assert observation.camera("wrist").shape == (64, 64, 3)
    assert observation.stamp_ns == 7
    assert observation.instruction == values["instruction"]
    world, _ = env.running()
    w, x, y, z = observation.ee_quaternion
    measured = Rotation.from_quat([x, y, z, w])
    assert (measured * world.ee_rotation.inv()).magnitude() < 1e-6
