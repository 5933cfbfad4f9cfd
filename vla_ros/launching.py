"""What launch files share: a described graph as ROS's launch actions. Needs a ROS distribution."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from vla_ros.graph import HOPELESS, PACKAGE, RESPAWN_DELAY_S, RUN_FOLDER, Argument, Graph

Describe = Callable[[Mapping[str, str]], Graph]


def launch_description(arguments: Sequence[Argument], describe: Describe) -> LaunchDescription:
    """Declares `arguments`, and starts what `describe` makes of the user's choices."""
    declared = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default,
            description=argument.description,
            choices=list(argument.choices) or None,
        )
        for argument in arguments
    ]

    def start_chosen(context: Any) -> list:
        return start(context, arguments, describe)

    return LaunchDescription([*declared, OpaqueFunction(function=start_chosen)])


def start(context: Any, arguments: Sequence[Argument], describe: Describe) -> list:
    """The actions for the arguments as the user gave them."""
    chosen = {
        argument.name: LaunchConfiguration(argument.name).perform(context) for argument in arguments
    }
    description = describe(chosen)
    run_folder = tempfile.mkdtemp(prefix="vla_ros_run_")
    variables = {**description.environment, RUN_FOLDER: run_folder}
    environment = [SetEnvironmentVariable(name, value) for name, value in variables.items()]
    nodes = [
        Node(
            package=PACKAGE,
            executable=node.executable,
            name=node.name,
            parameters=[*description.parameter_files, dict(node.parameters)],
            remappings=list(node.remappings),
            additional_env=dict(node.environment),
            output="screen",
            respawn=True,
            respawn_delay=RESPAWN_DELAY_S,
            on_exit=_end_if_hopeless(node.name),
        )
        for node in description.nodes
    ]
    return [*environment, *nodes]


def _end_if_hopeless(name: str) -> Callable[[Any, Any], Shutdown | None]:
    """A node that dies is started anew, while the robot holds. One that a user's mistake ended
    would end so again, and half a graph is of no use."""

    def on_exit(event: Any, _context: Any) -> Shutdown | None:
        hopeless = event.returncode in HOPELESS
        return Shutdown(reason=f"{name} ended") if hopeless else None

    return on_exit
