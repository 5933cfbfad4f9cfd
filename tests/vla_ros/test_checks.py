"""The last look at a trajectory: the workspace, side by side."""

from dataclasses import replace

import numpy as np
import pytest

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
