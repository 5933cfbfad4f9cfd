"""Forward kinematics against a chain written out by hand; what the inverse promises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from policies.openvla.state import DOWN
from sim import robot
from sim.kinematics import Kinematics, displaced, displacement

# franka_description, robots/fr3/kinematics.yaml: x, y, z [m] and roll [rad] of each joint's frame.
FRAMES = [
    (0, 0, 0.333, 0),
    (0, 0, 0, -np.pi / 2),
    (0, -0.316, 0, np.pi / 2),
    (0.0825, 0, 0, np.pi / 2),
    (-0.0825, 0.384, 0, -np.pi / 2),
    (0, 0, 0, np.pi / 2),
    (0.088, 0, 0, np.pi / 2),
]


def chain(joints):
    """Tool pose (4, 4) by multiplying the published frames, the flange, the hand and the tool."""
    pose = np.eye(4)
    for (x, y, z, roll), angle in zip(FRAMES, joints, strict=True):
        frame = np.eye(4)
        frame[:3, 3] = x, y, z
        frame[:3, :3] = (
            Rotation.from_euler("x", roll) * Rotation.from_euler("z", angle)
        ).as_matrix()
        pose = pose @ frame
    tool = np.eye(4)
    tool[:3, :3] = Rotation.from_euler("z", -np.pi / 4).as_matrix()
    tool[2, 3] = 0.107 + 0.1034
    return pose @ tool


@pytest.fixture(scope="module")
def kinematics():
    return Kinematics()


joint_angles = st.tuples(
    *[
        st.floats(lower, upper)
        for lower, upper in zip(robot.POSITION_LOWER_RAD, robot.POSITION_UPPER_RAD, strict=True)
    ]
)


@settings(deadline=None, max_examples=50)
@given(joints=joint_angles)
def test_forward_equals_the_published_chain(joints):
    position, rotation = Kinematics.forward(_shared(), np.array(joints))
    expected = chain(joints)
    np.testing.assert_allclose(position, expected[:3, 3], atol=1e-9)
    np.testing.assert_allclose(rotation.as_matrix(), expected[:3, :3], atol=1e-9)


def test_stretched_straight_up(kinematics):
    """With every angle zero the height is 0.333 + 0.316 + 0.384 - 0.107 - 0.1034 m."""
    position, rotation = kinematics.forward(np.zeros(7))
    np.testing.assert_allclose(position, [0.088, 0, 0.8226], atol=1e-9)
    np.testing.assert_allclose(rotation.as_matrix()[:, 2], [0, 0, -1], atol=1e-9)


def test_home_points_down_over_the_table(kinematics):
    position, rotation = kinematics.forward(robot.HOME_RAD)
    np.testing.assert_allclose(position, [0.45, 0.0, 0.25], atol=0.01)
    assert (rotation * DOWN.inv()).magnitude() < 0.01


@settings(deadline=None, max_examples=50)
@given(
    x=st.floats(0.35, 0.62),
    y=st.floats(-0.2, 0.2),
    z=st.floats(0.02, 0.3),
    yaw=st.floats(-0.5, 0.5),
)
def test_inverse_reaches_the_workspace(x, y, z, yaw):
    kinematics, joints = _shared(), robot.HOME_RAD
    wanted = displaced(DOWN, np.array([0, 0, yaw]))
    for _ in range(6):
        joints, error_m = kinematics.inverse(joints, np.array([x, y, z]), wanted)
    position, rotation = kinematics.forward(joints)
    assert error_m < 2e-3
    np.testing.assert_allclose(position, [x, y, z], atol=2e-3)
    assert (rotation * wanted.inv()).magnitude() < 0.02


@settings(deadline=None, max_examples=50)
@given(joints=joint_angles, target=st.tuples(*[st.floats(-2, 2)] * 3))
def test_inverse_stays_within_the_joint_limits(joints, target):
    solution, error_m = _shared().inverse(np.array(joints), np.array(target), DOWN)
    assert np.all(solution >= robot.POSITION_LOWER_RAD)
    assert np.all(solution <= robot.POSITION_UPPER_RAD)
    assert np.isfinite(error_m)


def test_inverse_reports_the_error_of_a_pose_out_of_reach(kinematics):
    joints = robot.HOME_RAD
    for _ in range(10):
        joints, error_m = kinematics.inverse(joints, np.array([1.5, 0.0, 0.3]), DOWN)
    position, _ = kinematics.forward(joints)
    assert error_m > 0.5
    assert error_m == pytest.approx(np.linalg.norm(position - [1.5, 0.0, 0.3]), abs=1e-6)


def test_displacement_inverts_displaced():
    turn = np.array([0.1, -0.2, 0.3])
    np.testing.assert_allclose(displacement(DOWN, displaced(DOWN, turn)), turn, atol=1e-12)


def test_yaw_is_about_the_base_frames_z():
    turned = displaced(DOWN, np.array([0, 0, 0.5]))
    np.testing.assert_allclose(turned.apply([0, 0, 1]), [0, 0, -1], atol=1e-12)
    np.testing.assert_allclose(turned.apply([1, 0, 0]), [np.cos(0.5), np.sin(0.5), 0], atol=1e-12)


_KINEMATICS: list[Kinematics] = []


def _shared() -> Kinematics:
    """One solver for all of hypothesis's examples (fixtures of function scope are not for it)."""
    if not _KINEMATICS:
        _KINEMATICS.append(Kinematics())
    return _KINEMATICS[0]
