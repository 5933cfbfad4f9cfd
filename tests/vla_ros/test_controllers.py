"""The simulated joint_trajectory_controller: interpolates, replaces, holds, refuses."""

import numpy as np
import pytest

from vla_ros.controllers import TrajectoryError, TrajectoryFollower

S = 1_000_000_000
NOW = 100 * S


def follower():
    return TrajectoryFollower(("a", "b"), np.array([-1.0, -2.0]), np.array([1.0, 2.0]))


def test_it_interpolates_from_where_the_command_stands_and_holds_the_end():
    it = follower()
    it.accept(["a", "b"], [(S, [1.0, 0.0]), (2 * S, [1.0, 2.0])], 0, NOW, np.array([0.0, 0.0]))
    np.testing.assert_allclose(it.sample(NOW), [0, 0])
    np.testing.assert_allclose(it.sample(NOW + S // 2), [0.5, 0])
    np.testing.assert_allclose(it.sample(NOW + 3 * S // 2), [1, 1])
    np.testing.assert_allclose(it.sample(NOW + 99 * S), [1, 2])


def test_joints_come_by_name():
    it = follower()
    it.accept(["b", "a"], [(S, [2.0, -1.0])], 0, NOW, np.zeros(2))
    np.testing.assert_allclose(it.sample(NOW + S), [-1, 2])


def test_a_new_trajectory_replaces_the_running_one():
    it = follower()
    it.accept(["a", "b"], [(S, [1.0, 0.0])], 0, NOW, np.zeros(2))
    half = NOW + S // 2
    it.accept(["a", "b"], [(S, [0.0, 0.0])], 0, half, it.sample(half))
    np.testing.assert_allclose(it.sample(half), [0.5, 0])
    np.testing.assert_allclose(it.sample(half + S), [0, 0])


def test_points_in_the_past_are_skipped():
    it = follower()
    points = [(S, [0.5, 0.0]), (3 * S, [1.0, 0.0])]
    it.accept(["a", "b"], points, NOW - 2 * S, NOW, np.zeros(2))
    np.testing.assert_allclose(it.sample(NOW + S // 2), [0.5, 0])
    np.testing.assert_allclose(it.sample(NOW + S), [1, 0])


def test_nothing_is_commanded_before_the_first_trajectory_and_after_clear():
    it = follower()
    assert it.sample(NOW) is None
    it.accept(["a", "b"], [(S, [0.5, 0.0])], 0, NOW, np.zeros(2))
    it.clear()
    assert it.sample(NOW) is None


@pytest.mark.parametrize(
    ("names", "points", "start", "reason"),
    [
        (["a", "b"], [], 0, "at least one point"),
        (["a", "c"], [(S, [0, 0])], 0, r"joint_names: expected \['a', 'b'\].*got \['a', 'c'\]"),
        (["a"], [(S, [0])], 0, "joint_names"),
        (["a", "b"], [(S, [0])], 0, "one position for each of 2 names, got 1"),
        (["a", "b"], [(S, [0, np.nan])], 0, "finite"),
        (["a", "b"], [(S, [0, 2.5])], 0, "b: expected -2 to 2, got 2.5 in point 0"),
        (["a", "b"], [(S, [0, 0]), (S, [0, 0])], 0, "rising times"),
        (["a", "b"], [(S, [0, 0])], NOW - 2 * S, "ended 1000 ms ago"),
    ],
)
def test_malformed_trajectories_are_refused_and_change_nothing(names, points, start, reason):
    it = follower()
    with pytest.raises(TrajectoryError, match=reason):
        it.accept(names, points, start, NOW, np.zeros(2))
    assert it.sample(NOW) is None


def test_with_velocities_it_follows_cubic_polynomials():
    """Through (0, 0), (1 s, 0.5 rad) with 0 and 1.0 rad/s there: q = t^2 / 2, by hand."""
    it = follower()
    points = [(S, [0.5, 0.0]), (2 * S, [1.0, 0.0])]
    it.accept(["a", "b"], points, 0, NOW, np.zeros(2), [[1.0, 0.0], [0.0, 0.0]])
    for share in (0.25, 0.5, 0.75):
        np.testing.assert_allclose(it.sample(NOW + round(share * S)), [share**2 / 2, 0])
    np.testing.assert_allclose(it.sample(NOW + 99 * S), [1.0, 0.0])


def test_a_new_trajectory_goes_on_with_the_speed_of_the_old_one():
    it = follower()
    points = [(S, [0.5, 0.0]), (2 * S, [1.0, 0.0])]
    it.accept(["a", "b"], points, 0, NOW, np.zeros(2), [[1.0, 0.0], [0.0, 0.0]])
    half = NOW + S // 2
    it.accept(["a", "b"], [(S, [0.9, 0.0])], 0, half, it.sample(half), [[0.0, 0.0]])
    before, after = it.sample(half), it.sample(half + S // 1000)
    assert (after - before)[0] * 1000 == pytest.approx(0.5, rel=1e-2)


@pytest.mark.parametrize(
    ("velocities", "reason"),
    [
        ([[0.0, 0.0], [0.0, 0.0]], "velocities: expected a row for each of 1 points, got 2"),
        ([[0.0]], "velocities: .*one position for each of 2 names"),
        ([[np.nan, 0.0]], "velocities: .*finite"),
        ([[1e300, 0.0]], r"velocities: expected at most 100, got 1e\+300"),
    ],
)
def test_velocities_that_do_not_fit_are_refused(velocities, reason):
    it = follower()
    with pytest.raises(TrajectoryError, match=reason):
        it.accept(["a", "b"], [(S, [0, 0])], 0, NOW, np.zeros(2), velocities)
    assert it.sample(NOW) is None


def test_times_that_seconds_cannot_tell_apart_are_refused():
    it = follower()
    far = (2**31 - 1) * S
    points = [(far, [0.0, 0.0]), (far + 1, [0.0, 0.0])]
    with pytest.raises(TrajectoryError, match="time_from_start: .*increasing"):
        it.accept(["a", "b"], points, 0, NOW, np.zeros(2), [[0.1, 0.0], [0.0, 0.0]])
    assert it.sample(NOW) is None


def test_a_clock_set_back_leaves_the_command_where_the_trajectory_began():
    it = follower()
    it.accept(["a", "b"], [(S, [0.5, 0.0])], 0, NOW, np.array([0.1, 0.0]), [[0.0, 0.0]])
    np.testing.assert_allclose(it.sample(NOW - 60 * S), [0.1, 0.0])
