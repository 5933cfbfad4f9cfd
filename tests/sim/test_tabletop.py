"""The simulated robot: commands, limits, contacts and images."""

import numpy as np
import pytest

from policies.openvla.state import DOWN
from sim import robot
from sim.kinematics import Kinematics
from sim.scene import Item, Scene, SceneError
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


def test_the_first_touch_is_found_again_after_going_back(world):
    """Pairs in contact that were looked at are not looked at again; those that touch are."""
    kinematics, joints = Kinematics(), world.joint_positions
    for _ in range(5):
        joints, _ = kinematics.inverse(joints, np.array([0.45, 0.0, 0.02]), DOWN)
    world.advance(2.0, joints)
    assert world.first_touched is None  # the open fingers stand around the cube
    timestep_s = world.model.opt.timestep
    while world.first_touched is None:
        before = world.snapshot()
        world.advance(timestep_s, gripper=0.0)
    assert world.first_touched == "red cube"
    world.restore(before)
    assert world.first_touched is None
    world.advance(timestep_s, gripper=0.0)
    assert world.first_touched == "red cube"


def test_images(world):
    front = world.render("front", 96, 128)
    assert front.shape == (96, 128, 3) and front.dtype == np.uint8
    red = (front[..., 0] > 120) & (front[..., 1] < 60)
    assert 10 < red.sum() < 1000  # the cube is seen
    with pytest.raises(ValueError, match="camera: expected one of front, wrist, got 'left'"):
        world.render("left")


def test_contacts_between_items_and_with_the_robot():
    cube, other = Item("cube", "red", (0.45, 0.0)), Item("cube", "blue", (0.45, 0.1))
    upper = Item("cylinder", "green", (0.45, 0.1), elevation_m=2 * other.size_m)
    world = Tabletop(Scene(items=(cube, other, upper)))
    world.advance(0.3)
    assert world.is_touching(upper.name, other.name) and world.is_touching(other.name, upper.name)
    assert not world.is_touching(cube.name, other.name)
    assert not world.is_touched(cube.name)
    kinematics = Kinematics()
    joints, _ = kinematics.inverse(world.joint_positions, np.array([0.45, 0.0, 0.02]), DOWN)
    for _ in range(4):
        joints, _ = kinematics.inverse(joints, np.array([0.45, 0.0, 0.02]), DOWN)
    world.advance(2.0, joints)
    world.advance(0.5, gripper=0.0)
    assert world.is_touched(cube.name) and world.is_held(cube.name)
    assert not world.is_touched(other.name)
    with pytest.raises(SceneError, match="'red bowl' is not in this scene; it has .*red cube"):
        world.is_touched("red bowl")
