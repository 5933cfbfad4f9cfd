"""Fingers that are told to move while the arm holds are found, and nothing else is."""

import numpy as np
import pytest

from sim.kinematics import Kinematics
from vla_ros.faults.monitor import CommandMonitor, JointCommand, worst
from vla_ros.limits import FR3_LIMITS
from vla_ros.robots import FR3

MS = 1_000_000
NOW = 10**12
OPEN, CLOSED = 0.04, 0.0


@pytest.fixture
def monitor():
    return CommandMonitor(FR3, Kinematics().forward, FR3_LIMITS)


def tell(monitor, at_ms, *points):
    """The fingers, as points of (time [ms], position [m])."""
    times = np.array([time_ms for time_ms, _ in points]) * MS
    rows = [[value, value] for _, value in points]
    empty = [[] for _ in points]
    sent = JointCommand(FR3.gripper.joints, times, rows, empty, empty, NOW + at_ms * MS)
    assert worst(monitor.gripper(sent)) is None


def hear(monitor, begin_ms, end_ms, rests=True):
    """What is found while the state is told ten times a second."""
    told = [monitor.state(rests, NOW + ms * MS) for ms in range(begin_ms, end_ms, 100)]
    return [found.limit for found in map(worst, told) if found]


def test_what_is_still_to_come_when_the_arm_holds_is_found_once(monitor):
    tell(monitor, 0, (500, OPEN), (600, CLOSED))
    assert hear(monitor, 0, 200, rests=False) == []
    assert hear(monitor, 200, 2000) == ["fingers move while the arm holds"]


def test_an_opening_that_is_told_while_the_arm_holds_is_found(monitor):
    tell(monitor, 0, (20, CLOSED))
    assert hear(monitor, 100, 1000) == []
    tell(monitor, 1005, (500, OPEN))
    assert hear(monitor, 1100, 2000) == ["fingers move while the arm holds"]


def test_fingers_that_are_told_to_stay_are_not_found_though_that_is_heard_late(monitor):
    tell(monitor, 0, (300, OPEN), (500, CLOSED))
    assert worst(monitor.state(True, NOW + 401 * MS)) is None
    assert worst(monitor.state(True, NOW + 405 * MS)) is None
    tell(monitor, 400, (20, 0.02))
    assert hear(monitor, 500, 2000) == []


def test_the_next_motion_moves_them(monitor):
    tell(monitor, 0, (20, CLOSED))
    assert hear(monitor, 100, 1000) == []
    tell(monitor, 1005, (20, CLOSED), (500, OPEN))
    assert hear(monitor, 1020, 2000, rests=False) == []
