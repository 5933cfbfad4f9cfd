"""The tool's pose in words, as somebody with a ruler checks it."""

import warnings

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vla_ros.tool_pose import UNKNOWN, tool_pose


class Held:
    """A body whose tool is where it is held."""

    def __init__(self, position, rotation):
        self._pose = (np.array(position), rotation)

    def forward(self, _joints):
        return self._pose


@pytest.mark.parametrize("degrees", [(0, 0, 90), (20, -40, 110), (-170, 80, -5), (30, 90, 0)])
def test_roll_pitch_and_yaw_turn_the_tool_to_where_it_is(degrees):
    rotation = Rotation.from_euler("xyz", degrees, degrees=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # also where the pitch is a right angle
        said = tool_pose(Held((0.45, -0.0001, 0.3), rotation), np.zeros(7))
    assert said["tool_m"] == "0.450 0.000 0.300"
    angles = [float(each) for each in said["tool_roll_pitch_yaw_deg"].split()]
    again = Rotation.from_euler("xyz", angles, degrees=True)
    assert np.rad2deg((again * rotation.inv()).magnitude()) < 0.2


def test_without_joints_nobody_knows():
    assert set(tool_pose(Held((0, 0, 0), Rotation.identity()), None).values()) == {UNKNOWN}
