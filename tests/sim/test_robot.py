"""The arm's figures against those published in `franka_description` (robots/fr3, franka_hand)."""

import mujoco
import numpy as np
import pytest

from sim import robot
from sim.compile import compile_scene
from sim.scene import Scene

# joint_limits.yaml: lower [rad], upper [rad], velocity [rad/s], effort [N m]
JOINT_LIMITS = [
    (-2.7437, 2.7437, 2.62, 87.0),
    (-1.7837, 1.7837, 2.62, 87.0),
    (-2.9007, 2.9007, 2.62, 87.0),
    (-3.0421, -0.1518, 2.62, 87.0),
    (-2.8065, 2.8065, 5.26, 12.0),
    (0.5445, 4.5169, 4.18, 12.0),
    (-3.0159, 3.0159, 5.26, 12.0),
]
# inertials.yaml: mass [kg], centre of mass [m]
MASSES = [
    (2.9274653454, (0.0000004128, -0.0181251324, -0.0386035970)),
    (2.9355370338, (0.0031828864, -0.0743221644, 0.0088146084)),
    (2.2449013699, (0.0407015686, -0.0048200565, -0.0289730823)),
    (2.6155955791, (-0.0459100965, 0.0630492960, -0.0085187868)),
    (2.3271207594, (-0.0016039605, 0.0292536262, -0.0972965990)),
    (1.8170376524, (0.0597131221, -0.0410294666, -0.0101692726)),
    (0.6271432862, (0.0045225817, 0.0086261921, -0.0161633251)),
]
# inertials.yaml: xx, yy, zz, xy, xz, yz [kg m^2], link frame, at the centre of mass
INERTIAS = [
    (0.023927316, 0.022482161, 0.006350098, 0.0000133179, -0.000114047, -0.001995032),
    (0.041938946, 0.025145148, 0.061702144, 0.000202573, 0.004077784, -0.004225215),
    (0.024101425, 0.019740532, 0.019044494, 0.002404694, -0.002856269, -0.002104212),
    (0.034529983, 0.028881621, 0.041254711, 0.013225522, 0.010151429, -0.000976283),
    (0.051610278, 0.047877297, 0.016423625, -0.005715173, -0.003567316, 0.010673985),
    (0.005412333, 0.014058329, 0.016080817, 0.006193456, 0.001421928, -0.001314075),
    (0.000210923, 0.000177185, 0.000059931, -0.0000243329, 0.0000456448, 0.0000874407),
]


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return compile_scene(Scene(items=()))


def test_joint_limits(model):
    for name, (lower, upper, velocity, effort) in zip(robot.JOINT_NAMES, JOINT_LIMITS, strict=True):
        index = robot.JOINT_NAMES.index(name)
        assert tuple(model.joint(name).range) == (lower, upper)
        assert robot.VELOCITY_LIMIT_RAD_S[index] == velocity
        assert tuple(model.actuator(name).forcerange) == (-effort, effort)
        assert tuple(model.actuator(name).ctrlrange) == (lower, upper)


def test_masses_and_inertias(model):
    for index, ((mass_kg, centre), inertia) in enumerate(zip(MASSES, INERTIAS, strict=True)):
        body = model.body(f"fr3_link{index + 1}")
        assert body.mass[0] == pytest.approx(mass_kg, rel=1e-4)
        np.testing.assert_allclose(body.ipos, centre, atol=1e-6)
        xx, yy, zz, xy, xz, yz = inertia
        published = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        frame = np.zeros(9)
        mujoco.mju_quat2Mat(frame, body.iquat)
        ours = frame.reshape(3, 3) @ np.diag(body.inertia) @ frame.reshape(3, 3).T
        np.testing.assert_allclose(ours, published, atol=2e-5)


def test_hand_and_fingers(model):
    assert model.body("fr3_hand").mass[0] == pytest.approx(0.6544)
    for name in robot.FINGER_BODIES:
        assert model.body(name).mass[0] == pytest.approx(0.0291)
    for name in robot.FINGER_JOINT_NAMES:
        assert tuple(model.joint(name).range) == (0.0, 0.04)
    assert robot.GRIPPER_SPEED_LIMIT_M_S <= 0.2  # the fingers' joint limit


def test_home_is_within_limits_and_points_down():
    assert np.all(robot.HOME_RAD > robot.POSITION_LOWER_RAD)
    assert np.all(robot.HOME_RAD < robot.POSITION_UPPER_RAD)
