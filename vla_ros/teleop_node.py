"""Drives the executor from `/teleop/twist` and `/teleop/gripper`, not a policy.

It takes the tool to be where the robot's own file has it, as the executor does.
"""

from __future__ import annotations

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64
from trajectory_msgs.msg import JointTrajectory, MultiDOFJointTrajectory

from sim.kinematics import Kinematics
from vla_ros import messages, topics
from vla_ros.joints import JointsError, positions_by_name
from vla_ros.robot_parameters import ROBOT_PARAMETERS, robot_of
from vla_ros.runtime import RELIABLE, SENSOR, Parameter, declare, run_node
from vla_ros.teleoperation import (
    Teleoperation,
    TeleoperationError,
    TeleoperationLimits,
    counts_from_ns,
)

DEFAULT = TeleoperationLimits()
PARAMETERS = (
    *ROBOT_PARAMETERS,
    Parameter("speed_m_s", DEFAULT.speed_m_s, "Fastest tool speed; more is scaled down", 0.01, 1.0),
    Parameter("turn_rad_s", DEFAULT.turn_rad_s, "Fastest turn; more is scaled down", 0.01, 3.0),
    Parameter(
        "twist_timeout_s", DEFAULT.twist_timeout_ns / 1e9, "An older twist means: hold", 0.05, 1.0
    ),
    Parameter(
        "joint_timeout_s",
        DEFAULT.joint_timeout_ns / 1e9,
        "Send nothing without joint states for this long",
        0.02,
        5.0,
    ),
    Parameter("rate_hz", 20.0, "Chunks a second", 5.0, 100.0),
)
DIAGNOSTICS_RATE_HZ = 2.0


class TeleopNode(Node):
    """Callbacks and messages only; the decisions are `vla_ros.teleoperation`'s."""

    def __init__(self) -> None:
        super().__init__("teleop_node")
        values = declare(self, PARAMETERS)
        self._teleoperation = Teleoperation(
            TeleoperationLimits(
                speed_m_s=values["speed_m_s"],
                turn_rad_s=values["turn_rad_s"],
                twist_timeout_ns=round(values["twist_timeout_s"] * 1e9),
                joint_timeout_ns=round(values["joint_timeout_s"] * 1e9),
            )
        )
        self._robot = robot_of(values)
        self._joint_names = self._robot.joint_names + self._robot.gripper.joints
        self._kinematics = Kinematics(arm=self._robot.arm)
        self._joints: tuple[int, np.ndarray] | None = None  # from when they count [ns], (n,)
        self._sent = 0
        self._refused = 0
        self._problems: dict[str, str] = {}  # by topic: why its last message was refused
        self._poses = self.create_publisher(MultiDOFJointTrajectory, topics.ACTION_CHUNK, RELIABLE)
        self._gripper = self.create_publisher(JointTrajectory, topics.GRIPPER_CHUNK, RELIABLE)
        self._diagnostics = self.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, RELIABLE)
        self.create_subscription(JointState, topics.JOINT_STATES, self._on_joints, SENSOR)
        self.create_subscription(TwistStamped, topics.TELEOP_TWIST, self._on_twist, SENSOR)
        self.create_subscription(Float64, topics.TELEOP_GRIPPER, self._on_gripper, RELIABLE)
        self.create_timer(1.0 / values["rate_hz"], self._on_timer)
        self.create_timer(1.0 / DIAGNOSTICS_RATE_HZ, self._publish_diagnostics)

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    # --- what arrives -----------------------------------------------------------------------

    def _on_joints(self, message: JointState) -> None:
        try:
            joints = positions_by_name(message.name, message.position, self._joint_names)
            stamp_ns = messages.to_ns(message.header.stamp)
            counts_ns = counts_from_ns(stamp_ns, self._now_ns(), "the arm's")
        except (JointsError, TeleoperationError) as error:
            another = bool(message.name) and not set(message.name) & set(self._joint_names)
            who = f"of another robot than {self._robot.name}: " if another else ""
            self._refuse(topics.JOINT_STATES, f"{topics.JOINT_STATES}: {who}{error}")
            return
        self._joints = (counts_ns, joints)
        self._problems.pop(topics.JOINT_STATES, None)

    def _on_twist(self, message: TwistStamped) -> None:
        if message.header.frame_id not in ("", self._robot.base_frame):
            self._refuse(
                topics.TELEOP_TWIST,
                f"{topics.TELEOP_TWIST}: frame_id: expected {self._robot.base_frame!r}, "
                f"got {message.header.frame_id!r}",
            )
            return
        linear, angular = message.twist.linear, message.twist.angular
        try:
            self._teleoperation.on_twist(
                np.array([linear.x, linear.y, linear.z]),
                np.array([angular.x, angular.y, angular.z]),
                messages.to_ns(message.header.stamp),
                self._now_ns(),
            )
            self._problems.pop(topics.TELEOP_TWIST, None)
        except TeleoperationError as error:
            self._refuse(topics.TELEOP_TWIST, str(error))

    def _on_gripper(self, message: Float64) -> None:
        try:
            self._teleoperation.on_gripper(message.data, self._now_ns())
            self._problems.pop(topics.TELEOP_GRIPPER, None)
        except TeleoperationError as error:
            self._refuse(topics.TELEOP_GRIPPER, str(error))

    def _refuse(self, topic: str, reason: str) -> None:
        self._refused += 1
        self._problems[topic] = reason
        self.get_logger().warning(reason, throttle_duration_sec=1.0)

    # --- what goes out ----------------------------------------------------------------------

    def _on_timer(self) -> None:
        if self._joints is not None:
            counts_ns, joints = self._joints
            arm_joints = len(self._robot.joint_names)
            position, rotation = self._kinematics.forward(joints[:arm_joints])
            opening = self._robot.gripper.opening(joints[arm_joints:])
            self._teleoperation.on_tool(position, rotation, opening, counts_ns)
        chunk = self._teleoperation.step(self._now_ns())
        if chunk is None:
            return
        poses, gripper = messages.chunk_to_messages(chunk)
        self._gripper.publish(gripper)
        self._poses.publish(poses)
        self._sent += 1

    def _publish_diagnostics(self) -> None:
        state = self._teleoperation.state
        problems = "; ".join(self._problems.values())
        level = "ERROR" if problems else "WARN" if state.startswith("waiting") else "OK"
        values = {"chunks": self._sent, "refused": self._refused}
        self._diagnostics.publish(
            messages.diagnostics("teleop_node", level, problems or state, values, self._now_ns())
        )


def main() -> None:
    """Entry point of `ros2 run vla_ros teleop_node`."""
    run_node(TeleopNode)


if __name__ == "__main__":
    main()
