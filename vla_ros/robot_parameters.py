"""The parameters by which nodes learn which robot they serve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rclpy.logging import get_logger

from vla_ros.errors import UserError
from vla_ros.robots import Robot, RobotError, load_robot
from vla_ros.runtime import Parameter

ROBOT_PARAMETERS = (
    Parameter("robot", "fr3", "Name of a robot in config/robots/, or a YAML file like those"),
    Parameter("description", "", "URDF or MJCF file in place of the robot's own; empty: its own"),
)


def robot_of(values: Mapping[str, Any]) -> Robot:
    """The robot of the parameters; what is not checked with it is logged. Raises `UserError`."""
    try:
        robot = load_robot(values["robot"], values["description"])
    except RobotError as error:
        raise UserError(str(error)) from error
    for note in robot.notes:
        get_logger("robot").warning(note)
    return robot
