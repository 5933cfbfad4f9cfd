"""Chunks become joint motions in time, within limits, or are refused with the reason."""

from dataclasses import replace

import numpy as np
import pytest

from policies.interface import ActionError
from sim import robot
from sim.kinematics import Kinematics
from vla_ros.planning import FR3_LIMITS, PoseChunk, plan

MS = 1_000_000
NOW = 50_000_000_000
KINEMATICS = Kinematics()
HOME = robot.HOME_RAD
HOME_POSITION, HOME_ROTATION = KINEMATICS.forward(HOME)
DOWN = HOME_ROTATION.as_quat(scalar_first=True)


def chunk(offsets, age_ms=0.0, step_ms=100, **changes):
    """Poses at `offsets` (k, 3) [m] from the home pose, observed `age_ms` before now."""
    offsets = np.atleast_2d(np.asarray(offsets, dtype=float))
    count = len(offsets)
    values = {
        "stamp_ns": NOW - round(age_ms * MS),
        "times_ns": np.arange(1, count + 1) * step_ms * MS,
        "positions": HOME_POSITION + offsets,
        "quaternions": np.tile(DOWN, (count, 1)),
        "gripper": np.ones(count),
    }
    return PoseChunk(**(values | changes))


def motion(what, limits=FR3_LIMITS):
    return plan(what, HOME, NOW, limits, KINEMATICS)


def test_the_motion_ends_where_the_chunk_says():
    result = motion(chunk([[0.02, -0.01, 0.03], [0.04, -0.02, 0.05]]))
    for joints, offset in zip(
        result.joints, [[0.02, -0.01, 0.03], [0.04, -0.02, 0.05]], strict=True
    ):
        position, rotation = KINEMATICS.forward(joints)
        np.testing.assert_allclose(position, HOME_POSITION + offset, atol=2e-3)
        assert (rotation * HOME_ROTATION.inv()).magnitude() < 0.02
    np.testing.assert_array_equal(result.times_ns, [100 * MS, 200 * MS])
    assert result.notes == ()


def test_poses_in_the_past_are_dropped_and_the_rest_stays_on_its_time():
    offsets = [[0.01 * i, 0, 0] for i in range(1, 6)]
    result = motion(chunk(offsets, age_ms=250))  # ends at -150, -50, 50, 150, 250 ms
    assert len(result.joints) == 3
    # The first is nearer than the shortest horizon: all shift, none is squeezed.
    np.testing.assert_array_equal(result.times_ns, [100 * MS, 200 * MS, 300 * MS])
    position, _ = KINEMATICS.forward(result.joints[0])
    np.testing.assert_allclose(position, HOME_POSITION + [0.03, 0, 0], atol=2e-3)


@pytest.mark.parametrize("age_ms", [20, 90, 150, 400])
def test_a_single_late_pose_is_still_the_newest_target(age_ms):
    result = motion(chunk([0.02, 0, 0], age_ms=age_ms))
    np.testing.assert_array_equal(result.times_ns, [100 * MS])
    assert result.stamp_ns == NOW - age_ms * MS


def test_a_fast_motion_is_slowed_to_the_joints_speed_limits():
    result = motion(chunk([0.08, 0.08, 0.08], step_ms=20), replace(FR3_LIMITS, horizon_s=0.02))
    speed = np.abs(result.joints[0] - HOME) / (result.times_ns[0] / 1e9)
    assert np.all(speed <= 0.9 * robot.VELOCITY_LIMIT_RAD_S + 1e-6)
    assert "slowed" in result.notes[0]


def test_the_tool_keeps_its_own_speed_limit():
    result = motion(chunk([0, 0.05, 0]), replace(FR3_LIMITS, speed_m_s=0.1))
    assert result.times_ns[0] == pytest.approx(500 * MS, rel=1e-6)


def test_a_pose_a_little_outside_the_workspace_is_moved_inside():
    limits = replace(FR3_LIMITS, workspace_high_m=(0.78, 0.45, float(HOME_POSITION[2]) + 0.01))
    result = motion(chunk([0, 0, 0.05]), limits)
    position, _ = KINEMATICS.forward(result.joints[0])
    assert position[2] == pytest.approx(HOME_POSITION[2] + 0.01, abs=2e-3)
    assert "moved 40 mm back into the workspace" in result.notes[0]


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (chunk([0.02, 0, np.nan]), "positions: expected finite numbers"),
        (chunk([0.02, 0, 0], quaternions=np.full((1, 4), np.inf)), "quaternions: expected finite"),
        (chunk([0.02, 0, 0], gripper=np.array([np.nan])), "gripper: expected finite"),
        (chunk([0.02, 0, 0], gripper=np.array([3.0])), "opening from 0 to 1"),
        (chunk([0.02, 0, 0], quaternions=np.ones((1, 4))), "unit length"),
        (chunk([0.02, 0, 0], times_ns=np.array([0])), "rising times"),
        (chunk([[0.02, 0, 0]] * 2, times_ns=np.array([MS, MS])), "rising times"),
        (chunk([0.02, 0, 0], gripper=np.ones(2)), "gripper: expected shape"),
        (chunk([0, 0.3, 0]), "0.30 m from the one before; at most 0.20 m expected"),
        (chunk([0, 0, 0.9]), "outside the workspace"),
    ],
)
def test_what_no_robot_should_do_is_refused(what, reason):
    with pytest.raises(ActionError, match=reason):
        motion(what)


def test_a_pose_out_of_reach_is_refused():
    limits = replace(FR3_LIMITS, workspace_high_m=(2.0, 2.0, 2.0), step_m=2.0, joint_step_rad=9.0)
    with pytest.raises(ActionError, match="out of reach: inverse kinematics leaves"):
        motion(chunk([0.9, 0, 0.3]), limits)


def test_joints_stay_within_their_limits_at_the_edge():
    tight = replace(FR3_LIMITS, position_upper_rad=HOME + 0.001, reach_error_m=0.5)
    assert np.all(motion(chunk([0.05, 0, 0]), tight).joints <= HOME + 0.001)
