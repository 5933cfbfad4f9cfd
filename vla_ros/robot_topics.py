"""Topics that a robot's file may name: the robot's own, not the graph's and no action's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vla_ros import topics
from vla_ros.errors import RobotError

ROS_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)  # one part of a topic's name
TOPIC_NAME = re.compile(rf"/?{ROS_NAME.pattern}(/{ROS_NAME.pattern})*", re.ASCII)
TOPICS = {  # what a robot's file may call differently
    "joint_states": topics.JOINT_STATES,
    "arm_command": topics.ARM_COMMAND,
    "gripper_command": topics.GRIPPER_COMMAND,
    "twist_command": topics.TWIST_COMMAND,
}
OF_THE_GRAPH = {  # names of its own topics and services
    value for value in vars(topics).values() if isinstance(value, str) and value.startswith("/")
} - set(TOPICS.values())
ACTIONS = {"follow_joint_trajectory", "_action"}  # parts of an action's name


def check_topics(named: Mapping[str, Any], cameras: Mapping[str, Any]) -> None:
    """Raises `RobotError` for what cannot be meant."""
    _check_names("topics", named)
    _check_names("cameras", cameras)
    for key, topic in named.items():
        if not ACTIONS.isdisjoint(topic.split("/")):
            raise RobotError(
                f"topics: {key}: expected a topic, got {topic!r}, the name of an action, where no "
                f"topic listens; a controller's is /CONTROLLER/joint_trajectory"
            )
    # What the file does not name is called as usual, and is heard, too.
    _check_different("topics", {**TOPICS, **named})
    _check_different("cameras", cameras)
    robots = {_absolute(topic): key for key, topic in {**TOPICS, **named}.items()}
    for camera, topic in cameras.items():
        if _absolute(topic) in robots:
            key = robots[_absolute(topic)]
            raise RobotError(f"cameras: {camera}: expected a camera's topic, got {topic!r} ({key})")


def _check_names(name: str, section: Mapping[str, Any]) -> None:
    for key, topic in section.items():
        if not (isinstance(topic, str) and TOPIC_NAME.fullmatch(topic)):
            raise RobotError(f"{name}: {key}: expected a topic's name, got {topic!r}")
        if _absolute(topic) in OF_THE_GRAPH:
            raise RobotError(
                f"{name}: {key}: expected a topic of the robot's drivers, got {topic!r}, which is "
                f"the graph's own"
            )


def _check_different(name: str, section: Mapping[str, str]) -> None:
    if len({_absolute(topic) for topic in section.values()}) < len(section):
        raise RobotError(f"{name}: expected a topic of its own for each, got {dict(section)}")


def _absolute(topic: str) -> str:
    return f"/{topic.lstrip('/')}"
