"""The gripper's force limit reaches the simulated fingers."""

import numpy as np
import pytest

from sim import robot
from vla_ros.simulation import Simulation

S = 1_000_000_000


@pytest.mark.parametrize(
    ("effort_n", "most_n"),
    [(5.0, 5.0), (1000.0, robot.FINGER_EFFORT_N), (np.nan, 25.0), (-1.0, 25.0)],
)
def test_fingers_press_with_at_most_the_effort_that_is_allowed(effort_n, most_n):
    simulation = Simulation("Lift", 0, S)
    simulation.limit_grip(effort_n)
    ranges = [simulation.world.model.actuator(n).forcerange for n in robot.FINGER_JOINT_NAMES]
    np.testing.assert_array_equal(ranges, [[-most_n, most_n]] * 2)
    simulation.close()


def test_the_next_episode_begins_with_the_fingers_own_limit():
    simulation = Simulation("Lift", 0, S)
    simulation.limit_grip(5.0)
    simulation.start_episode("Lift", 1, S)
    assert simulation.world.model.actuator(robot.FINGER_JOINT_NAMES[0]).forcerange[1] == 25.0
    simulation.close()
