"""LIBERO and SO-101 as they are: what our action means there. Skipped where they are missing."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sim.worlds import World, load_world

pytestmark = pytest.mark.slow
FOLDER = Path(__file__).parents[3] / "config" / "worlds"
WORLDS = {"libero": "libero.libero", "so101": "lerobot_env_so101"}


@pytest.fixture(scope="module", params=WORLDS)
def world(request):
    pytest.importorskip(WORLDS[request.param], exc_type=ImportError)
    world = World(load_world(FOLDER / f"{request.param}.yaml"), cameras=())
    yield world
    world.close()


def pose(world):
    observation = world.observe()
    rotation = Rotation.from_quat(observation.ee_quaternion, scalar_first=True)
    return observation.ee_position, rotation


@pytest.mark.parametrize("axis", range(3))
def test_two_centimetres_are_two_centimetres(world, axis):
    world.reset(seed=0)
    position, rotation = pose(world)
    # SO-101 begins bent away from straight down, and turns there as soon as it moves.
    world.reach(position, rotation, 1.0, dt_s=1.0)
    before, _ = pose(world)
    goal = before + 0.02 * np.eye(3)[axis]
    world.reach(goal, rotation, 1.0, dt_s=1.0)
    moved = pose(world)[0] - before
    assert moved[axis] == pytest.approx(0.02, abs=0.003)
    np.testing.assert_allclose(np.delete(moved, axis), 0.0, atol=0.003)


def test_repeated_actions_go_on(world):
    """A policy of one action: each begins at the pose there is. A lag costs some of the way."""
    world.reset(seed=0)
    before, _ = pose(world)
    for _ in range(10):
        world.step(np.array([0.0, 0.02, 0.0, 0.0, 0.0, 0.0, 1.0]))
    assert 0.6 * 0.2 < pose(world)[0][1] - before[1] < 1.1 * 0.2


def test_the_gripper_opens_and_closes(world):
    world.reset(seed=0)
    position, rotation = pose(world)
    for opening in (0.0, 1.0):
        world.reach(position, rotation, opening, dt_s=1.5)
        assert world.observe().gripper_opening == pytest.approx(opening, abs=0.1)


def test_a_yaw_is_a_yaw(world):
    if "yaw" not in world.config.action.entries:
        pytest.skip("this arm has no yaw of its own")
    world.reset(seed=0)
    position, rotation = pose(world)
    world.reach(position, Rotation.from_euler("z", 0.2) * rotation, 1.0, dt_s=1.0)
    turned = (pose(world)[1] * rotation.inv()).as_rotvec()
    np.testing.assert_allclose(turned, [0.0, 0.0, 0.2], atol=0.02)


def test_a_seed_is_an_episode(world):
    first, again, other = (world.reset(seed=seed).joint_positions for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    if world.config.module == "sim.worlds.libero":  # SO-101 always starts at home
        assert not np.array_equal(first, other)


def test_liberos_base_stands_where_the_file_says(world):
    if world.config.module != "sim.worlds.libero":
        pytest.skip("the SO-101's base is the origin")
    world.reset(seed=0)
    model = world.env.unwrapped._env.env.sim.data
    stands = model.get_body_xpos("robot0_base")
    np.testing.assert_allclose(stands, world.config.tool.base_position_m, atol=1e-3)
