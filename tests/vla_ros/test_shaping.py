"""Motions from state to state: on time when slow, as fast as allowed when not, braking."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vla_ros import shaping
from vla_ros.limits import FR3_LIMITS
from vla_ros.trajectory import Phase

START = 5_000_000_000
HOME = (FR3_LIMITS.position_lower_rad + FR3_LIMITS.position_upper_rad) / 2


def keeps_limits(trajectory):
    begin, end, jerk = trajectory.polynomials()
    assert np.all(np.abs(trajectory.velocities) <= FR3_LIMITS.allowed_velocity_rad_s)
    assert np.all(np.abs(np.stack([begin, end])) <= FR3_LIMITS.acceleration_rad_s2)
    assert np.all(np.abs(jerk) <= FR3_LIMITS.jerk_rad_s3)
    return True


def test_one_joint_from_rest_to_rest_takes_what_the_formula_says():
    """Seven phases, acceleration and jerk both reached: T = sqrt(4 d / a + (a / j)^2) + a / j."""
    far = HOME.copy()
    far[0] += 0.5
    _, reached_s = shaping.through(Phase.at_rest(HOME), START, far[None], np.zeros(1), FR3_LIMITS)
    a, j = 0.8 * 10.0, 0.8 * 500.0
    assert reached_s[0] == pytest.approx(np.sqrt(4 * 0.5 / a + (a / j) ** 2) + a / j, rel=1e-6)


def test_waypoints_are_reached_at_their_times_when_there_is_time():
    waypoints = HOME + np.outer(np.arange(1, 6) * 0.01, np.ones(7))
    times_s = np.arange(1, 6) * 0.2
    trajectory, reached_s = shaping.through(
        Phase.at_rest(HOME), START, waypoints, times_s, FR3_LIMITS
    )
    np.testing.assert_allclose(reached_s, times_s, atol=1e-9)
    np.testing.assert_allclose(trajectory.positions[[10, 20, 30, 40]], waypoints[:4], atol=1e-6)
    np.testing.assert_array_equal(trajectory.positions[-1], waypoints[-1])
    middle = trajectory.velocities[10:40]
    assert np.all(middle > 0.02)  # it does not stop at every waypoint


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    arrays(float, (4, 7), elements=st.floats(-0.4, 0.4)),
    arrays(float, 7, elements=st.floats(-1.0, 1.0)),
    arrays(float, 7, elements=st.floats(-1.0, 1.0)),
    st.floats(0.001, 0.3),
)
def test_whatever_the_waypoints_the_limits_hold(moves, speed, acceleration, step_s):
    start = Phase(
        HOME,
        speed * 0.97 * FR3_LIMITS.allowed_velocity_rad_s,
        acceleration * 0.79 * FR3_LIMITS.acceleration_rad_s2,
    )
    times_s = np.arange(1, 5) * step_s
    try:
        trajectory, _ = shaping.through(start, START, HOME + moves, times_s, FR3_LIMITS)
    except shaping.ShapingError:
        return
    assert not trajectory.velocities[-1].any()
    reaches_speed = np.abs(start.velocities) + start.accelerations**2 / (2 * 400.0)
    if np.all(reaches_speed <= 0.98 * FR3_LIMITS.allowed_velocity_rad_s):
        assert keeps_limits(trajectory)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(arrays(float, 7, elements=st.floats(-1.0, 1.0)))
def test_braking_is_the_shortest_way_to_rest(speed):
    start = Phase(HOME, speed * 0.97 * FR3_LIMITS.allowed_velocity_rad_s, np.zeros(7))
    trajectory = shaping.stop(start, START, FR3_LIMITS)
    assert keeps_limits(trajectory)
    fastest = np.abs(start.velocities).max()
    a, j = 8.0, 400.0
    shortest_s = fastest / a + a / j if fastest > a**2 / j else 2 * np.sqrt(fastest / j)
    assert (trajectory.end_ns - START) / 1e9 <= shortest_s + 0.0401
    moved = trajectory.positions[-1] - HOME
    assert np.all(moved * start.velocities >= -1e-12)


def turning(first_rad):
    """Joint 0 goes on at 1 rad/s and more, from waypoint to waypoint; joint 1 has to turn."""
    waypoints = np.tile(HOME, (5, 1))
    waypoints[:, 0] += first_rad + 0.1 * np.arange(5)
    return waypoints


def test_a_joint_that_turns_makes_no_other_go_back_for_a_run_up():
    """All joints reach a waypoint together: the others have to be slower, not to go round."""
    waypoints = turning(0.1)
    waypoints[:, 1] += [0.08, 0.1, 0.02, -0.06, -0.14]
    start = Phase(HOME, np.array([1.0, 0.8, 0, 0, 0, 0, 0]), np.zeros(7))
    times_s = np.arange(1, 6) * 0.1
    trajectory, reached_s = shaping.through(start, START, waypoints, times_s, FR3_LIMITS)
    assert np.all(np.diff(trajectory.positions[:, 0]) > 0)
    assert reached_s[-1] < times_s[-1] + 0.3  # 1.2 s with a run-up at the first and third


def test_a_first_waypoint_that_cannot_be_made_in_time_may_be_missed():
    waypoints = turning(0.02)
    waypoints[:, 1] -= 0.004 + 0.01 * np.arange(5)
    start = Phase(HOME, np.array([1.1, 0.05, 0, 0, 0, 0, 0]), np.zeros(7))
    times_s = 0.02 + 0.1 * np.arange(5)

    def lowest_speed_and_times(may_miss_first):
        trajectory, reached_s = shaping.through(
            start, START, waypoints, times_s, FR3_LIMITS, may_miss_first
        )
        assert len(reached_s) == 5
        np.testing.assert_array_equal(trajectory.positions[-1], waypoints[-1])
        return np.diff(trajectory.positions[:, 0]).min(), reached_s

    backward, late_s = lowest_speed_and_times(False)
    forward, reached_s = lowest_speed_and_times(True)
    assert backward < 0 < forward  # to be there at all, it would have to come back
    np.testing.assert_allclose(reached_s[:4], times_s[:4], atol=1e-9)
    assert late_s[-1] > reached_s[-1] + shaping.MISS_GAIN_S


def test_numbers_that_are_none_give_an_error_not_a_motion():
    with pytest.raises(shaping.ShapingError, match="no motion within the limits"):
        shaping.through(Phase.at_rest(HOME * np.nan), START, HOME[None], np.zeros(1), FR3_LIMITS)


def test_nothing_is_asked_of_a_service_on_the_internet():
    """Ruckig's PyPI package computes intermediate waypoints remotely: they are never given."""
    import inspect

    assert "intermediate" not in inspect.getsource(shaping)
