"""The simulated robot and its cameras: the topics of a ros2_control arm and of camera drivers.

Nothing downstream can tell it from a real robot. The truth about an episode stays on `/sim/...`.
"""

from __future__ import annotations

import json

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from sim.scene import CAMERAS
from sim.scenes import find_task
from sim.variants import STANDARD
from vla_ros import messages, topics
from vla_ros.controllers import TrajectoryError
from vla_ros.errors import UserError
from vla_ros.runtime import LATCHED, RELIABLE, SENSOR, Parameter, declare, run_node
from vla_ros.simulation import TICK_NS, Simulation

PARAMETERS = (
    Parameter("task", "Lift", "Task of the next episode, or a scene file", read_only=False),
    Parameter("seed", 0, "Seed of the next episode", 0, 2**31 - 1, read_only=False),
    Parameter("variant", STANDARD, "A changed world, a randomization preset or a file of ranges"),
    Parameter("announce", False, "Publish each episode's instruction on /instruction"),
    Parameter("cameras", ["front", "wrist"], "Cameras to publish"),
    Parameter("image_size_px", 224, "Width and height of the images", 16, 640),
    Parameter("image_rate_hz", 10.0, "Images a second and camera", 0.5, 60.0),
    Parameter("joint_state_rate_hz", 62.5, "Joint states a second", 10.0, 125.0),
)
STATUS_RATE_HZ = 5.0
DIAGNOSTICS_RATE_HZ = 2.0
MAX_SLIP_S = 0.1  # between two reports; more, and the simulation does not keep up with the clock
NOT_KNOWN_YET = "_NODE_NAME_UNKNOWN_"  # a publisher whose node discovery has not told


