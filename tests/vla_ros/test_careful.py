"""`careful.yaml` and `first_motion.yaml` make every robot slower, and take none of its space."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import yaml

from policies.interface import ActionError
from vla_ros import executor_node, robot_graph
from vla_ros.body import Body
from vla_ros.limit_parameters import LIMIT_PARAMETERS, limits_of
from vla_ros.planning import Begin, PoseChunk, plan
from vla_ros.robots import known_robots, load_robot
from vla_ros.trajectory import Phase

CONFIG = Path(__file__).parents[2] / "config"
FILES = {name: CONFIG / f"{name}.yaml" for name in ("careful", "first_motion")}
GIVEN = {
    name: yaml.safe_load(file.read_text())["executor_node"]["ros__parameters"]
    for name, file in FILES.items()
}
DEFAULTS = {parameter.name: parameter.default for parameter in executor_node.PARAMETERS}
LIMITS = {parameter.name for parameter in LIMIT_PARAMETERS}
MS = 1_000_000
DIRECTIONS = [sign * axis for axis in np.eye(3) for sign in (-1, 1)]


each_file = pytest.mark.parametrize("file", FILES)


def slowed(robot, file):
    return limits_of(DEFAULTS | GIVEN[file], robot.limits)


def possible(robot, limits, direction):
    """Whether the tool may go 3 cm from where it is at home, as the executor decides it."""
    body = Body(robot.arm, limits.keep_out, limits.clearance_m)
    home = robot.arm.home_rad
    position, rotation = body.forward(home)
    count = 8
    steps = np.outer(np.arange(1, count + 1) / count * 0.03, direction)
    chunk = PoseChunk(
        0,
        np.arange(1, count + 1) * 100 * MS,
        position + steps,
        np.tile(rotation.as_quat(scalar_first=True), (count, 1)),
        np.ones(count),
    )
    try:
        motion = plan(chunk, Begin(0, Phase.at_rest(home)), limits, body)
    except ActionError:
        return False
    reached, _ = body.forward(motion.trajectory.positions[-1])
    return bool(np.linalg.norm(reached - (position + steps[-1])) < limits.reach_error_m)


@each_file
@pytest.mark.parametrize("name", known_robots())
def test_the_arm_moves_about_its_home_wherever_its_own_file_lets_it(name, file):
    robot = load_robot(name)
    own = [possible(robot, robot.limits, direction) for direction in DIRECTIONS]
    assert sum(own) >= 3
    assert [possible(robot, slowed(robot, file), direction) for direction in DIRECTIONS] == own


@each_file
@pytest.mark.parametrize("name", known_robots())
def test_it_only_makes_slower_and_leaves_the_boxes_to_the_robots_file(name, file):
    own = load_robot(name).limits
    slower = slowed(load_robot(name), file)
    for field in fields(own):
        if field.name in ("velocity_fraction", "speed_m_s"):
            assert getattr(slower, field.name) < getattr(own, field.name)
        else:
            np.testing.assert_equal(getattr(slower, field.name), getattr(own, field.name))
    assert GIVEN[file]["soft_start_s"] > DEFAULTS["soft_start_s"]


@each_file
def test_what_it_gives_are_parameters_that_there_are(file):
    assert set(GIVEN[file]) <= set(DEFAULTS)
    assert set(GIVEN[file]) - LIMITS == {"soft_start_s"}


def test_the_first_motion_is_the_slowest():
    for name in ("velocity_fraction", "speed_m_s"):
        assert GIVEN["first_motion"][name] < GIVEN["careful"][name]


@each_file
@pytest.mark.parametrize("name", known_robots())
def test_the_launch_file_takes_it_with_every_robot(name, file):
    graph = robot_graph.describe({"robot": name, "config": str(FILES[file])})
    assert graph.parameter_files == (str(FILES[file]),)
    assert not set(GIVEN[file]) & set(graph.nodes[0].parameters)
