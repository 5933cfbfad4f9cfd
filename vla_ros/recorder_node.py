"""Records synchronized episodes from the topics as a LeRobotDataset; `vla-ros record` runs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from policies.interface import ObservationError
from sim import robot
from sim.episode_files import DatasetError, EpisodeFiles, check_output, explain
from sim.scene import CAMERAS
from vla_ros import messages, topics
from vla_ros.errors import UserError
from vla_ros.joints import JointsError, positions_by_name
from vla_ros.newest import Newest, Place
from vla_ros.recording.arm import JOINT_NAMES, features
from vla_ros.recording.recorder import COMMANDS, JOINTS, Recorder
from vla_ros.recording.settings import Settings
from vla_ros.recording.words import Word, Words
from vla_ros.runtime import (
    RELIABLE,
    WORDS_DEPTH,
    Parameter,
    declare,
    run_node,
    subscribe_latched,
    subscribe_words,
)
from vla_ros.stop_hearing import WAITING
from vla_ros.streams import Streams
from vla_ros.texts import shortened

PARAMETERS = (
    Parameter("output", "", "Folder of the LeRobotDataset: a new one, or one to be continued"),
    Parameter("cameras", list(CAMERAS), "Cameras to record; the first one sets the instants"),
    Parameter("rate_hz", Settings.rate_hz, "Rows a second", 1, 100),
    Parameter(
        "max_gap_s",
        Settings.max_gap_s,
        "Throw episodes away that lack images or joint states for longer",
        0.02,
        10.0,
    ),
    Parameter("robot_type", "fr3", "What the dataset calls the robot"),
)
DIAGNOSTICS_RATE_HZ = 2.0
TURN_S = 0.1
JOINT_STATES, ARM_COMMANDS = "joint_states", "arm_commands"  # in `/diagnostics`, as the cameras
PATIENCE_S = 5.0  # then a stream that has not come is named
# Writing an episode takes a moment; what arrives meanwhile waits here.
PICTURES = QoSProfile(depth=32, reliability=ReliabilityPolicy.BEST_EFFORT)
STATES = QoSProfile(depth=4096, reliability=ReliabilityPolicy.BEST_EFFORT)
TRAJECTORIES = QoSProfile(depth=256, reliability=ReliabilityPolicy.RELIABLE)


Info = Mapping[str, Any] | None  # rclpy's of a message; None: it has just been published


def waiting_ns(info: Info) -> int:
    """How long a message has waited for us since it arrived; 0: the middleware does not tell."""
    received_ns = info["received_timestamp"] if info else 0
    return max(0, time.time_ns() - received_ns) if received_ns > 0 else 0


def _published_ns(info: Info) -> int | None:
    return (info["source_timestamp"] or None) if info else None


class RecorderNode(Node):
    """Callbacks and messages only; the decisions are `vla_ros.recording.recorder`'s."""

    def __init__(self, on_event: Callable[[str], None] | None = None) -> None:
        super().__init__("recorder_node")
        values = declare(self, PARAMETERS)
        if not values["output"]:
            raise UserError("output: expected a folder for the dataset, got nothing")
        self._folder = Path(values["output"])
        self._robot_type = values["robot_type"]
        self._refused_messages = 0
        if self._folder.exists() and not self._folder.is_dir():
            raise UserError(f"output: expected a folder, {self._folder} is a file")
        try:
            self._settings = Settings(
                tuple(values["cameras"]), values["rate_hz"], values["max_gap_s"]
            )
        except ValueError as error:
            raise UserError(str(error)) from error
        self._on_event = on_event or self._log
        self._instructions, self._outcomes, self._stops = Newest(), Newest(), Newest()
        self._streams = Streams((*self._settings.cameras, JOINT_STATES, ARM_COMMANDS))
        self._words = Words()
        self.recorder = Recorder(self._settings, self._open_files, self._on_event)
        import lerobot.datasets.lerobot_dataset  # noqa: F401  (takes seconds: now, not later)

        with self._writing():  # or the first episode would be lost
            wanted = features(dict.fromkeys(self._settings.cameras, (0, 0, 3)))
            check_output(self._folder, self._settings.rate_hz, wanted, self._robot_type)
        self._missing = ""  # what has not come in `PATIENCE_S`, in words
        self.create_timer(PATIENCE_S, self._look_for_missing)
        self._diagnostics = self.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, RELIABLE)
        for name in self._settings.cameras:
            self.create_subscription(
                Image,
                topics.image_topic(name),
                lambda message, info, name=name: self._on_image(name, message, info),
                PICTURES,
            )
        self.create_subscription(
            JointState,
            topics.JOINT_STATES,
            lambda message, info: self._on_joints(message, info),
            STATES,
        )
        for topic, names in (
            (topics.ARM_COMMAND, robot.JOINT_NAMES),
            (topics.GRIPPER_COMMAND, robot.FINGER_JOINT_NAMES),
        ):
            self.create_subscription(
                JointTrajectory,
                topic,
                lambda message, info, names=names: self._on_command(names, message, info),
                TRAJECTORIES,
            )
        subscribe_words(self, topics.INSTRUCTION, self._on_instruction)
        subscribe_latched(
            self,
            Bool,
            topics.EPISODE_SUCCESS,
            lambda message, info: self._on_success(message, info),
            WORDS_DEPTH,
        )
        subscribe_latched(
            self,
            Bool,
            topics.EMERGENCY_STOP,
            lambda message, info: self._on_emergency_stop(message, info),
            WAITING,
        )
        self.create_subscription(
            String,
            topics.EXECUTOR_STATE,
            lambda message, info: self._on_executor_state(message, info),
            RELIABLE,
        )
        self.create_timer(TURN_S, self._on_turn, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.create_service(Trigger, topics.RECORDER_DISCARD, self._on_discard)
        self.create_timer(1.0 / DIAGNOSTICS_RATE_HZ, self._publish_diagnostics)

    def _log(self, text: str) -> None:
        self.get_logger().info(text)

    def _open_files(self, shapes: Mapping[str, tuple[int, ...]]) -> EpisodeFiles:
        return EpisodeFiles(
            self._folder, self._settings.rate_hz, features(dict(shapes)), self._robot_type
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """What goes wrong with the dataset ends the node, with one line."""
        try:
            yield
        except DatasetError as error:
            raise UserError(str(error)) from error
        except OSError as error:
            raise UserError(str(explain(error, self._folder, self.recorder.recorded))) from error

    # --- what arrives -----------------------------------------------------------------------

    def _on_image(self, camera: str, message: Image, info: Info = None) -> None:
        if info and camera == self._settings.cameras[0]:
            self._take(self._words.before_image(info["received_timestamp"]))
        try:
            image = messages.image_from_message(message)
        except ObservationError as error:
            self._refuse(f"camera {camera!r}: {error}")
            return
        if not self._stamped(message, f"camera {camera!r}"):
            return
        arrived_ns = self._now_ns() - waiting_ns(info)
        self._streams.on(camera, arrived_ns)
        with self._writing():
            self.recorder.on_image(camera, messages.to_ns(message.header.stamp), image, arrived_ns)

    def _on_joints(self, message: JointState, info: Info = None) -> None:
        try:
            joints = positions_by_name(message.name, message.position, JOINT_NAMES)
        except JointsError as error:
            self._refuse(f"{topics.JOINT_STATES}: {error}")
            return
        if not self._stamped(message, topics.JOINT_STATES):
            return
        waited_ns = waiting_ns(info)
        arrived_ns = self._now_ns() - waited_ns
        self._streams.on(JOINT_STATES, arrived_ns)
        self.recorder.on_behind(waited_ns)
        with self._writing():
            self.recorder.on_joints(messages.to_ns(message.header.stamp), joints, arrived_ns)

    def _stamped(self, message: Image | JointState, what: str) -> bool:
        """Rows are put together by stamps; arrival tells too little of when something was."""
        if messages.to_ns(message.header.stamp) > 0:
            return True
        self._refuse(f"{what}: unstamped: expected the time of measuring in header.stamp, got 0")
        return False

    def _on_command(
        self, names: tuple[str, ...], message: JointTrajectory, info: Info = None
    ) -> None:
        try:
            points = [
                (
                    messages.to_ns(point.time_from_start),
                    positions_by_name(message.joint_names, point.positions, names),
                )
                for point in message.points
            ]
        except JointsError as error:
            self._refuse(f"command: {error}")
            return
        times_ns = [time_ns for time_ns, _ in points]
        if times_ns != sorted(set(times_ns)):  # no controller follows it
            self._refuse("command: expected rising times")
            return
        start_ns = messages.to_ns(message.header.stamp)
        gripper = names == robot.FINGER_JOINT_NAMES
        arrived_ns = self._now_ns() - waiting_ns(info)
        if not gripper:
            self._streams.on(ARM_COMMANDS, arrived_ns)
        self.recorder.on_command(gripper, points, start_ns, arrived_ns)

    def _on_instruction(self, message: String, info: Info = None) -> None:
        published_ns = _published_ns(info)
        if published_ns is not None:
            place = self._instructions.place(message.data, published_ns, time.time_ns())
            if place is not Place.NEWEST:
                if place is Place.OLDER:
                    self.get_logger().warning(f"instruction: {self._instructions.older}")
                return
        arrived_ns = self._now_ns() - waiting_ns(info)
        self._hear(
            lambda: self.recorder.on_instruction(message.data, arrived_ns, published_ns), info
        )

    def _on_success(self, message: Bool, info: Info = None) -> None:
        published_ns = _published_ns(info)
        if published_ns is not None:
            place = self._outcomes.place(message.data, published_ns, time.time_ns())
            if place is Place.AGAIN:
                return
        self._hear(lambda: self.recorder.on_success(message.data, published_ns), info)

    def _on_emergency_stop(self, message: Bool, info: Info = None) -> None:
        """Whoever says it."""
        published_ns = _published_ns(info)
        if not message.data:
            return
        if published_ns is not None:
            place = self._stops.place(message.data, published_ns, time.time_ns())
            if place is Place.AGAIN:
                return
        self._hear(lambda: self.recorder.on_emergency_stop(published_ns), info)

    def _on_executor_state(self, message: String, info: Info = None) -> None:
        """Among the words: when it moves again, it does so for an instruction that came before."""
        self._hear(lambda: self.recorder.on_executor(message.data), info)

    def _hear(self, take: Callable[[], None], info: Info) -> None:
        """Let the recorder know, when the images that came before have been taken."""
        received_ns = info["received_timestamp"] if info else 0
        if info and received_ns > 0:
            self._words.add(Word(received_ns, info["source_timestamp"] or received_ns, take))
        else:
            with self._writing():
                take()

    def _take(self, words: Iterable[Word]) -> None:
        with self._writing():
            for word in words:
                word.take()

    def _on_turn(self) -> None:
        self._take(self._words.on_turn())
        with self._writing():
            self.recorder.on_turn()

    def _on_discard(self, _request, response: Trigger.Response) -> Trigger.Response:
        response.success = self.recorder.discard()
        response.message = self.recorder.last if response.success else "nothing is being recorded"
        return response

    def _look_for_missing(self) -> None:
        """Every `PATIENCE_S`; a change is said."""
        before = self._missing
        known = {name: topics.image_topic(name) for name in self._settings.cameras}
        known |= {JOINTS: topics.JOINT_STATES, COMMANDS: topics.ARM_COMMAND}
        missing = [known[name] for name in self.recorder.missing]
        self._missing = (
            f"nothing usable has come on {', '.join(missing)}: still waiting" if missing else ""
        )
        if self._missing != before:
            self._on_event(self._missing or "all streams are there")

    # --- health -----------------------------------------------------------------------------

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _refuse(self, text: str) -> None:
        self._refused_messages += 1
        self.get_logger().error(text, throttle_duration_sec=1.0)

    def _publish_diagnostics(self) -> None:
        recorder = self.recorder
        text = (recorder.missing and self._missing) or recorder.last
        level = "WARN" if text != recorder.last or text.startswith("episode thrown") else "OK"
        values = {
            "recording": recorder.recording,
            "rows": recorder.rows,
            "episodes": recorder.recorded,
            "thrown_away": recorder.discarded,
            "refused_messages": self._refused_messages,
            "instruction": shortened(recorder.instruction),
            "older_instruction": self._instructions.older,
        }
        now_ns = self._now_ns()
        values |= self._streams.values(now_ns)
        self._diagnostics.publish(
            messages.diagnostics("recorder_node", level, text, values, now_ns)
        )

    def destroy_node(self) -> None:
        try:
            with self._writing():
                try:
                    self._take(self._words.all())
                finally:
                    self.recorder.close()
        except UserError as error:
            self.get_logger().error(str(error))
        super().destroy_node()


def main() -> None:
    """Entry point of `ros2 run vla_ros recorder_node`."""
    run_node(RecorderNode)


if __name__ == "__main__":
    main()
