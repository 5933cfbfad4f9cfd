"""Runs a policy on synchronized cameras and joints: loads in `on_configure`, runs when active."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher, State, TransitionCallbackReturn
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory, MultiDOFJointTrajectory

from policies.interface import Observation, ObservationError, Policy, UnfitPolicyError
from policies.remote.settings import is_remote
from sim.kinematics import Kinematics
from vla_ros import messages, topics
from vla_ros.imagined import Imagining, picture_of
from vla_ros.inference import InferenceLoop, observe
from vla_ros.joints import JointsError, positions_by_name
from vla_ros.planning import PoseChunk
from vla_ros.policy_inputs import NOTHING_HEARD, PolicyInputs
from vla_ros.policy_loading import check_cameras, check_fit, load_from_factory, tool_limits
from vla_ros.policy_parameters import PARAMETERS
from vla_ros.robot_parameters import robot_of
from vla_ros.runtime import (
    NEWEST,
    RELIABLE,
    SENSOR,
    declare,
    run_node,
    subscribe_words,
)

DIAGNOSTICS_RATE_HZ = 2.0
HEARTBEAT_RATE_HZ = 10.0
RETRY_S = 3.0  # autostart: the machine that computes the policy may come back


class PolicyNode(LifecycleNode):
    """`load(parameters)` makes the policy; tests pass their own."""

    def __init__(self, load: Callable[[Mapping[str, Any]], Policy] | None = None) -> None:
        super().__init__("policy_node")
        self._load = load or load_from_factory
        self._values = declare(self, PARAMETERS)
        self._robot = robot_of(self._values)
        self._joint_names = self._robot.joint_names + self._robot.gripper.joints
        self._kinematics = Kinematics(arm=self._robot.arm)
        self._inputs: PolicyInputs | None = None
        self._loop: InferenceLoop | None = None
        self._left: InferenceLoop | None = None  # of a life before, if its policy did not return
        self._policy: Policy | None = None
        self._chunk_publishers: list[LifecyclePublisher] = []  # only while configured
        self._imagined: Any = None  # one of them: of what a planner expects
        self._health = ("WARN", "not configured")
        self._refused_images = 0
        self._diagnostics = self.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, RELIABLE)
        self.create_timer(1.0 / DIAGNOSTICS_RATE_HZ, self._publish_diagnostics)
        self._state = self.create_publisher(String, topics.POLICY_STATE, RELIABLE)
        self.create_timer(1.0 / HEARTBEAT_RATE_HZ, self._tell_state)
        self._start_timer = self.create_timer(0.0, self._autostart)
        if not self._values["autostart"]:
            self._start_timer.cancel()

    # --- lifecycle --------------------------------------------------------------------------

    def _autostart(self) -> None:
        self._start_timer.cancel()
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()
        elif is_remote(self._values["policy"]):
            self._start_timer.timer_period_ns = round(RETRY_S * 1e9)
            self._start_timer.reset()

    def on_configure(self, state: State) -> TransitionCallbackReturn:
        self._start_timer.cancel()  # whoever configures has taken over
        if self._left is not None and self._left.at_work:
            return self._fail(
                "the policy has not returned from before: configure again when it has, or start "
                "policy_node anew"
            )
        self._left = None
        name = self._values["policy"]
        try:
            self._policy = self._load(self._values)
            cameras = check_cameras(self._values["cameras"], self._policy)
            check_fit(self._policy, tool_limits(self._values, self._robot.limits.tool))
            self._begin(self._policy, cameras)
        except UnfitPolicyError as error:
            return self._fail(f"refused policy {name!r}: {error}")
        except Exception as error:  # a missing, truncated or unknown checkpoint, in many shapes
            return self._fail(f"cannot load policy {name!r}: {error}")
        self._report("OK", f"configured: {self._policy.name} on {self._values['device']}")
        return TransitionCallbackReturn.SUCCESS

    def _begin(self, policy: Policy, cameras: tuple[str, ...]) -> None:
        """Everything that `_clear` ends."""
        values = self._values
        inputs = PolicyInputs(
            cameras, values["tolerance_s"], values["max_age_s"], values["still_picture_s"]
        )
        self._inputs = inputs
        self._poses = self._publisher(MultiDOFJointTrajectory, topics.ACTION_CHUNK)
        self._gripper = self._publisher(JointTrajectory, topics.GRIPPER_CHUNK)
        if isinstance(policy, Imagining):
            self._imagined = self._publisher(Image, topics.IMAGINED)
        for name in cameras:
            self.create_subscription(
                Image,
                topics.image_topic(name),
                lambda message, name=name: self._on_image(name, message),
                NEWEST,
            )
        self.create_subscription(JointState, topics.JOINT_STATES, self._on_joints, SENSOR)
        subscribe_words(self, topics.INSTRUCTION, self._on_instruction)
        self.create_subscription(String, topics.EXECUTOR_STATE, self._on_executor_state, RELIABLE)
        self.create_subscription(
            String, topics.EXECUTOR_PRESENCE, self._on_executor_presence, RELIABLE
        )
        self._loop = InferenceLoop(
            policy,
            self._next_observation,
            self._publish_chunk,
            lambda observation: observation.instruction == inputs.instruction,
            self._report,
            values["rate_hz"],
            values["request_margin_s"] or None,
        )

    def _publisher(self, kind: type, topic: str) -> LifecyclePublisher:
        self._chunk_publishers.append(self.create_lifecycle_publisher(kind, topic, RELIABLE))
        return self._chunk_publishers[-1]

    def on_activate(self, state: State) -> TransitionCallbackReturn:
        if self._policy is None or self._loop is None:
            return TransitionCallbackReturn.FAILURE
        if self._loop.at_work:
            self._report("ERROR", "the policy has not returned from before: it cannot begin anew")
            return TransitionCallbackReturn.FAILURE
        try:
            self._policy.reset()
        except Exception as error:
            self._report("ERROR", f"the policy cannot begin anew: {error}")
            return TransitionCallbackReturn.FAILURE
        result = super().on_activate(state)
        self._loop.start()
        self._report("OK", f"active: {self._policy.name}")
        return result

    def on_deactivate(self, state: State) -> TransitionCallbackReturn:
        if self._loop is not None and not self._loop.stop():  # first the work, then the publishers
            self._report("ERROR", "the policy does not return; what it predicts is thrown away")
        else:
            self._report("WARN", "not active")
        return super().on_deactivate(state)

    def on_cleanup(self, state: State) -> TransitionCallbackReturn:
        self._clear()
        self._report("WARN", "not configured")
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: State) -> TransitionCallbackReturn:
        self._start_timer.cancel()
        self._clear()
        self._report("WARN", "shut down")
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: State) -> TransitionCallbackReturn:
        """A transition raised: as if nothing had been configured."""
        self._clear()
        self._report("ERROR", "a transition failed; not configured")
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        self._clear(timeout_s=1.0)
        super().destroy_node()

    def _fail(self, text: str) -> TransitionCallbackReturn:
        self._report("ERROR", text)
        self._clear()
        return TransitionCallbackReturn.FAILURE

    def _clear(self, timeout_s: float = 5.0) -> None:
        """As before `on_configure`, however far that came."""
        if self._loop is not None and not self._loop.stop(timeout_s):
            self._left = self._loop
        for subscription in list(self.subscriptions):
            if subscription.topic_name != "/parameter_events":
                self.destroy_subscription(subscription)
        for publisher in self._chunk_publishers:
            self.destroy_lifecycle_publisher(publisher)
        self._chunk_publishers.clear()
        self._loop = self._imagined = self._inputs = None
        self._drop_policy()

    def _drop_policy(self) -> None:
        """One that another machine computes has a connection to end."""
        policy, self._policy = self._policy, None
        close = getattr(policy, "close", None)
        if close is not None:
            try:
                close()
            except Exception as error:  # it goes, one way or another
                self.get_logger().warning(messages.sendable(f"the policy does not close: {error}"))

    # --- what arrives -----------------------------------------------------------------------

    def _on_image(self, camera: str, message: Image) -> None:
        if self._inputs is None:
            return
        try:
            image = messages.image_from_message(message, self._values["image_size_px"])
            messages.check_contrast(image, self._values["least_contrast"])
        except ObservationError as error:
            self._refused_images += 1
            self._report("ERROR", f"camera {camera!r}: {error}")
            return
        self._inputs.add_image(camera, messages.to_ns(message.header.stamp), image, self._now_ns())
        if self._loop is not None:
            self._loop.notify()

    def _on_joints(self, message: JointState) -> None:
        if self._inputs is None:
            return
        try:
            joints = positions_by_name(message.name, message.position, self._joint_names)
        except JointsError as error:
            self._report("ERROR", f"{topics.JOINT_STATES}: {error}")
            return
        self._inputs.add_joints(messages.to_ns(message.header.stamp), joints, self._now_ns())

    def _on_instruction(self, message: String, info: Mapping[str, Any] | None = None) -> None:
        """`info` tells when it was published; None: now."""
        if self._inputs is not None:
            published_ns = None if info is None else info["source_timestamp"]
            other = self._inputs.on_instruction(message.data, published_ns, time.time_ns())
            if other and self._loop is not None:
                self._loop.begin_anew()

    def _on_executor_state(self, message: String) -> None:
        if self._inputs is not None:
            self._inputs.on_executor(self._now_ns(), message.data)

    def _on_executor_presence(self, message: String) -> None:
        if self._inputs is not None:
            self._inputs.on_executor_presence(message.data)

    def on_callback_error(self, error: Exception) -> None:
        """A fault of ours, or a message nobody thought of: the executor holds without chunks."""
        self._report("ERROR", f"internal error: {type(error).__name__}: {error}")

    # --- the loop's thread ------------------------------------------------------------------

    def _next_observation(self) -> Observation | None:
        """The newest synchronized observation not used yet; None: nothing to do."""
        inputs = self._inputs
        found = None if inputs is None else inputs.newest(self._now_ns(), self._report)
        return found and observe(*found, self._kinematics, self._robot.gripper)

    def _publish_chunk(self, chunk: PoseChunk, _actions) -> None:
        poses, gripper = messages.chunk_to_messages(chunk)
        self._gripper.publish(gripper)
        self._poses.publish(poses)
        if self._imagined is not None and isinstance(self._policy, Imagining):
            self._publish_imagined(self._policy)

    def _publish_imagined(self, policy: Imagining) -> None:
        """Where the chunk should lead, once it is out: nothing waits for it."""
        found = picture_of(policy)
        if found is not None:
            picture, stamp_ns = found
            message = messages.image_to_message(picture, stamp_ns, topics.IMAGINED_FRAME)
            self._imagined.publish(message)

    # --- health -----------------------------------------------------------------------------

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _tell_state(self) -> None:
        self._state.publish(String(data=self._health[0]))

    def _report(self, level: str, text: str) -> None:
        text = messages.sendable(text)
        if level == "ERROR" and self._health != (level, text):
            self.get_logger().error(text, throttle_duration_sec=1.0)
        self._health = (level, text)

    def _publish_diagnostics(self) -> None:
        level, text = self._health
        values: dict[str, object] = {"refused_images": self._refused_images}
        if self._loop is not None:
            values["predictions"] = self._loop.count
            values["prediction_ms"] = f"{self._loop.latency_ms:.1f}"
            for name, value in self._loop.diagnostics.items():
                values[name] = f"{value:.3f}" if isinstance(value, float) else value
        stamp_ns = self._now_ns()
        streams = NOTHING_HEARD if self._inputs is None else self._inputs.streams
        values |= streams.values(stamp_ns)
        if self._inputs is not None:
            values["instruction"] = self._inputs.instruction
            values["older_instruction"] = self._inputs.older_instruction
        self._diagnostics.publish(
            messages.diagnostics("policy_node", level, text, values, stamp_ns)
        )


def main() -> None:
    """Entry point of `ros2 run vla_ros policy_node`."""
    run_node(PolicyNode)


if __name__ == "__main__":
    main()
