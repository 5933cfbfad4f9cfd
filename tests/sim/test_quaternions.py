"""Against SciPy's rotations, to the bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from sim import kinematics, quaternions, robot

angle = st.floats(-np.pi, np.pi)
turns = st.builds(lambda *rpy: Rotation.from_euler("xyz", rpy), angle, angle, angle)


@settings(deadline=None, max_examples=300)
@given(rotation=turns)
def test_of_a_matrix(rotation):
    matrix = rotation.as_matrix()
    expected = Rotation.from_matrix(matrix)
    quaternion = quaternions.from_matrix(matrix.ravel())
    np.testing.assert_array_equal(quaternion, expected.as_quat())
    np.testing.assert_array_equal(
        quaternions.canonical(quaternion), expected.as_quat(canonical=True, scalar_first=True)
    )


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("half_turns", [0, 1, -1])
def test_none_and_half_turns(axis, half_turns):
    """Where w is 0 or two ways through the formula meet."""
    vector = np.zeros(3)
    vector[axis] = np.pi * half_turns
    matrix = np.round(Rotation.from_rotvec(vector).as_matrix())
    expected = Rotation.from_matrix(matrix)
    quaternion = quaternions.from_matrix(matrix.ravel())
    np.testing.assert_array_equal(quaternion, expected.as_quat())
    np.testing.assert_array_equal(
        quaternions.canonical(quaternion), expected.as_quat(canonical=True, scalar_first=True)
    )


def test_of_the_arms_own_matrices():
    """MuJoCo's are orthogonal to rounding, which SciPy takes as they are."""
    rng, arm = np.random.default_rng(0), kinematics.Kinematics()
    for _ in range(200):
        arm.forward(rng.uniform(robot.POSITION_LOWER_RAD, robot.POSITION_UPPER_RAD))
        matrix = arm._tool_matrix[arm._tool]
        np.testing.assert_array_equal(
            quaternions.from_matrix(matrix), Rotation.from_matrix(matrix.reshape(3, 3)).as_quat()
        )


@settings(deadline=None, max_examples=300)
@given(rotation=turns, roll_pitch_yaw=st.tuples(angle, angle, angle))
def test_displaced(rotation, roll_pitch_yaw):
    turned = quaternions.displaced(tuple(rotation.as_quat()), np.array(roll_pitch_yaw))
    expected = kinematics.displaced(rotation, np.array(roll_pitch_yaw))
    np.testing.assert_array_equal(turned, expected.as_quat())
