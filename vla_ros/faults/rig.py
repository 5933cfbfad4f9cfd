"""The campaign's node: relay of every stream, monitor of every command, ear for the executor.

One thread: what it hears, it hears while the campaign waits.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from geometry_msgs.msg import TwistStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, Float64, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, MultiDOFJointTrajectory

from sim.kinematics import Kinematics
from vla_ros import messages, topics
from vla_ros.executor_state import State
from vla_ros.faults.channel import Channel
from vla_ros.faults.fault import CHUNKS, GRIPPER, IMAGES, INSTRUCTION, JOINTS
from vla_ros.faults.graph import CAMERA, KEEP_OUT, RAW
from vla_ros.faults.monitor import JITTER_S, CommandMonitor, JointCommand, Measure, worst
from vla_ros.faults.timing import Sample
from vla_ros.robots import FR3
from vla_ros.runtime import LATCHED, RELIABLE, SENSOR, TWICE_HEARD

Info = Any  # rclpy's MessageInfo: what it tells of a message, beside it
MOVES_RAD_S = 0.05
SPIN_S = 0.005  # a delayed message waits no longer than this beyond its time
SERVICE_TIMEOUT_S = 20.0
QUEUE = 100  # commands that may wait for the monitor: none must be lost
RECENT_ANSWERS = 10
RESTS = (State.HOLDING, State.STOPPED)
TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
}


@dataclass
class Watch:
    """What was seen since the last was taken."""

    states: list[tuple[int, str]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    commands: int = 0
    beyond: list[Measure] = field(default_factory=list)  # the worst of each command beyond a limit
    largest_share: float = 0.0  # of a limit that any command used
    last_command_ns: int = 0
    command_end_ns: int | None = None  # when the last command of the arm ends
    latencies_ms: list[float] = field(default_factory=list)  # camera to command


class Rig(Node):
    """Times are the machine's monotonic ones [ns]."""

    def __init__(self) -> None:
        super().__init__("fault_rig")
        self._spinner = SingleThreadedExecutor()
        self._spinner.add_node(self)
        limits = replace(FR3.limits, keep_out=(KEEP_OUT,))
        self._monitor = CommandMonitor(FR3, Kinematics().forward, limits)
        self._measured: deque[tuple[int, np.ndarray]] = deque(maxlen=64)
        self._answers_ns: deque[int] = deque([0], maxlen=RECENT_ANSWERS)
        self.watch = Watch()
        self.stopped_ns: int | None = None  # when an emergency stop was last sent
        self.channels = {
            IMAGES: self._relay(Image, topics.image_topic(CAMERA), SENSOR),
            JOINTS: self._relay(JointState, topics.JOINT_STATES, RELIABLE, self._on_truth),
            CHUNKS: self._relay(
                MultiDOFJointTrajectory, topics.ACTION_CHUNK, RELIABLE, self._on_chunk
            ),
            GRIPPER: self._relay(JointTrajectory, topics.GRIPPER_CHUNK, RELIABLE),
            INSTRUCTION: Channel(
                self.create_publisher(String, topics.INSTRUCTION, LATCHED).publish
            ),
        }
        heard: dict[str, tuple[type, Callable[..., None]]] = {
            topics.ARM_COMMAND: (JointTrajectory, self._on_arm),
            topics.GRIPPER_COMMAND: (JointTrajectory, self._on_gripper),
            topics.TWIST_COMMAND: (TwistStamped, self._on_twist),
            topics.EXECUTOR_STATE: (String, self._on_state),
            topics.LOOP_LATENCY: (Float64, self._on_latency),
        }
        for topic, (kind, hear) in heard.items():
            self.create_subscription(kind, topic, hear, QUEUE)
        self._stop = self.create_publisher(
            Bool, topics.EMERGENCY_STOP, RELIABLE, event_callbacks=TWICE_HEARD
        )
        self._reset: Client = self.create_client(Trigger, topics.EXECUTOR_RESET)
        self._change: Client = self.create_client(ChangeState, "/policy_node/change_state")

    def _relay(
        self, kind: type, topic: str, profile: Any, also: Callable[[Any, int], None] | None = None
    ) -> Channel:
        channel = Channel(self.create_publisher(kind, topic, profile).publish)

        def hear(message: Any, info: Info) -> None:
            if also is not None:
                also(message, _sent_ns(info))
            channel.take(message, time.monotonic_ns())

        self.create_subscription(kind, RAW + topic, hear, profile)
        return channel

    # --- what a campaign does ---------------------------------------------------------------

    def spin_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Relay and watch until `condition` holds; False when it does not in time."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s:
                return False
            self._spinner.spin_once(timeout_sec=SPIN_S)
            now_ns = time.monotonic_ns()
            for channel in self.channels.values():
                channel.flush(now_ns)
        return True

    def spin(self, duration_s: float) -> None:
        self.spin_until(lambda: False, duration_s)

    def take_watch(self) -> Watch:
        """What was seen so far; from now on a new one is kept, which knows the last command."""
        seen = self.watch
        self.watch = Watch(command_end_ns=seen.command_end_ns)
        return seen

    def states_heard(self) -> int:
        """How often the executor has said what it does."""
        return len(self.watch.states)

    def instruct(self, text: str) -> None:
        self.channels[INSTRUCTION].take(String(data=text), time.monotonic_ns())

    def emergency_stop(self) -> None:
        """Send one, as an operator would."""
        self._stop.publish(Bool(data=True))
        self.stopped_ns = time.monotonic_ns()

    @property
    def stopped(self) -> bool:
        """Whether the executor waits for a reset, as far as it has told."""
        return bool(self.watch.states) and self.watch.states[-1][1] == State.STOPPED

    def reset(self) -> bool:
        """Ask the executor to end its emergency stop."""
        return bool(getattr(self._call(self._reset, Trigger.Request()), "success", False))

    def change_policy(self, transition: str) -> bool:
        """A transition of the policy node's life; False when it refuses."""
        request = ChangeState.Request(transition=Transition(id=TRANSITIONS[transition]))
        return bool(getattr(self._call(self._change, request), "success", False))

    def _call(self, client: Any, request: Any) -> Any:
        if not self.spin_until(client.service_is_ready, SERVICE_TIMEOUT_S):
            return None
        future = client.call_async(request)
        self.spin_until(future.done, SERVICE_TIMEOUT_S)
        return future.result() if future.done() else None

    @property
    def answer_ns(self) -> int:
        """The longest of the policy's last answers, from the image's stamp to the chunk."""
        return max(self._answers_ns)

    def moves_since(self, begin_ns: int) -> bool:
        """The executor says so, sends commands, and the simulated arm does."""
        watch = self.watch
        told = bool(watch.states) and watch.states[-1][0] >= begin_ns
        moving = told and watch.states[-1][1] == State.MOVING and watch.last_command_ns >= begin_ns
        recent = [each for each in watch.samples[-10:] if each.time_ns >= begin_ns]
        return moving and any(each.speed_rad_s > MOVES_RAD_S for each in recent)

    # --- what arrives -----------------------------------------------------------------------

    def _on_truth(self, message: JointState, sent_ns: int) -> None:
        velocities = np.asarray(message.velocity[:7])
        self._measured.append((sent_ns, np.asarray(message.position[:7])))
        self.watch.samples.append(Sample(sent_ns, float(np.abs(velocities).max())))

    def _on_chunk(self, message: MultiDOFJointTrajectory, _sent_ns: int) -> None:
        clock_ns = self.get_clock().now().nanoseconds
        self._answers_ns.append(clock_ns - messages.to_ns(message.header.stamp))

    def _on_arm(self, message: JointTrajectory, info: Info) -> None:
        command = joint_command(message, _sent_ns(info))
        self.watch.commands += 1
        self.watch.last_command_ns = command.sent_ns
        if len(command.times_ns):
            self.watch.command_end_ns = command.sent_ns + int(command.times_ns[-1])
        recent_ns = command.sent_ns - JITTER_S * 1e9
        measured = [joints for time_ns, joints in self._measured if time_ns >= recent_ns]
        self._judge(self._monitor.arm(command, measured))

    def _on_gripper(self, message: JointTrajectory, info: Info) -> None:
        self.watch.commands += 1
        self._judge(self._monitor.gripper(joint_command(message, _sent_ns(info))))

    def _on_twist(self, message: TwistStamped) -> None:
        self.watch.commands += 1
        linear, angular = message.twist.linear, message.twist.angular
        self._judge(
            self._monitor.twist(
                np.array([linear.x, linear.y, linear.z]),
                np.array([angular.x, angular.y, angular.z]),
            )
        )

    def _judge(self, measures: list[Measure]) -> None:
        shares = [each.found / each.allowed for each in measures if each.allowed > 0]
        self.watch.largest_share = max(self.watch.largest_share, *shares, 0.0)
        beyond = worst(measures)
        if beyond is not None:
            self.watch.beyond.append(beyond)

    def _on_state(self, message: String, info: Info) -> None:
        self.watch.states.append((_sent_ns(info), message.data))
        self._judge(self._monitor.state(message.data in RESTS, _sent_ns(info)))

    def _on_latency(self, message: Float64) -> None:
        self.watch.latencies_ms.append(message.data)


def _sent_ns(info: Info) -> int:
    """When a message was sent, by the monotonic clock: this process may hear it late."""
    return info["source_timestamp"] - time.time_ns() + time.monotonic_ns()


def joint_command(message: JointTrajectory, sent_ns: int) -> JointCommand:
    """What went out, as the monitor looks at it."""
    points = message.points
    return JointCommand(
        names=list(message.joint_names),
        times_ns=np.array([messages.to_ns(each.time_from_start) for each in points], np.int64),
        positions=[list(each.positions) for each in points],
        velocities=[list(each.velocities) for each in points],
        efforts=[list(each.effort) for each in points],
        sent_ns=sent_ns,
    )
