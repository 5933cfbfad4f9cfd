"""Runs episodes on a graph and records them, from its topics alone: the demo's eyes and voice."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.client import Client
from rclpy.node import Node
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, MultiDOFJointTrajectory

from policies.interface import ObservationError
from sim import robot
from sim.kinematics import Kinematics, displacement
from vla_ros import messages, topics
from vla_ros.episodes import EpisodeRecord, Frame, time_limit_s
from vla_ros.joints import JointsError, positions_by_name
from vla_ros.runtime import LATCHED, RELIABLE, SENSOR

PATH_EVERY = 3  # joint states per recorded point of the tool's path
SERVICE_TIMEOUT_S = 15.0
STATUS_FIELDS = {"episode", "success", "success_time_s", "time_s"}  # used here


class GraphError(RuntimeError):
    """The graph does not work: a node has died, will not start, or nothing flows."""


NO_POLICY = ("cannot load", "refused policy")  # how the policy node's reasons to stay idle begin


class OperatorNode(Node):
    """Everything happens in the caller's thread, while it waits."""

    def __init__(self, camera: str = "front") -> None:
        super().__init__("operator_node")
        self._kinematics = Kinematics()
        self._record: EpisodeRecord | None = None
        self._start_s = 0.0
        self._action = np.array([0.0] * 6 + [1.0])
        self._gripper = 1.0
        self._recent_joints: deque = deque(maxlen=128)  # (stamp [ns], (7,) [rad])
        self._joint_count = 0
        self.status: dict[str, Any] = {}
        self.health: dict[str, tuple[bytes, str]] = {}  # node -> (level, message)
        self.check: Callable[[], None] = lambda: None  # called while waiting; may raise
        self.create_subscription(Image, topics.image_topic(camera), self._on_image, SENSOR)
        self.create_subscription(JointState, topics.JOINT_STATES, self._on_joints, SENSOR)
        self.create_subscription(String, topics.EPISODE_STATUS, self._on_status, LATCHED)
        self.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, self._on_health, 10)
        self.create_subscription(
            MultiDOFJointTrajectory, topics.ACTION_CHUNK, self._on_chunk, RELIABLE
        )
        self.create_subscription(JointTrajectory, topics.GRIPPER_CHUNK, self._on_gripper, RELIABLE)
        self.create_subscription(Float64, topics.LOOP_LATENCY, self._on_motion, RELIABLE)
        self._instruction = self.create_publisher(String, topics.INSTRUCTION, LATCHED)
        self._set_parameters_client: Client = self.create_client(
            SetParameters, topics.SIM_PARAMETERS
        )
        self._next_episode_client: Client = self.create_client(Trigger, topics.NEXT_EPISODE)

    # --- what a caller does -----------------------------------------------------------------

    def wait_until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Handle messages until `condition` holds; raises `GraphError` naming `what`."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            self.check()
            if time.monotonic() > deadline_s:
                raise GraphError(f"{what}: nothing for {timeout_s:.0f} s; {self._health_text()}")
            rclpy.spin_once(self, timeout_sec=0.05)

    def wait_until_ready(self, timeout_s: float = 120.0) -> None:
        """Until the simulator, the executor and an active policy are there."""

        def ready() -> bool:
            level, text = self.health.get("policy_node", (messages.LEVELS["STALE"], ""))
            if level == messages.LEVELS["ERROR"] and text.startswith(NO_POLICY):
                raise GraphError(f"policy_node: {text}")
            active = text and not text.startswith(("not ", "configured", *NO_POLICY))
            return bool(self.status and active and "executor_node" in self.health)

        self.wait_until(ready, timeout_s, "waiting for the nodes to start")

    def instruct(self, text: str) -> None:
        self._instruction.publish(String(data=text))

    def begin(self, task: str, seed: int) -> dict[str, Any]:
        """Reset the simulated table to an episode; the robot holds. Returns its description."""
        self.instruct("")
        self._pause(0.15)  # the executor stops before the world changes under it
        request = SetParameters.Request(
            parameters=[
                ParameterMessage(
                    name="task",
                    value=ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=task),
                ),
                ParameterMessage(
                    name="seed",
                    value=ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=seed),
                ),
            ]
        )
        for result in self._call(self._set_parameters_client, request).results:
            if not result.successful:
                raise GraphError(f"sim_node refuses task {task!r}, seed {seed}: {result.reason}")
        description = json.loads(self._call(self._next_episode_client, Trigger.Request()).message)
        self.wait_until(
            lambda: self.status.get("episode") == description["episode"],
            SERVICE_TIMEOUT_S,
            "waiting for the episode to begin",
        )
        self._recent_joints.clear()
        return description

    def run_episode(
        self,
        task: str,
        seed: int,
        on_progress: Callable[[EpisodeRecord], None] = lambda record: None,
        linger_s: float = 0.6,
    ) -> EpisodeRecord:
        """One episode from its reset to success or the end of its time, then hold."""
        description = self.begin(task, seed)
        record = EpisodeRecord(
            number=description["episode"],
            task=task,
            seed=seed,
            instruction=description["instruction"],
            time_limit_s=time_limit_s(description["max_steps"]),
        )
        self._record, self._start_s = record, time.monotonic()
        self.instruct(record.instruction)
        deadline_s = self._start_s + 2.0 * record.time_limit_s + 10.0  # a slipping simulation
        while time.monotonic() < deadline_s:
            self.check()
            rclpy.spin_once(self, timeout_sec=0.05)
            on_progress(record)
            record.duration_s = self.status["time_s"]
            if self.status["success"]:
                record.success, record.duration_s = True, self.status["success_time_s"]
                break
            if record.duration_s > record.time_limit_s:
                break
        self._pause(linger_s)
        self.instruct("")
        self._record = None
        return record

    def _pause(self, duration_s: float) -> None:
        deadline_s = time.monotonic() + duration_s
        while time.monotonic() < deadline_s:
            rclpy.spin_once(self, timeout_sec=0.02)

    def _call(self, client, request):
        if not client.wait_for_service(SERVICE_TIMEOUT_S):
            raise GraphError(f"service {client.srv_name} is not there; does sim_node run?")
        future = client.call_async(request)
        self.wait_until(future.done, SERVICE_TIMEOUT_S, f"waiting for {client.srv_name}")
        return future.result()

    def _health_text(self) -> str:
        known = [f"{name} says: {text}" for name, (_, text) in sorted(self.health.items())]
        return "; ".join(known) or "no node has reported its health"

    # --- what arrives -----------------------------------------------------------------------

    def _on_status(self, message: String) -> None:
        try:
            status = json.loads(message.data)
        except (ValueError, RecursionError):
            return
        if isinstance(status, dict) and status.keys() >= STATUS_FIELDS:
            self.status = status

    def _on_health(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.health[status.name] = (status.level, status.message)

    def _on_joints(self, message: JointState) -> None:
        try:
            joints = positions_by_name(message.name, message.position, robot.JOINT_NAMES)
        except JointsError:
            return
        self._recent_joints.append((messages.to_ns(message.header.stamp), joints))
        self._joint_count += 1
        if self._record is not None and self._joint_count % PATH_EVERY == 0:
            self._record.tool_path.append(self._kinematics.forward(joints)[0])

    def _on_image(self, message: Image) -> None:
        if self._record is None:
            return
        try:
            image = messages.image_from_message(message)
        except ObservationError:
            return
        stamp_ns = messages.to_ns(message.header.stamp)
        self._record.frames.append(Frame(stamp_ns, image, self._action.copy()))

    def _on_gripper(self, message: JointTrajectory) -> None:
        if message.points and len(message.points[0].positions) == 1:
            self._gripper = message.points[0].positions[0]

    def _on_chunk(self, message: MultiDOFJointTrajectory) -> None:
        """The displacement that the first pose of a chunk asks for."""
        if not self._recent_joints or not message.points or not message.points[0].transforms:
            return
        stamp_ns = messages.to_ns(message.header.stamp)
        _, joints = min(self._recent_joints, key=lambda sample: abs(sample[0] - stamp_ns))
        position, rotation = self._kinematics.forward(joints)
        transform = message.points[0].transforms[0]
        t, q = transform.translation, transform.rotation
        try:
            wanted = Rotation.from_quat([q.w, q.x, q.y, q.z], scalar_first=True)
            turn = displacement(rotation, wanted)
        except ValueError:  # no rotation
            return
        self._action = np.concatenate([np.array([t.x, t.y, t.z]) - position, turn, [self._gripper]])

    def _on_motion(self, message: Float64) -> None:
        if self._record is None or self.status.get("success"):
            return
        self._record.steps += 1
        self._record.latencies_ms.append(message.data)
        self._record.command_times_s.append(time.monotonic() - self._start_s)
