"""Which trajectory is in force when, and for how long there was none."""

import numpy as np
import pytest

from vla_ros import shaping
from vla_ros.command import Command
from vla_ros.limits import FR3_LIMITS
from vla_ros.trajectory import Phase

MS = 1_000_000
HOME = np.zeros(7) + [0, 0, 0, -1.5, 0, 2, 0]


def move(start_ns, offset=0.1, start=HOME):
    target = (start + offset)[None]
    return shaping.through(Phase.at_rest(start), start_ns, target, np.zeros(1), FR3_LIMITS)[0]


def test_before_anything_there_is_nothing():
    command = Command()
    assert command.running is None
    assert command.end_ns == 0
    assert command.behind_ns(0, 500) == 500
    with pytest.raises(LookupError):
        command.at(5)


def test_each_is_in_force_until_the_next_begins():
    command, first, second = Command(), move(0), move(100 * MS, -0.1)
    command.replace(first)
    command.replace(second)
    assert command.running is second
    np.testing.assert_array_equal(command.at(60 * MS).positions, first.positions[3])
    np.testing.assert_array_equal(command.at(160 * MS).positions, second.positions[3])
    np.testing.assert_array_equal(command.at(10**12).positions, second.positions[-1])


def test_one_that_never_came_into_force_is_forgotten():
    command, first, never, stop = Command(), move(0), move(50 * MS), move(40 * MS)
    for trajectory in (first, never, stop):
        command.replace(trajectory)
    assert command.running is stop
    np.testing.assert_array_equal(command.at(60 * MS).positions, stop.at(60 * MS).positions)


def test_time_in_which_the_arm_stands_or_falls_behind_is_counted():
    command, first = Command(), move(100 * MS)
    # At its two poses after 100 and 300 ms, where it should be after 100 and 200 ms.
    command.replace(first, np.array([100, 300]) * MS, np.array([100, 200]) * MS)
    assert command.behind_ns(0, 50 * MS) == 50 * MS  # nothing to follow yet
    assert command.behind_ns(0, 150 * MS) == 100 * MS
    assert command.behind_ns(120 * MS, 200 * MS) == 0  # in time
    assert command.behind_ns(200 * MS, 400 * MS) == 100 * MS  # half as fast as wanted
    assert command.behind_ns(400 * MS, 600 * MS) == 200 * MS  # it has arrived
    command.replace(shaping.standing(first.positions[-1], 300 * MS))
    assert command.behind_ns(100 * MS, 600 * MS) == 350 * MS


def test_a_late_first_pose_is_no_more_progress_than_there_was_time():
    command = Command()
    command.replace(move(0), np.array([1, 300]) * MS, np.array([50, 200]) * MS)
    assert command.behind_ns(0, 1 * MS) == 0
