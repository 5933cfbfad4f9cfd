"""Hears what the page of `vla-ros watch` shows, and says what a page with a token commands."""

from __future__ import annotations

import time
from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.client import Client
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Bool, Float64, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, MultiDOFJointTrajectory

from policies.interface import ObservationError
from vla_ros import messages, topics
from vla_ros.newest import Newest, Place
from vla_ros.runtime import LATCHED, NEWEST, RELIABLE, subscribe_words
from vla_ros.streams import Streams
from vla_ros.watch.listener import Listener
from vla_ros.watch.state import LEVELS, WatchState

DIAGNOSTICS_RATE_HZ = 2.0
IMAGINED = "imagined"  # what the page calls the world model's frames
EXECUTOR = "executor_node"


class WatchNode(Node):
    """Fills a `WatchState`; its three commands may be called from other threads, and return why
    nobody heard them, or nothing."""

    def __init__(self, cameras: tuple[str, ...]) -> None:
        super().__init__("watch_node")
        self.state = WatchState((*cameras, IMAGINED))
        self._streams = Streams((*cameras, IMAGINED, EXECUTOR))
        self._refused_images = 0
        self._listener = Listener()
        self._opening = 1.0
        shown = {name: topics.image_topic(name) for name in cameras}
        for name, topic in {**shown, IMAGINED: topics.IMAGINED}.items():
            self.create_subscription(
                Image, topic, lambda message, name=name: self._on_image(name, message), NEWEST
            )
        self.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, self._on_health, 10)
        self.create_subscription(
            MultiDOFJointTrajectory, topics.ACTION_CHUNK, self._on_chunk, RELIABLE
        )
        self.create_subscription(JointTrajectory, topics.GRIPPER_CHUNK, self._on_gripper, RELIABLE)
        self.create_subscription(Float64, topics.LOOP_LATENCY, self._on_latency, RELIABLE)
        self._instructions = Newest()
        subscribe_words(self, topics.INSTRUCTION, self._on_instruction)
        self.create_subscription(String, topics.EXECUTOR_STATE, self._on_executor, RELIABLE)
        self._instruction = self.create_publisher(String, topics.INSTRUCTION, LATCHED)
        self._stop = self.create_publisher(Bool, topics.EMERGENCY_STOP, LATCHED)
        self._reset: Client = self.create_client(Trigger, topics.EXECUTOR_RESET)
        self._diagnostics = self.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, RELIABLE)
        self.create_timer(1.0 / DIAGNOSTICS_RATE_HZ, self._publish_diagnostics)

    # --- commands ---------------------------------------------------------------------------

    def instruct(self, text: str) -> str:
        self._instruction.publish(String(data=text))
        return self._silence()

    def stop(self) -> str:
        self._stop.publish(Bool(data=True))
        return self._silence()

    def reset(self) -> str:
        self._stop.publish(Bool(data=False))  # or an executor that starts later would be stopped
        self._reset.call_async(Trigger.Request())
        return self._silence()

    def _silence(self) -> str:
        return self._listener.silence(time.monotonic(), self._stop.get_subscription_count())

    # --- what arrives -----------------------------------------------------------------------

    def _on_instruction(self, message: String, info: Mapping[str, int]) -> None:
        """Shown is the one that counts, as everywhere: the one that was published last."""
        place = self._instructions.place(message.data, info["source_timestamp"], time.time_ns())
        if place is Place.NEWEST:
            self.state.set_instruction(message.data)

    def _on_image(self, name: str, message: Image) -> None:
        try:
            image = messages.image_from_message(message)
            self.state.add_image(time.monotonic(), name, image)
            self._streams.on(name, time.monotonic_ns())
        except ObservationError as error:
            self._refused_images += 1
            self.get_logger().error(f"{name}: {error}", throttle_duration_sec=5.0)

    def _on_executor(self, _message: String) -> None:
        self._listener.on_heartbeat(time.monotonic())
        self._streams.on(EXECUTOR, time.monotonic_ns())

    def _on_health(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            level = min(status.level[0], len(LEVELS) - 1)
            self.state.add_status(time.monotonic(), status.name, level, status.message, values)

    def _on_gripper(self, message: JointTrajectory) -> None:
        if message.points and len(message.points[0].positions) == 1:
            self._opening = message.points[0].positions[0]

    def _on_chunk(self, message: MultiDOFJointTrajectory) -> None:
        if message.points and message.points[0].transforms:
            at = message.points[0].transforms[0].translation
            self.state.add_target(time.monotonic(), (at.x, at.y, at.z), self._opening)

    def _on_latency(self, message: Float64) -> None:
        self.state.add_latency(time.monotonic(), message.data)

    # --- health -----------------------------------------------------------------------------

    def _publish_diagnostics(self) -> None:
        """What reaches this node: a page shows no more."""
        values: dict[str, object] = {"refused_images": self._refused_images}
        values |= self._streams.values(time.monotonic_ns())
        stamp_ns = self.get_clock().now().nanoseconds
        self._diagnostics.publish(
            messages.diagnostics("watch_node", "OK", "watching", values, stamp_ns)
        )
