"""The simulated robot: commands, limits, contacts and images."""

import numpy as np
import pytest

from sim import robot
from sim.scene import Item, Scene
from sim.tabletop import COMMAND_SPEED_FRACTION, Tabletop


@pytest.fixture
def world():
    world = Tabletop(Scene(items=(Item("cube", "red", (0.45, 0.0)),)))
    yield world
    world.close()


def test_it_goes_where_it_is_told(world):
    target = robot.HOME_RAD + 0.1
    world.advance(0.5, target)
    world.advance(0.5)
    np.testing.assert_allclose(world.joint_positions, target, atol=5e-3)


def test_a_jump_of_the_command_is_ramped_within_the_velocity_limits(world):
    target = robot.HOME_RAD + np.array([2.0, 0, 0, 0, 0, 0, 2.0])
    fastest = np.zeros(7)
    for _ in range(20):
        world.advance(0.02, target)
        fastest = np.maximum(fastest, np.abs(world.joint_velocities))
    limit = robot.VELOCITY_LIMIT_RAD_S
    assert np.all(fastest < limit)
    assert fastest[0] > 0.5 * COMMAND_SPEED_FRACTION * limit[0]  # and it does hurry


def test_a_command_beyond_the_joint_limits_is_clipped(world):
    for _ in range(30):
        world.advance(0.1, np.full(7, 10.0))
    assert np.all(world.joint_positions < robot.POSITION_UPPER_RAD + 0.02)


def test_the_gripper_opens_and_closes(world):
    assert world.gripper_opening == pytest.approx(1.0, abs=0.02)
    world.advance(1.0, gripper=0.0)
    assert world.gripper_opening == pytest.approx(0.0, abs=0.02)
    world.advance(1.0, gripper=0.5)
    assert world.gripper_opening == pytest.approx(0.5, abs=0.02)


def test_images(world):
    front = world.render("front", 96, 128)
    assert front.shape == (96, 128, 3) and front.dtype == np.uint8
    red = (front[..., 0] > 120) & (front[..., 1] < 60)
    assert 10 < red.sum() < 1000  # the cube is seen
    with pytest.raises(ValueError, match="camera: expected one of front, wrist, got 'left'"):
        world.render("left")
