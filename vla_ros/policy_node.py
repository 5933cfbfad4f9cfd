"""Runs a policy on synchronized cameras and joints: loads in `on_configure`, runs when active."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.lifecycle import LifecycleNode, State, TransitionCallbackReturn
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory, MultiDOFJointTrajectory

from policies.factory import DEFAULT_POLICY, DTYPES, QUANTIZATIONS
from policies.interface import (
    Observation,
    ObservationError,
    Policy,
    SelfChecking,
    ToolLimits,
    UnfitPolicyError,
)
from policies.remote.settings import is_remote
from sim.kinematics import Kinematics
from vla_ros import messages, topics
from vla_ros.errors import UserError
from vla_ros.imagined import Imagining, picture_of
from vla_ros.inference import InferenceLoop, observe
from vla_ros.joints import JointsError, positions_by_name
from vla_ros.limit_parameters import OWN
from vla_ros.planning import PoseChunk
from vla_ros.robot_parameters import ROBOT_PARAMETERS, robot_of
from vla_ros.runtime import (
    NEWEST,
    RELIABLE,
    SENSOR,
    Parameter,
    declare,
    run_node,
    subscribe_latched,
)
from vla_ros.streams import Streams
from vla_ros.synchronizer import StreamError, Synchronizer

PARAMETERS = (
    Parameter(
        "policy", DEFAULT_POLICY, "Name of a policy that ships here, a folder, or ws://host:port"
    ),
    Parameter("device", "cpu", "Where it runs: cpu, cuda or cuda:<index>"),
    Parameter("unnorm_key", "", "Data set whose statistics un-normalize; empty: the only one"),
    Parameter("dtype", "float32", f"What it computes in: {', '.join(DTYPES)}"),
    Parameter("quantization", "", f"Of its weights: {', '.join(QUANTIZATIONS)}; empty: none"),
    Parameter("cameras", [""], "Cameras to use; empty: those the policy looks at"),
    Parameter("image_size_px", 224, "Expected width and height of images; 0: any", 0, 4096),
    Parameter("least_contrast", 8.0, "Refuse darker images, of 255; 0: none", 0.0, 255.0),
    Parameter("rate_hz", 10.0, "Most predictions a second", 0.1, 100.0),
    Parameter(
        "request_margin_s",
        0.0,
        "Ask again this long, and the measured latency, before a chunk ends; 0: at every image",
        0.0,
        5.0,
    ),
    Parameter("tolerance_s", 0.05, "Streams further apart than this do not match", 0.001, 1.0),
    Parameter("max_age_s", 0.5, "Streams older than this are stale", 0.01, 10.0),
    Parameter("speed_m_s", 0.0, "Refuse policies that move the tool faster" + OWN, 0.0, 5.0),
    Parameter("turn_rad_s", 0.0, "Refuse policies that turn the tool faster" + OWN, 0.0, 50.0),
    Parameter("step_m", 0.0, "Refuse policies with longer steps" + OWN, 0.0, 5.0),
    *ROBOT_PARAMETERS,
    Parameter("planner", "", "Plans around the policy: best-of-n, gate, icem; empty: none"),
    Parameter(
        "world_model",
        "",
        "World model (name or folder) that the planner imagines with; empty: the one that ships",
    ),
    Parameter("deadline_ms", 200.0, "Of a planner's decision, the policy included", 1.0, 1e4),
    Parameter("autostart", True, "Configure and activate at once, without a lifecycle manager"),
)
DIAGNOSTICS_RATE_HZ = 2.0
HEARTBEAT_RATE_HZ = 10.0
EXECUTOR_SILENT_NS = 1_000_000_000  # an executor that was heard is gone when silent for longer
JOINTS, EXECUTOR = "joint_states", "executor_node"  # what the watchdogs watch, and the cameras
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
        self._lock = threading.Lock()  # guards the instruction and the synchronizer
        self._synchronizer: Synchronizer | None = None
        self._instruction = ""
        self._loop: InferenceLoop | None = None
        self._policy: Policy | None = None
        self._imagined: Any = None  # publisher of what a planner expects
        self._used_stamp_ns = 0
        self._health = ("WARN", "not configured")
        self._streams = Streams((JOINTS, EXECUTOR))
        self._refused_images = 0
        self._diagnostics = self.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, RELIABLE)
        self.create_timer(1.0 / DIAGNOSTICS_RATE_HZ, self._publish_diagnostics)
        self._state = self.create_publisher(String, topics.POLICY_STATE, RELIABLE)
        self.create_timer(1.0 / HEARTBEAT_RATE_HZ, self._tell_state)
        if self._values["autostart"]:
            self._start_timer = self.create_timer(0.0, self._autostart)

    # --- lifecycle --------------------------------------------------------------------------

    def _autostart(self) -> None:
        self._start_timer.cancel()
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()
        elif is_remote(self._values["policy"]):
            self._start_timer = self.create_timer(RETRY_S, self._autostart)

    def on_configure(self, state: State) -> TransitionCallbackReturn:
        values = self._values
        try:
            self._policy = self._load(values)
            cameras = check_cameras(values["cameras"], self._policy)
            check_fit(
                self._policy,
                tool_limits(values, self._robot.limits.tool),
            )
        except UnfitPolicyError as error:
            self._report("ERROR", f"refused policy {values['policy']!r}: {error}")
            self._drop_policy()
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # a missing, truncated or unknown checkpoint, in many shapes
            self._report("ERROR", f"cannot load policy {values['policy']!r}: {error}")
            self._drop_policy()
            return TransitionCallbackReturn.FAILURE
        self._synchronizer = Synchronizer(
            cameras, round(values["tolerance_s"] * 1e9), round(values["max_age_s"] * 1e9)
        )
        self._streams = Streams((*cameras, JOINTS, EXECUTOR))
        self._poses = self.create_lifecycle_publisher(
            MultiDOFJointTrajectory, topics.ACTION_CHUNK, RELIABLE
        )
        self._gripper = self.create_lifecycle_publisher(
            JointTrajectory, topics.GRIPPER_CHUNK, RELIABLE
        )
        if isinstance(self._policy, Imagining):
            self._imagined = self.create_lifecycle_publisher(Image, topics.IMAGINED, RELIABLE)
        for name in cameras:
            self.create_subscription(
                Image,
                topics.image_topic(name),
                lambda message, name=name: self._on_image(name, message),
                NEWEST,
            )
        self.create_subscription(JointState, topics.JOINT_STATES, self._on_joints, SENSOR)
        subscribe_latched(self, String, topics.INSTRUCTION, self._on_instruction)
        self.create_subscription(String, topics.EXECUTOR_STATE, self._on_executor_state, RELIABLE)
        self._loop = InferenceLoop(
            self._policy,
            self._next_observation,
            self._publish_chunk,
            lambda observation: observation.instruction == self._instruction,
            self._report,
            values["rate_hz"],
            values["request_margin_s"] or None,
        )
        self._report("OK", f"configured: {self._policy.name} on {values['device']}")
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: State) -> TransitionCallbackReturn:
        result = super().on_activate(state)
        if self._policy is None or self._loop is None:
            return TransitionCallbackReturn.FAILURE
        self._policy.reset()
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
        for subscription in list(self.subscriptions):
            if subscription.topic_name != "/parameter_events":
                self.destroy_subscription(subscription)
        self.destroy_lifecycle_publisher(self._poses)
        self.destroy_lifecycle_publisher(self._gripper)
        if self._imagined is not None:
            self.destroy_lifecycle_publisher(self._imagined)
            self._imagined = None
        self._drop_policy()
        self._loop = self._synchronizer = None
        self._report("WARN", "not configured")
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: State) -> TransitionCallbackReturn:
        if self._loop is not None:
            self._loop.stop()
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        if self._loop is not None:
            self._loop.stop(timeout_s=1.0)
        self._drop_policy()
        super().destroy_node()

    def _drop_policy(self) -> None:
        """One that another machine computes has a connection to end."""
        policy, self._policy = self._policy, None
        close = getattr(policy, "close", None)
        if close is not None:
            close()

    # --- what arrives -----------------------------------------------------------------------

    def _on_image(self, camera: str, message: Image) -> None:
        try:
            image = messages.image_from_message(message, self._values["image_size_px"])
            messages.check_contrast(image, self._values["least_contrast"])
        except ObservationError as error:
            self._refused_images += 1
            self._report("ERROR", f"camera {camera!r}: {error}")
            return
        self._streams.on(camera, self._now_ns())
        with self._lock:
            if self._synchronizer is not None:
                self._synchronizer.add_image(camera, messages.to_ns(message.header.stamp), image)
        if self._loop is not None:
            self._loop.notify()

    def _on_joints(self, message: JointState) -> None:
        try:
            joints = positions_by_name(message.name, message.position, self._joint_names)
        except JointsError as error:
            self._report("ERROR", f"{topics.JOINT_STATES}: {error}")
            return
        self._streams.on(JOINTS, self._now_ns())
        with self._lock:
            if self._synchronizer is not None:
                self._synchronizer.add_joints(messages.to_ns(message.header.stamp), joints)

    def _on_instruction(self, message: String) -> None:
        with self._lock:
            self._instruction = message.data

    def _on_executor_state(self, _message: String) -> None:
        self._streams.on(EXECUTOR, self._now_ns())

    def on_callback_error(self, error: Exception) -> None:
        """A fault of ours, or a message nobody thought of: the executor holds without chunks."""
        self._report("ERROR", f"internal error: {type(error).__name__}: {error}")

    # --- the loop's thread ------------------------------------------------------------------

    def _next_observation(self) -> Observation | None:
        """The newest synchronized observation not used yet; None: nothing to do."""
        with self._lock:
            instruction = self._instruction
            if self._synchronizer is None:
                return None
            if not instruction:
                self._report("OK", "the instruction is empty: nothing to do")
                return None
            silent_ns = self._streams.age_ns(EXECUTOR, self._now_ns())
            if silent_ns is not None and silent_ns > EXECUTOR_SILENT_NS:
                self._report("ERROR", "executor_node is silent: nothing is asked of the policy")
                return None
            try:
                snapshot = self._synchronizer.newest(self._now_ns())
            except StreamError as error:
                self._report("ERROR", str(error))
                return None
        if snapshot.stamp_ns == self._used_stamp_ns:
            return None
        self._used_stamp_ns = snapshot.stamp_ns
        return observe(snapshot, instruction, self._kinematics, self._robot.gripper)

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
        values |= self._streams.values(stamp_ns)
        self._diagnostics.publish(
            messages.diagnostics("policy_node", level, text, values, stamp_ns)
        )


def load_from_factory(parameters: Mapping[str, Any]) -> Policy:
    """The policy by the name or folder users give, and a planner around it if one is wanted.

    torch is imported here, not before.
    """
    from policies.factory import load_policy

    choice = None
    if parameters["planner"]:
        from vla_ros.planners import PlannerChoice

        choice = PlannerChoice(
            parameters["planner"],
            parameters["world_model"],
            deadline_ms=parameters["deadline_ms"],
            device=parameters["device"],
        )
        choice.check_for_robot()  # before the weights are read
    elif parameters["world_model"]:
        raise UserError("world_model: means nothing without a planner")
    policy = load_policy(
        parameters["policy"],
        device=parameters["device"],
        unnorm_key=parameters["unnorm_key"] or None,
        dtype=parameters["dtype"],
        quantization=parameters["quantization"] or None,
    )
    return policy if choice is None else choice.around(policy)


def check_cameras(wanted: list[str], policy: Policy) -> tuple[str, ...]:
    """The cameras to subscribe to; raises when the policy would miss one of its own."""
    cameras = tuple(name for name in wanted if name) or tuple(policy.cameras)
    missing = [name for name in policy.cameras if name not in cameras]
    if missing:
        raise ValueError(f"cameras: {policy.name} looks at {missing}, got {list(cameras)}")
    return cameras


def tool_limits(values: Mapping[str, Any], own: ToolLimits) -> ToolLimits:
    """Those of the parameters; what is 0 is the robot's own."""
    given = {name: values[name] for name in ("speed_m_s", "turn_rad_s", "step_m") if values[name]}
    return replace(own, **given)


def check_fit(policy: Policy, limits: ToolLimits) -> None:
    """A policy with a gate of its own passes it; raises `UnfitPolicyError` when it does not."""
    if isinstance(policy, SelfChecking):
        policy.check_fit(limits)


def main() -> None:
    """Entry point of `ros2 run vla_ros policy_node`."""
    run_node(PolicyNode)


if __name__ == "__main__":
    main()
