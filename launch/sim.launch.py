"""Brings up the simulated robot, the policy and the executor, as `vla_ros.graph` describes them.

ros2 launch vla_ros sim.launch.py policy:=openvla-mini task:=Lift seed:=3
"""

from launch import LaunchDescription

from vla_ros import graph
from vla_ros.launching import launch_description


def generate_launch_description() -> LaunchDescription:
    return launch_description(graph.ARGUMENTS, graph.describe)
