"""What launch files share: a described graph as ROS's launch actions. Needs a ROS distribution."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from vla_ros.graph import (
    HOPELESS,
    MOST_QUICK_DEATHS,
    PACKAGE,
    QUICK_S,
    RESPAWN_DELAY_S,
    RUN_FOLDER,
    Argument,
    Graph,
)
from vla_ros.launch_arguments import without_effect

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
    """The actions for the arguments as the user gave them.

    Raises `UserError`, also for an argument that looks like a mistyped one.
    """
    notes = without_effect(arguments, context.launch_configurations)
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
            on_exit=_End(node.name),
        )
        for node in description.nodes
    ]
    return [*(LogInfo(msg=note) for note in notes), *environment, *nodes]


class _End:
    """A node that dies is started anew, while the robot holds. One that a user's mistake ended
    would end so again, as one that dies whenever it has started, and half a graph is of no use."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._clock = name, clock
        self._started_s = clock()
        self._quick_deaths = 0

    def __call__(self, event: Any, _context: Any) -> Shutdown | None:
        quick = self._clock() - self._started_s < QUICK_S
        self._quick_deaths = self._quick_deaths + 1 if quick else 0
        self._started_s = self._clock() + RESPAWN_DELAY_S
        if event.returncode in HOPELESS:
            return Shutdown(reason=f"{self._name} ended")
        if self._quick_deaths >= MOST_QUICK_DEATHS:
            reason = (
                f"{self._name} died {MOST_QUICK_DEATHS} times within {QUICK_S:.0f} s of its start"
            )
            return Shutdown(reason=reason)
        return None
