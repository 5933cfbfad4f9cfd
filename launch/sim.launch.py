"""Brings up the simulated robot, the policy and the executor, as `vla_ros.graph` describes them.

ros2 launch vla_ros sim.launch.py policy:=openvla-mini task:=Lift seed:=3
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from vla_ros import graph


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default,
            description=argument.description,
            choices=list(argument.choices) or None,
        )
        for argument in graph.ARGUMENTS
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])


def start(context) -> list:
    """The actions for the arguments as the user gave them."""
    chosen = {
        argument.name: LaunchConfiguration(argument.name).perform(context)
        for argument in graph.ARGUMENTS
    }
    description = graph.describe(chosen)
    environment = [
        SetEnvironmentVariable(name, value) for name, value in description.environment.items()
    ]
    nodes = [
        Node(
            package=graph.PACKAGE,
            executable=node.executable,
            name=node.name,
            parameters=[*description.parameter_files, dict(node.parameters)],
            remappings=list(node.remappings),
            additional_env=dict(node.environment),
            output="screen",
            # Half a graph is of no use: the robot would hold for ever.
            on_exit=Shutdown(reason=f"{node.name} ended"),
        )
        for node in description.nodes
    ]
    return [*environment, *nodes]
