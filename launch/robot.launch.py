"""Brings up policy and executor beside a real robot, as `vla_ros.robot_graph` describes them.

ros2 launch vla_ros robot.launch.py robot:=ur5e description:=cell.urdf config:=config/careful.yaml
"""

from launch import LaunchDescription

from vla_ros import robot_graph
from vla_ros.launching import launch_description


def generate_launch_description() -> LaunchDescription:
    return launch_description(robot_graph.ARGUMENTS, robot_graph.describe)
