"""What is left of a motion when it goes out: rising times from now on, never nothing."""

import numpy as np
import pytest

from vla_ros import messages
from vla_ros.command import Command
from vla_ros.planning import Motion
from vla_ros.points import arm_points, gripper_points
from vla_ros.trajectory import Trajectory

MS = 1_000_000
ROWS = np.arange(10.0)[:, None] * np.ones(7)
TRAJECTORY = Trajectory(1000 * MS, ROWS, ROWS / 10, np.zeros_like(ROWS))
TIMES = np.array([80, 180, 280]) * MS
ROW_TIMES = np.array([970, 1050, 1150]) * MS
MOTION = Motion(0, TRAJECTORY, TIMES, TIMES, ROW_TIMES, np.array([1.0, 0.5, 0.0]))


@pytest.mark.parametrize(
    ("now_ms", "first", "times_ms"), [(970, 0, 30), (1000, 1, 20), (1029, 2, 11), (1031, 3, 29)]
)
def test_points_count_from_when_they_go_out(now_ms, first, times_ms):
    points = arm_points(TRAJECTORY, round(now_ms * MS))
    np.testing.assert_array_equal(points.positions, ROWS[first:])
    np.testing.assert_array_equal(points.velocities, ROWS[first:] / 10)
    assert points.times_ns[0] == times_ms * MS
    assert np.all(np.diff(points.times_ns) == 20 * MS)


def test_a_motion_that_is_over_still_says_where_it_ended():
    points = arm_points(TRAJECTORY, 10**12)
    np.testing.assert_array_equal(points.positions, ROWS[-1:])
    assert points.times_ns.tolist() == [10 * MS]


def test_until_a_motion_begins_the_points_of_the_old_one_go_along():
    """To the controller the old motion is gone: without them it would find its own way."""
    command = Command()
    command.replace(Trajectory(850 * MS, ROWS, ROWS / 10, np.zeros_like(ROWS)))
    command.replace(TRAJECTORY)
    points = arm_points(TRAJECTORY, 900 * MS, command)
    assert (points.times_ns[:5] // MS).tolist() == [30, 50, 70, 90, 100]  # 10 is too near
    np.testing.assert_allclose(points.positions[:4, 0], [4.0, 5.0, 6.0, 7.0])
    np.testing.assert_array_equal(points.positions[4:], ROWS)


@pytest.mark.parametrize("start_ms", [1000, 1001.5, 1007, 1019.999])
def test_points_are_never_too_near_to_each_other(start_ms):
    command = Command()
    command.replace(Trajectory(800 * MS, ROWS, ROWS / 10, np.zeros_like(ROWS)))
    later = Trajectory(round(start_ms * MS), ROWS, ROWS / 10, np.zeros_like(ROWS))
    command.replace(later)
    points = arm_points(later, 850 * MS, command)
    assert np.diff(points.times_ns).min() >= 2 * MS
    assert np.diff(points.times_ns).max() <= 40 * MS


def test_an_opening_is_wanted_from_its_row_on():
    points = gripper_points(MOTION, 1000 * MS)
    assert points.times_ns.tolist() == [70 * MS, 170 * MS]  # the first is past
    assert gripper_points(MOTION, 970 * MS).positions[:, 0].tolist() == [1.0, 0.5, 0.0]


def test_messages_carry_velocities_and_effort():
    points = arm_points(TRAJECTORY, 1100 * MS)
    message = messages.joint_trajectory(
        [f"j{i}" for i in range(7)],
        points.times_ns,
        points.positions,
        velocities=points.velocities,
        effort=12.0,
    )
    assert len(message.points) == 4
    assert list(message.points[0].velocities) == pytest.approx([0.6] * 7)
    assert list(message.points[0].effort) == [12.0] * 7
    assert messages.to_ns(message.points[0].time_from_start) == 20 * MS
    bare = messages.joint_trajectory(["j"], np.array([1]), np.zeros((1, 1)))
    assert not bare.points[0].velocities
    assert not bare.points[0].effort
