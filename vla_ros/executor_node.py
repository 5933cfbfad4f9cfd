"""Turns action chunks into joint trajectories, and holds when anything is amiss.

A process of its own, so that a policy that hangs cannot keep the robot from stopping.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, MultiDOFJointTrajectory

from policies.interface import ActionError
from sim import robot
from sim.kinematics import Kinematics
from vla_ros import messages, topics
from vla_ros.execution import Execution, Hold, State, Timeouts
from vla_ros.joints import JointsError, positions_by_name
from vla_ros.planning import FR3_LIMITS, Motion
from vla_ros.runtime import RELIABLE, SENSOR, Parameter, declare, run_node, subscribe_latched

DEFAULT = Timeouts()
PARAMETERS = (
    Parameter(
        "chunk_timeout_s", DEFAULT.chunk_ns / 1e9, "Hold without a chunk for this long", 0.05, 5.0
    ),
    Parameter(
        "max_chunk_age_s",
        DEFAULT.chunk_age_ns / 1e9,
        "Refuse chunks of older observations",
        0.05,
        30.0,
    ),
    Parameter(
        "joint_timeout_s",
        DEFAULT.joints_ns / 1e9,
        "Send nothing without joint states for this long",
        0.02,
        5.0,
    ),
    Parameter(
        "velocity_fraction",
        FR3_LIMITS.velocity_fraction,
        "Share of the joints' velocity limits to use",
        0.01,
        1.0,
    ),
    Parameter("speed_m_s", FR3_LIMITS.speed_m_s, "Fastest tool speed", 0.01, 2.0),
    Parameter("step_m", FR3_LIMITS.step_m, "Longest step between two poses", 0.005, 0.5),
    Parameter(
        "horizon_s", FR3_LIMITS.horizon_s, "Shortest time to approach a new target", 0.02, 1.0
    ),
    Parameter("workspace_low_m", list(FR3_LIMITS.workspace_low_m), "Box for the tool: x, y, z"),
    Parameter("workspace_high_m", list(FR3_LIMITS.workspace_high_m), "Box for the tool: x, y, z"),
)
WATCHDOG_RATE_HZ = 50.0
DIAGNOSTICS_RATE_HZ = 2.0
HOLD_TIME_NS = 50_000_000  # in which the held pose is reached; it is where the arm is
GRIPPER_TIME_NS = 20_000_000  # after a motion begins: its opening is wanted all along it


class ExecutorNode(Node):
    """Callbacks and messages only; the decisions are `vla_ros.execution`'s."""

    def __init__(self) -> None:
        super().__init__("executor_node")
        values = declare(self, PARAMETERS)
        limits = replace(
            FR3_LIMITS,
            **{
                name: values[name]
                for name in ("velocity_fraction", "speed_m_s", "step_m", "horizon_s")
            },
            workspace_low_m=tuple(values["workspace_low_m"]),
            workspace_high_m=tuple(values["workspace_high_m"]),
        )
        timeouts = Timeouts(
            chunk_ns=round(values["chunk_timeout_s"] * 1e9),
            chunk_age_ns=round(values["max_chunk_age_s"] * 1e9),
            joints_ns=round(values["joint_timeout_s"] * 1e9),
        )
        self._execution = Execution(Kinematics(), limits, self._send, timeouts)
        self._poses: MultiDOFJointTrajectory | None = None
        self._gripper: JointTrajectory | None = None
        self._latency_ms = 0.0
        self._bad_joints = ""
        self._logged: tuple[State, str] | None = None

        self._arm_command = self.create_publisher(JointTrajectory, topics.ARM_COMMAND, RELIABLE)
        self._gripper_command = self.create_publisher(
            JointTrajectory, topics.GRIPPER_COMMAND, RELIABLE
        )
        self._latency = self.create_publisher(Float64, topics.LOOP_LATENCY, RELIABLE)
        self._diagnostics = self.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, RELIABLE)
        self.create_subscription(JointState, topics.JOINT_STATES, self._on_joints, SENSOR)
        self.create_subscription(
            MultiDOFJointTrajectory, topics.ACTION_CHUNK, self._on_poses, RELIABLE
        )
        self.create_subscription(JointTrajectory, topics.GRIPPER_CHUNK, self._on_gripper, RELIABLE)
        subscribe_latched(self, String, topics.INSTRUCTION, self._on_instruction)
        subscribe_latched(self, Bool, topics.EMERGENCY_STOP, self._on_emergency_stop)
        self.create_service(Trigger, topics.EXECUTOR_RESET, self._on_reset)
        self.create_timer(1.0 / WATCHDOG_RATE_HZ, self._on_watchdog)
        self.create_timer(1.0 / DIAGNOSTICS_RATE_HZ, self._publish_diagnostics)

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    # --- what arrives -----------------------------------------------------------------------

    def _on_joints(self, message: JointState) -> None:
        try:
            positions = positions_by_name(message.name, message.position, robot.JOINT_NAMES)
        except JointsError as error:
            self._bad_joints = str(error)
            return
        self._bad_joints = ""
        self._execution.on_joints(positions, self._now_ns())

    def _on_poses(self, message: MultiDOFJointTrajectory) -> None:
        self._poses = message
        self._follow_when_complete()

    def _on_gripper(self, message: JointTrajectory) -> None:
        self._gripper = message
        self._follow_when_complete()

    def _follow_when_complete(self) -> None:
        """The two halves of a chunk share a stamp."""
        poses, gripper = self._poses, self._gripper
        if poses is None or gripper is None or poses.header.stamp != gripper.header.stamp:
            return
        self._poses = self._gripper = None
        try:
            chunk = messages.chunk_from_messages(poses, gripper)
        except ActionError as error:
            self._execution.on_invalid(str(error), self._now_ns())
            return
        self._execution.on_chunk(chunk, self._now_ns())

    def _on_instruction(self, message: String) -> None:
        self._execution.on_instruction(message.data, self._now_ns())

    def _on_emergency_stop(self, message: Bool) -> None:
        if message.data:
            self._execution.on_emergency_stop(self._now_ns())

    def _on_reset(self, _request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._execution.reset()
        response.message = (
            "holding until the next action chunk"
            if response.success
            else f"expected an emergency stop, but the state is {self._execution.state.value}"
        )
        return response

    def _on_watchdog(self) -> None:
        self._execution.tick(self._now_ns())
        state = (self._execution.state, self._execution.reason)
        if state != self._logged and state[0] is not State.MOVING:
            self._logged = state
            self.get_logger().info(f"{state[0].value}: {state[1]}", throttle_duration_sec=0.5)

    # --- what goes out ----------------------------------------------------------------------

    def _send(self, command: Motion | Hold) -> None:
        if isinstance(command, Hold):
            times_ns, joints = np.array([HOLD_TIME_NS]), command.joints[None]
        else:
            times_ns, joints = command.times_ns, command.joints
        self._arm_command.publish(messages.joint_trajectory(robot.JOINT_NAMES, times_ns, joints))
        if isinstance(command, Hold):
            return
        starts_ns = np.concatenate([[0], times_ns[:-1]]) + GRIPPER_TIME_NS
        fingers = np.clip(command.gripper, 0.0, 1.0) * robot.FINGER_TRAVEL_M
        self._gripper_command.publish(
            messages.joint_trajectory(
                robot.FINGER_JOINT_NAMES, starts_ns, np.repeat(fingers[:, None], 2, axis=1)
            )
        )
        self._latency_ms = (self._now_ns() - command.stamp_ns) / 1e6
        self._latency.publish(Float64(data=self._latency_ms))

    def _publish_diagnostics(self) -> None:
        execution = self._execution
        reason = self._bad_joints or execution.reason
        level = {
            State.MOVING: "OK",
            State.HOLDING: "OK" if "instruction" in reason else "WARN",
            State.WAITING: "WARN",
            State.STOPPED: "ERROR",
        }[execution.state]
        values = {
            "state": execution.state.value,
            "accepted": execution.accepted,
            "refused": execution.refused,
            "latency_ms": f"{self._latency_ms:.1f}",
        }
        text = f"{execution.state.value}: {reason}" if reason else execution.state.value
        self._diagnostics.publish(
            messages.diagnostics("executor_node", level, text, values, self._now_ns())
        )


def main() -> None:
    """Entry point of `ros2 run vla_ros executor_node`."""
    run_node(ExecutorNode)


if __name__ == "__main__":
    main()
