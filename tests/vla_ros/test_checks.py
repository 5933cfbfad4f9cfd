"""The last look at a trajectory: the workspace, side by side."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.interpolate import CubicHermiteSpline
from scipy.spatial.transform import Rotation

from sim import robot
from vla_ros.body import Body
from vla_ros.checks import violations
from vla_ros.limits import FR3_LIMITS, Box
from vla_ros.shaping import through
from vla_ros.trajectory import Phase

BODY = Body()
HOME = robot.HOME_RAD
TOOL, _ = BODY.forward(HOME)


def from_outside(turn_rad):
    """(limits, a motion of the first joint by `turn_rad`): 15 cm outside in x, at a side in y."""
    low = (TOOL[0] + 0.15, -0.45, 0.0)
    limits = replace(FR3_LIMITS, workspace=Box(low, (TOOL[0] + 1.0, TOOL[1] + 0.01, 1.0)))
    target = HOME + turn_rad * np.eye(7)[0]
    trajectory, _ = through(Phase.at_rest(HOME), 0, target[None], np.ones(1), limits)
    return limits, trajectory


def test_who_is_outside_on_one_side_may_not_leave_on_another():
    limits, trajectory = from_outside(0.2)  # y grows by 10 cm: beyond the high side
    (found,) = violations(trajectory, limits, BODY)
    assert found.limit == "out of the workspace" and found.detail == "high y"
    moved, _ = BODY.forward(trajectory.positions[-1])
    assert found.found == pytest.approx(moved[1] - TOOL[1] - 0.01, abs=1e-3)


def test_who_is_outside_may_move_along_that_side():
    limits, trajectory = from_outside(-0.05)
    assert violations(trajectory, limits, BODY) == []


def turned_by(joints_rad):
    """From rest to rest in the shortest time."""
    target = HOME + np.asarray(joints_rad)
    return through(Phase.at_rest(HOME), 0, target[None], np.array([0.01]), FR3_LIMITS)[0]


def found_of(trajectory, **changes):
    limits = replace(FR3_LIMITS, **changes)
    return {each.limit: each for each in violations(trajectory, limits, BODY)}


def test_the_tools_turning_is_that_of_a_joint_that_turns_it_alone():
    """By hand: the last joint's axis is the tool's."""
    trajectory = turned_by([0, 0, 0, 0, 0, 0, 0.5])
    begin, end, jerk = (np.abs(each[:, 6]).max() for each in trajectory.polynomials())
    assert found_of(trajectory) == {}
    found = found_of(trajectory, turn_rad_s2=3.0, turn_rad_s3=50.0)
    assert set(found) == {"tool turning acceleration", "tool turning jerk"}
    acceleration, third = found["tool turning acceleration"], found["tool turning jerk"]
    assert acceleration.found == pytest.approx(max(begin, end), rel=1e-3)
    assert (acceleration.order, acceleration.allowed, acceleration.unit) == (2, 3.0, "rad/s^2")
    assert 0.5 * jerk < third.found <= jerk * 1.001  # differences of samples
    assert (third.order, third.allowed, third.unit) == (3, 50.0, "rad/s^3")


def test_joints_together_turn_the_tool_harder_than_an_fr3_allows():
    """Three about one axis, each within its own 10 rad/s^2; the tool's 17 are published, too."""
    trajectory = turned_by([0, 0.3, 0, -0.3, 0, -0.3, 0])
    found = found_of(trajectory, turn_rad_s=20.0)["tool turning acceleration"]
    spline = CubicHermiteSpline(
        trajectory.times_ns / 1e9, trajectory.positions, trajectory.velocities
    )
    step_s = 5e-4
    rows = spline(np.arange(0.0, trajectory.end_ns / 1e9, step_s))
    turns = Rotation.concatenate([BODY.forward(joints)[1] for joints in rows])
    rates = (turns[1:] * turns[:-1].inv()).as_rotvec() / step_s
    largest = np.linalg.norm(np.diff(rates, axis=0), axis=1).max() / step_s
    assert found.found == pytest.approx(largest, rel=0.02)
    assert found.found > 17.0
