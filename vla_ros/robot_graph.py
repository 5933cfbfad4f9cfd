"""The graph beside a real robot, for `launch/robot.launch.py`: the executor, and who drives it.

The robot's own drivers bring joint states, cameras and controllers; `vla_ros.robots` says what they
are called there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from policies.factory import DEFAULT_POLICY
from vla_ros import topics
from vla_ros.errors import UserError
from vla_ros.graph import (
    Argument,
    Graph,
    NodeDescription,
    check_choices,
    configured,
    independent_environment,
)
from vla_ros.robots import FR3, TOPICS, Robot, RobotError, load_robot

OUTPUTS = ("trajectory", "twist")  # as in `vla_ros.executor_node`, which needs ROS
DRIVERS = ("policy", "teleop")  # never both: each sends chunks
ARGUMENTS = (
    Argument("robot", "fr3", "Name of a robot in config/robots/, or a YAML file like those"),
    Argument("description", "", "URDF or MJCF file of the robot with its tool; empty: its file's"),
    Argument(
        "policy", DEFAULT_POLICY, "Name of a policy that ships here, a folder, or ws://host:port"
    ),
    Argument("device", "cpu", "Where the policy runs: cpu, cuda or cuda:<index>"),
    Argument("output", OUTPUTS[0], "To a joint_trajectory_controller or MoveIt Servo", OUTPUTS),
    Argument(
        "driver",
        DRIVERS[0],
        "Who moves the arm: the policy, or an operator on /teleop/twist (FR3 only)",
        DRIVERS,
    ),
    Argument("config", "", "YAML file whose parameters override the nodes' defaults; empty: none"),
)


def describe(choices: Mapping[str, str] | None = None, cores: int | None = None) -> Graph:
    """The graph for the user's `choices`; raises `UserError` for one that does not exist."""
    values = check_choices(ARGUMENTS, choices or {})
    try:
        robot = load_robot(values["robot"], values["description"])
    except RobotError as error:
        raise UserError(str(error)) from error
    which = {"robot": values["robot"], "description": values["description"]}
    renamed = remappings(robot)
    threads = str(max(1, min((cores or os.cpu_count() or 1) - 1, 8)))
    nodes = (
        NodeDescription(
            "executor_node",
            "executor_node",
            "vla_ros.executor_node",
            {**which, "output": values["output"]},
            renamed,
            {"OMP_NUM_THREADS": "1", **independent_environment()},
        ),
        _operator(robot, which, renamed)
        if values["driver"] == "teleop"
        else NodeDescription(
            "policy_node",
            "policy_node",
            "vla_ros.policy_node",
            {
                **which,
                "policy": values["policy"],
                "device": values["device"],
                "image_size_px": 0,
                "autostart": True,
            },
            renamed,
            {"OMP_NUM_THREADS": threads},
        ),
    )
    return configured(nodes, values)


def _operator(
    robot: Robot, which: Mapping[str, str], renamed: tuple[tuple[str, str], ...]
) -> NodeDescription:
    if robot.joint_names != FR3.joint_names:
        raise UserError(
            f"driver: teleop: expected the FR3, the only arm that it has been tried with, "
            f"got {robot.name}"
        )
    return NodeDescription(
        "teleop_node",
        "teleop_node",
        "vla_ros.teleop_node",
        dict(which),
        remappings=renamed,
        environment={"OMP_NUM_THREADS": "1"},
    )


def remappings(robot: Robot) -> tuple[tuple[str, str], ...]:
    """(our name, the robot's) of every topic that is called differently there."""
    names = {TOPICS[key]: name for key, name in robot.topics.items()}
    names |= {topics.image_topic(camera): name for camera, name in robot.cameras.items()}
    return tuple((ours, theirs) for ours, theirs in names.items() if ours != theirs)
