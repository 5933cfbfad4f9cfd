"""Turns action chunks into joint trajectories, and holds when anything is amiss.

A process of its own, so that a policy that hangs cannot keep the robot from stopping.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, MultiDOFJointTrajectory

from policies.interface import ActionError
from vla_ros import messages, topics
from vla_ros.body import Body
from vla_ros.clock_watch import steady_ns
from vla_ros.errors import UserError
from vla_ros.execution import LONGEST_REASON, Execution, Hold, Pace, Timeouts
from vla_ros.executor_state import State
from vla_ros.joints import JointsError, positions_by_name
from vla_ros.limit_parameters import LIMIT_PARAMETERS, limits_of
from vla_ros.newest import Newest, Place
from vla_ros.planning import Motion
from vla_ros.points import Points, arm_points, gripper_points, held_gripper_points
from vla_ros.rivals import Rivals
from vla_ros.robot_parameters import ROBOT_PARAMETERS, robot_of
from vla_ros.runtime import (
    RELIABLE,
    SENSOR,
    Parameter,
    declare,
    run_node,
    subscribe_words,
)
from vla_ros.runtime_clock import uses_simulated_time
from vla_ros.servo import GAIN_PER_S, STILL, Twist, twist
from vla_ros.stop_hearing import subscribe_stops
from vla_ros.stop_latch import StopLatch
from vla_ros.streams import Streams
from vla_ros.texts import shortened
from vla_ros.tool_pose import tool_pose

OUTPUTS = ("trajectory", "twist")  # joint_trajectory_controller, MoveIt Servo
GRIPPER_EFFORT = "gripper_effort_n"
CLOCKS_APART_NS = 200_000  # two clocks that are read within so long are read at one instant
CLOCK_READINGS = 5  # at most, on a machine that is starved
DEFAULT, PACE = Timeouts(), Pace()
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
        "heartbeat_timeout_s",
        DEFAULT.heartbeat_ns / 1e9,
        "Hold when policy_node, that beat while the arm moved, is silent for this long",
        0.2,
        30.0,
    ),
    Parameter("soft_start_s", PACE.soft_start_s, "Ramp to full speed after a rest", 0.0, 30.0),
    Parameter("blend_s", PACE.blend_ns / 1e9, "A new chunk takes over within this", 0.0, 2.0),
    Parameter("lead_s", PACE.lead_ns / 1e9, "Planning and sending take this long", 0.0, 0.5),
    Parameter("follow_rad", PACE.follow_rad, "Further from its command it strays", 0.01, 3.0),
    Parameter(
        "old_instructions", False, "Take one that was published before the start: in simulation"
    ),
    Parameter(
        "first_hold_s",
        1.0,
        "Hold the measured pose for so long before the very first motion; a driver that tells of "
        "another arm's pose is not followed with a leap",
        0.0,
        30.0,
    ),
    Parameter("output", OUTPUTS[0], f"What the arm is sent: {' or '.join(OUTPUTS)}"),
    Parameter("twist_rate_hz", 50.0, "Twists a second; Servo drops what is 0.1 s old", 20.0, 500.0),
    *ROBOT_PARAMETERS,
    *(
        replace(each, description="Force of each finger, sent as effort; 0: none is sent")
        if each.name == GRIPPER_EFFORT
        else each
        for each in LIMIT_PARAMETERS
    ),
)
MOST_BYTES = 65536  # of a half of a chunk; 100 poses have 8000
WATCHDOG_RATE_HZ = 50.0
DIAGNOSTICS_RATE_HZ = 2.0
HEARTBEAT_RATE_HZ = 10.0
HEARD_TOGETHER = 10  # messages of several executors
FAREWELL_S = 0.5  # for the last command to arrive
JOINTS, CHUNKS, POLICY = "joint_states", "chunks", "policy_node"  # what the watchdogs watch


class ExecutorNode(Node):
    """Callbacks and messages only; the decisions are `vla_ros.execution`'s."""

    def __init__(self) -> None:
        super().__init__("executor_node")
        values = declare(self, PARAMETERS)
        if values["output"] not in OUTPUTS:
            raise UserError(
                f"output: expected one of {', '.join(OUTPUTS)}, got {values['output']!r}"
            )
        self._robot = robot_of(values)
        self._limits = limits_of(values, self._robot.limits)
        # ros2_controllers' joint_trajectory_controller refuses trajectories with efforts, unless it
        # commands efforts: they are sent only to who asks for them.
        most_n = self._robot.limits.gripper_effort_n
        self._gripper_effort_n = min(values[GRIPPER_EFFORT], most_n) or None
        timeouts = Timeouts(
            chunk_ns=round(values["chunk_timeout_s"] * 1e9),
            chunk_age_ns=round(values["max_chunk_age_s"] * 1e9),
            joints_ns=round(values["joint_timeout_s"] * 1e9),
            heartbeat_ns=round(values["heartbeat_timeout_s"] * 1e9),
        )
        pace = Pace(
            soft_start_s=values["soft_start_s"],
            blend_ns=round(values["blend_s"] * 1e9),
            lead_ns=round(values["lead_s"] * 1e9),
            follow_rad=values["follow_rad"],
            first_hold_ns=round(values["first_hold_s"] * 1e9),
        )
        self._body = Body(self._robot.arm, self._limits.keep_out, self._limits.clearance_m)
        self._execution = Execution(
            self._body,
            self._limits,
            self._send,
            timeouts,
            pace,
            self._now_ns,
            None if uses_simulated_time(self) else self._steady_ns,
        )
        # The watchdog barks though the clock was set back, or stands still.
        self._steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._rivals = Rivals()
        self._poses: MultiDOFJointTrajectory | None = None
        self._gripper: JointTrajectory | None = None
        self._latency_ms = 0.0
        self._bad_joints = ""
        self._logged: tuple[State, str] | None = None
        self._streams = Streams((JOINTS, CHUNKS, POLICY))
        self._told = ""
        self._instructions = Newest()
        self._latch = StopLatch()
        if not values["old_instructions"]:  # a latched one may have been withdrawn since
            self._execution.wait_for_instruction(self._now_ns())
        if self._latch.is_set:  # it was stopped when it died
            self._execution.on_emergency_stop(self._now_ns())

        if values["output"] == "twist":
            self._twist = self.create_publisher(TwistStamped, topics.TWIST_COMMAND, RELIABLE)
            self._every(1.0 / values["twist_rate_hz"], self._send_twist)
            self._arm_command = None
            self._command_topic = self._twist.topic_name
        else:
            self._arm_command = self.create_publisher(JointTrajectory, topics.ARM_COMMAND, RELIABLE)
            self._command_topic = self._arm_command.topic_name
        self._gripper_command = self.create_publisher(
            JointTrajectory, topics.GRIPPER_COMMAND, RELIABLE
        )
        self._latency = self.create_publisher(Float64, topics.LOOP_LATENCY, RELIABLE)
        self._diagnostics = self.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, RELIABLE)
        self._state = self.create_publisher(String, topics.EXECUTOR_STATE, RELIABLE)
        self._presence = self.create_publisher(String, topics.EXECUTOR_PRESENCE, RELIABLE)
        self.create_subscription(
            String, topics.EXECUTOR_PRESENCE, self._on_presence, QoSProfile(depth=HEARD_TOGETHER)
        )
        self.create_subscription(String, topics.POLICY_STATE, self._on_policy_state, RELIABLE)
        self.create_subscription(JointState, topics.JOINT_STATES, self._on_joints, SENSOR)
        self._chunk_topic = self._hear_bounded(
            MultiDOFJointTrajectory, topics.ACTION_CHUNK, self._on_poses
        )
        self._hear_bounded(JointTrajectory, topics.GRIPPER_CHUNK, self._on_gripper)
        subscribe_words(self, topics.INSTRUCTION, self._on_instruction)
        subscribe_stops(self, topics.EMERGENCY_STOP, self._on_emergency_stop)
        self.create_service(Trigger, topics.EXECUTOR_RESET, self._on_reset)
        self._every(1.0 / WATCHDOG_RATE_HZ, self._on_watchdog)
        self._every(1.0 / DIAGNOSTICS_RATE_HZ, self._publish_diagnostics)
        self._every(1.0 / HEARTBEAT_RATE_HZ, self._tell_state)
        self._every(1.0 / HEARTBEAT_RATE_HZ, self._tell_presence)

    def _every(self, period_s: float, callback: Callable[[], None]) -> None:
        self.create_timer(period_s, callback, clock=self._steady_clock)

    def _hear_bounded(self, kind: type, topic: str, callback: Callable[[Any], None]) -> str:
        """Subscribe; what is far too long is not taken apart: a stop would have to wait.

        Returns what the topic is called here.
        """

        def hear(data: bytes) -> None:
            if len(data) > MOST_BYTES:
                self._refuse(f"{topic}: expected at most {MOST_BYTES} bytes, got {len(data)}")
                return
            callback(deserialize_message(data, kind))

        return self.create_subscription(kind, topic, hear, RELIABLE, raw=True).topic_name

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _steady_ns(self) -> int:
        return steady_ns()

    def _both_clocks(self) -> tuple[int, int]:
        """The node's and the wall clock's time [ns] of one instant: a process that is set aside
        between the two would take what was just said for older than that."""
        for _ in range(CLOCK_READINGS):
            wall_ns, now_ns, then_ns = time.time_ns(), self._now_ns(), time.time_ns()
            if then_ns - wall_ns < CLOCKS_APART_NS:
                break
        return now_ns, wall_ns

    # --- what arrives -----------------------------------------------------------------------

    def _on_joints(self, message: JointState) -> None:
        if not self._execution.fingers_told:
            self._note_fingers(message)
        try:
            positions = positions_by_name(message.name, message.position, self._robot.joint_names)
        except JointsError as error:
            self._bad_joints = str(error)
            return
        self._bad_joints = ""
        self._streams.on(JOINTS, self._now_ns())
        now_ns = self._now_ns()
        stamp_ns = messages.to_ns(message.header.stamp) or now_ns  # not all drivers stamp
        self._execution.on_joints(positions, now_ns, stamp_ns)

    def _note_fingers(self, message: JointState) -> None:
        fingers = self._robot.gripper
        try:
            values = positions_by_name(message.name, message.position, fingers.joints)
        except JointsError:  # another driver's: not of the fingers
            return
        self._execution.on_fingers(fingers.opening(values))

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
            self._refuse(str(error))
            return
        self._streams.on(CHUNKS, self._now_ns())
        self._execution.on_chunk(chunk, self._now_ns())

    def _refuse(self, reason: str) -> None:
        """What nobody can read. Logged, for without a motion the state's reason may be another."""
        said = reason[:LONGEST_REASON]
        self.get_logger().warning(f"refused: {said}", throttle_duration_sec=1.0)
        self._execution.on_invalid(reason, self._now_ns())

    def _on_policy_state(self, _message: String) -> None:
        self._streams.on(POLICY, self._now_ns())
        self._execution.on_heartbeat(self._now_ns())

    def _on_instruction(self, message: String, info: Mapping[str, int] | None = None) -> None:
        """`info` tells when it was published (by the wall clock); None: now.

        The newest counts. What ends the work does so whatever its age; and while one is awaited,
        `Execution` judges which is new enough, and says so.
        """
        now_ns, wall_ns = self._both_clocks()
        age_ns = 0
        stopped = self._execution.awaits_instruction
        if info is not None:
            age_ns = wall_ns - info["source_timestamp"]
            place = self._instructions.place(message.data, info["source_timestamp"], wall_ns)
            if place is Place.AGAIN:
                return
            if place is Place.OLDER and message.data and not stopped:
                self.get_logger().warning(
                    f"instruction: {self._instructions.older}", throttle_duration_sec=1.0
                )
                return
        self._execution.on_instruction(message.data, now_ns, now_ns - age_ns)
        if stopped and not self._execution.awaits_instruction:
            self._latch.clear()

    def _on_emergency_stop(self) -> None:
        self._execution.on_emergency_stop(self._now_ns())
        self._latch.set()

    def _on_reset(self, _request, response: Trigger.Response) -> Trigger.Response:
        """The latch stays until there is an instruction: who dies before comes back stopped."""
        response.success = self._execution.reset(self._now_ns())
        response.message = (
            "stop ended; publish an instruction to go on"
            if response.success
            else f"nothing was stopped: the state is {self._execution.state.value}"
        )
        return response

    def _on_presence(self, message: String) -> None:
        self._rivals.hear(message.data, self._steady_ns())
        self._look_for_rivals()

    def _look_for_rivals(self) -> None:
        self._execution.forbid(self._rivalry, self._now_ns())

    @property
    def _rivalry(self) -> str:
        """What is to be said of other executors; empty: there is none."""
        others = self._rivals.count(self._steady_ns())
        if others == 0:
            return ""
        return (
            f"expected one executor, got {1 + others} (heard on {self._presence.topic_name}): none "
            "moves the arm; end all but one, then publish an instruction"
        )

    @property
    def _reason(self) -> str:
        """Of the state, and what is wrong with the joint states, whatever the state is."""
        reason, problem = self._execution.reason, self._execution.joints_problem
        return reason if problem in reason else f"{reason}; {problem}".removeprefix("; ")

    def _on_watchdog(self) -> None:
        self._look_for_rivals()
        self._execution.tick(self._now_ns())
        state = (self._execution.state, self._reason)
        if self._execution.state.value != self._told:
            self._tell_state()
        if state != self._logged and state[0] is not State.MOVING:
            self._logged = state
            self.get_logger().info(f"{state[0].value}: {state[1]}", throttle_duration_sec=0.5)

    def on_callback_error(self, error: Exception) -> None:
        """A fault of ours, or a message nobody thought of: the work ends, the node goes on."""
        self._execution.on_invalid(
            f"internal error: {type(error).__name__}: {error}", self._now_ns()
        )

    def before_shutdown(self) -> None:
        """Brake: a controller would carry out the rest of what it was told (6 s at most)."""
        self._execution.on_end(self._now_ns())
        command = self._arm_command
        if command is None:
            command = self._twist
            if self._execution.command.running is not None:
                self._publish_twist(STILL)
        farewell = Duration(seconds=FAREWELL_S)
        arrived = [each.wait_for_all_acked(farewell) for each in (command, self._gripper_command)]
        if not all(arrived):
            self.get_logger().warning("ends, but its last command has not been acknowledged")

    # --- what goes out ----------------------------------------------------------------------

    def _tell_presence(self) -> None:
        self._presence.publish(String(data=self._rivals.identity))

    def _tell_state(self) -> None:
        self._told = self._execution.state.value
        self._state.publish(String(data=self._told))

    def _send(self, command: Motion | Hold) -> None:
        if self._arm_command is not None:
            arm = arm_points(command.trajectory, self._now_ns(), self._execution.command)
            self._arm_command.publish(
                messages.joint_trajectory(
                    self._robot.joint_names, arm.times_ns, arm.positions, velocities=arm.velocities
                )
            )
        if isinstance(command, Hold):
            if command.opening is not None:
                self._send_fingers(held_gripper_points(command.opening))
            return
        self._send_fingers(gripper_points(command, self._now_ns()))
        self._latency_ms = (self._now_ns() - command.stamp_ns) / 1e6
        self._latency.publish(Float64(data=self._latency_ms))

    def _send_fingers(self, gripper: Points) -> None:
        self._gripper_command.publish(
            messages.joint_trajectory(
                self._robot.gripper.joints,
                gripper.times_ns,
                self._robot.gripper.values(gripper.positions),
                effort=self._gripper_effort_n,
            )
        )

    def _send_twist(self) -> None:
        """Zero when holding; nothing at all before there was anything to do, or without joints.

        One that brakes is not drawn to where it was told to be: it may be stopped for not getting
        there.
        """
        now_ns = self._now_ns()
        joints = self._execution.fresh_joints(now_ns)
        if joints is None or self._execution.command.running is None:
            return
        gain_per_s = GAIN_PER_S if self._execution.state is State.MOVING else 0.0
        command = self._execution.command
        self._publish_twist(twist(command, joints, now_ns, self._limits, self._body, gain_per_s))

    def _publish_twist(self, motion: Twist) -> None:
        stamp_ns = self._now_ns()
        self._twist.publish(messages.twist_stamped(motion, self._robot.base_frame, stamp_ns))

    def _publish_diagnostics(self) -> None:
        execution = self._execution
        reason = self._bad_joints or self._reason
        level = {
            State.MOVING: "OK",
            State.HOLDING: "OK" if execution.idle and reason == execution.reason else "WARN",
            State.WAITING: "WARN",
            State.STOPPED: "ERROR",
        }[execution.state]
        text = f"{execution.state.value}: {reason}" if reason else execution.state.value
        publishers = self.count_publishers(self._chunk_topic)
        if publishers > 1:  # none of them is stopped for it: one may be handing over to another
            level = "WARN" if level == "OK" else level
            text += f"; {self._chunk_topic} has {publishers} publishers, and all are followed"
        others, rivalry = self.count_publishers(self._command_topic) - 1, self._rivalry
        if rivalry:
            level = "ERROR"
            text += f"; {rivalry}" if rivalry not in text else ""
        elif others > 0:  # one that was killed counts for a while: the arm is not stopped for it
            level = "WARN" if level == "OK" else level
            text += f"; {self._command_topic} has {1 + others} publishers"
        listeners = self.count_subscribers(self._command_topic)
        if listeners == 0:
            level = "WARN" if level == "OK" else level
            text += f"; nobody listens on {self._command_topic}: is the robot's controller active?"
        values = {
            "state": execution.state.value,
            "accepted": execution.accepted,
            "refused": execution.refused,
            "limited": execution.limited,
            "late": execution.late,
            "speed_share": f"{execution.speed_share(self._now_ns()):.2f}",
            "latency_ms": f"{self._latency_ms:.1f}",
            "chunk_publishers": publishers,
            "command_publishers": 1 + others,
            "command_subscribers": listeners,
            "executors": 1 + self._rivals.count(self._steady_ns()),
            "instruction": shortened(execution.instruction),
            "older_instruction": self._instructions.older,
            "outdated_instruction": execution.outdated,
            **tool_pose(self._body, execution.fresh_joints(self._now_ns())),
            **self._streams.values(self._now_ns()),
        }
        self._diagnostics.publish(
            messages.diagnostics("executor_node", level, text, values, self._now_ns())
        )


def main() -> None:
    """Entry point of `ros2 run vla_ros executor_node`."""
    run_node(ExecutorNode)


if __name__ == "__main__":
    main()