class SimNode(Node):
    """One thread owns physics and rendering; the clock is the machine's."""

    def __init__(self) -> None:
        super().__init__("sim_node")
        values = declare(self, PARAMETERS)
        unknown = [camera for camera in values["cameras"] if camera not in CAMERAS]
        if unknown:
            raise UserError(f"cameras: expected some of {', '.join(CAMERAS)}, got {unknown}")
        self._cameras = tuple(values["cameras"])
        self._size_px = values["image_size_px"]
        self._announce = values["announce"]
        try:
            self.simulation = Simulation(
                values["task"], values["seed"], self._now_ns(), values["variant"]
            )
        except ValueError as error:
            raise UserError(str(error)) from error
        self.add_on_set_parameters_callback(self._check_parameters)

        self._joints = self.create_publisher(JointState, topics.JOINT_STATES, RELIABLE)
        self._images = {
            name: self.create_publisher(Image, topics.image_topic(name), SENSOR)
            for name in self._cameras
        }
        self._infos = {
            name: self.create_publisher(CameraInfo, topics.camera_info_topic(name), SENSOR)
            for name in self._cameras
        }
        self._status = self.create_publisher(String, topics.EPISODE_STATUS, LATCHED)
        self._success = self.create_publisher(Bool, topics.EPISODE_SUCCESS, LATCHED)
        self._instruction = self.create_publisher(String, topics.INSTRUCTION, LATCHED)
        self.create_subscription(JointTrajectory, topics.ARM_COMMAND, self._on_arm, RELIABLE)
        self.create_subscription(
            JointTrajectory, topics.GRIPPER_COMMAND, self._on_gripper, RELIABLE
        )
        self._diagnostics = self.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, RELIABLE)
        self.create_service(Trigger, "~/next_episode", self._on_next_episode)
        self._refused = 0
        self._drawn = 0
        self._reported = (0, 0.0)  # images drawn and time slipped [s] at the last report

        self._joint_period_ns = round(1e9 / values["joint_state_rate_hz"])
        self._image_period_ns = round(1e9 / values["image_rate_hz"])
        self._next_joints_ns = self._next_images_ns = self._now_ns()
        self.create_timer(TICK_NS / 1e9, self._on_tick)
        self.create_timer(1.0 / STATUS_RATE_HZ, self._publish_status)
        self.create_timer(1.0 / DIAGNOSTICS_RATE_HZ, self._publish_diagnostics)
        self._begin()

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    # --- the robot --------------------------------------------------------------------------

    def _on_tick(self) -> None:
        now_ns = self._now_ns()
        self.simulation.advance_to(now_ns)
        if now_ns >= self._next_joints_ns:
            self._next_joints_ns = _next(self._next_joints_ns, self._joint_period_ns, now_ns)
            measured = self.simulation.measure()
            self._joints.publish(
                messages.joint_state(
                    self.simulation.names, measured.positions, measured.velocities, now_ns
                )
            )
        if now_ns >= self._next_images_ns:
            self._next_images_ns = _next(self._next_images_ns, self._image_period_ns, now_ns)
            self.capture(now_ns)

    def capture(self, now_ns: int) -> None:
        """Publish what every camera sees now; cameras nobody listens to do not draw."""
        world, size = self.simulation.world, self._size_px
        for name in self._cameras:
            frame = f"{name}_optical_frame"
            if self._images[name].get_subscription_count():
                image = self.simulation.picture(name, size)
                self._drawn += 1
                self._images[name].publish(messages.image_to_message(image, now_ns, frame))
            if self._infos[name].get_subscription_count():
                fovy_deg = float(world.model.camera(name).fovy[0])
                self._infos[name].publish(messages.camera_info(fovy_deg, size, size, now_ns, frame))

    def _on_arm(self, message: JointTrajectory) -> None:
        self._follow(self.simulation.arm, message, slice(0, 7))

    def _on_gripper(self, message: JointTrajectory) -> None:
        self._follow(self.simulation.gripper, message, slice(7, None))
        efforts = [effort for point in message.points for effort in point.effort]
        if efforts:
            self.simulation.limit_grip(max(efforts))

    def _follow(self, follower, message: JointTrajectory, which: slice) -> None:
        points = [
            (messages.to_ns(point.time_from_start), point.positions) for point in message.points
        ]
        velocities = [point.velocities for point in message.points]
        start_ns = messages.to_ns(message.header.stamp)
        self.simulation.advance_to(self._now_ns())  # what is commanded now, not at the last tick
        commanded = self.simulation.commanded[which]
        try:
            follower.accept(
                message.joint_names, points, start_ns, self._now_ns(), commanded, velocities
            )
        except TrajectoryError as error:
            self._refused += 1
            self.get_logger().error(f"refused: {error}", throttle_duration_sec=1.0)

    # --- episodes ---------------------------------------------------------------------------

    def _check_parameters(self, parameters) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == "task":
                try:
                    find_task(parameter.value)
                except ValueError as error:
                    return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _on_next_episode(self, _request, response: Trigger.Response) -> Trigger.Response:
        """Begin the episode of the parameters `task` and `seed`."""
        self.simulation.start_episode(
            self.get_parameter("task").value, self.get_parameter("seed").value, self._now_ns()
        )
        self._begin()
        response.success = True
        response.message = json.dumps(self.simulation.description())
        return response

    def _begin(self) -> None:
        now_ns = self._now_ns()
        self._next_joints_ns = self._next_images_ns = now_ns
        description = self.simulation.description()
        self.get_logger().info(
            f"episode {description['episode']}: {description['task']}, seed "
            f"{description['seed']}: {description['instruction']!r}"
        )
        if self._announce:
            self._instruction.publish(String(data=description["instruction"]))
        self._publish_status()

    def _publish_status(self) -> None:
        status = self.simulation.status()
        self._success.publish(Bool(data=status["success"]))  # for whoever records
        self._status.publish(String(data=json.dumps(status)))

    def _refuse_company(self) -> None:
        """Raise `UserError` when another node publishes joint states here: a robot, which would be
        moved by what is measured on this one. Publishers are told by name, for one of this node's
        own name may be what a killed `sim_node` has left behind."""
        topic = self._joints.topic_name  # as it was renamed
        names = {each.node_name for each in self.get_publishers_info_by_topic(topic)}
        if others := sorted(names - {self.get_name(), NOT_KNOWN_YET}):
            raise UserError(
                f"{self.get_name()}: {topic}: expected no other publisher, got "
                f"{', '.join(others)}: a simulation beside a robot; for a robot start "
                "robot.launch.py, or give the simulation a ROS_DOMAIN_ID of its own"
            )

    def _publish_diagnostics(self) -> None:
        self._refuse_company()
        drawn, slipped_s = self._reported
        self._reported = (self._drawn, self.simulation.slipped_s)
        slips = self.simulation.slipped_s - slipped_s > MAX_SLIP_S
        level, text = ("WARN", "slower than the clock") if slips else ("OK", "running")
        values = {
            "images_per_s": f"{(self._drawn - drawn) * DIAGNOSTICS_RATE_HZ:.0f}",
            "slipped_s": f"{self.simulation.slipped_s:.2f}",
            "refused_commands": self._refused,
        }
        self._diagnostics.publish(
            messages.diagnostics("sim_node", level, text, values, self._now_ns())
        )

    def destroy_node(self) -> None:
        if hasattr(self, "simulation"):  # not after a parameter that was refused
            self.simulation.close()
        super().destroy_node()


def _next(due_ns: int, period_ns: int, now_ns: int) -> int:
    """When it is due again: on the old grid, unless that lies in the past."""
    return max(due_ns + period_ns, now_ns + period_ns // 2)


def main() -> None:
    """Entry point of `ros2 run vla_ros sim_node`."""
    run_node(SimNode)


if __name__ == "__main__":
    main()
