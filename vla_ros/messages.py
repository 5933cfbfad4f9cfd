"""ROS messages to and from the plain types the logic uses. Only message classes, no rclpy."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import numpy as np
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Transform, TwistStamped, Vector3
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image, JointState
from trajectory_msgs.msg import (
    JointTrajectory,
    JointTrajectoryPoint,
    MultiDOFJointTrajectory,
    MultiDOFJointTrajectoryPoint,
)

from policies.interface import ActionError, ObservationError
from vla_ros.planning import PoseChunk, check_length
from vla_ros.servo import Twist
from vla_ros.texts import shortened
from vla_ros.topics import BASE_FRAME, GRIPPER_OPENING, TOOL_NAME

LEVELS = {
    "OK": DiagnosticStatus.OK,
    "WARN": DiagnosticStatus.WARN,
    "ERROR": DiagnosticStatus.ERROR,
    "STALE": DiagnosticStatus.STALE,
}
ENCODINGS = ("rgb8", "bgr8")


def to_stamp(stamp_ns: int) -> Time:
    return Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)


def to_ns(stamp: Time | Duration) -> int:
    return stamp.sec * 10**9 + stamp.nanosec


def to_duration(duration_ns: int) -> Duration:
    return Duration(sec=duration_ns // 10**9, nanosec=duration_ns % 10**9)


# --- cameras --------------------------------------------------------------------------------


def image_to_message(image: NDArray[np.uint8], stamp_ns: int, frame: str) -> Image:
    """An (height, width, 3) uint8 RGB image as `rgb8`."""
    height, width, _ = image.shape
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.stamp = to_stamp(stamp_ns)
    message.header.frame_id = frame
    message.data = array("B", np.ascontiguousarray(image).tobytes())  # others: checked bytewise
    return message


def image_from_message(message: Image, expected_size_px: int = 0) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 RGB; raises `ObservationError` for what a policy cannot use.

    `expected_size_px` is the wanted width and height, 0 for any.
    """
    if message.encoding not in ENCODINGS:
        raise ObservationError(
            f"image encoding: expected one of {', '.join(ENCODINGS)}, got {message.encoding!r}"
        )
    height, width = message.height, message.width
    if expected_size_px and (width, height) != (expected_size_px, expected_size_px):
        raise ObservationError(
            f"image size: expected {expected_size_px} x {expected_size_px}, got {width} x {height}"
        )
    if 0 in (height, width) or message.step < 3 * width:
        raise ObservationError(
            f"image layout: expected at least {3 * width} bytes a row and some pixels, "
            f"got {message.step} bytes a row for {width} x {height}"
        )
    if len(message.data) != height * message.step:
        raise ObservationError(
            f"image data: expected {height * message.step} bytes, got {len(message.data)}"
        )
    rows = np.frombuffer(message.data, np.uint8).reshape(height, message.step)
    image = rows[:, : 3 * width].reshape(height, width, 3)
    return image[..., ::-1].copy() if message.encoding == "bgr8" else image


def check_contrast(image: NDArray[np.uint8], least: float) -> None:
    """Raise `ObservationError` for a picture that shows nothing: a lens is covered, a light is off.

    `least` is the range of brightness (0 to 255) that nine tenths of the pixels have to span.
    """
    dark, bright = np.percentile(image[::8, ::8], (5, 95))
    if bright - dark < least:
        raise ObservationError(
            f"image: expected a contrast of {least:g} or more, got {bright - dark:g}: "
            "is the lens covered?"
        )


def camera_info(fovy_deg: float, height: int, width: int, stamp_ns: int, frame: str) -> CameraInfo:
    """A pinhole camera without distortion whose vertical field of view is `fovy_deg`."""
    focal_px = height / 2 / np.tan(np.deg2rad(fovy_deg) / 2)
    centre_x, centre_y = width / 2, height / 2
    message = CameraInfo(height=height, width=width, distortion_model="plumb_bob", d=[0.0] * 5)
    message.header.stamp = to_stamp(stamp_ns)
    message.header.frame_id = frame
    message.k = [focal_px, 0.0, centre_x, 0.0, focal_px, centre_y, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [focal_px, 0.0, centre_x, 0.0, 0.0, focal_px, centre_y, 0.0, 0.0, 0.0, 1.0, 0.0]
    return message


# --- joints ---------------------------------------------------------------------------------


def joint_state(
    names: Sequence[str], positions: NDArray, velocities: NDArray, stamp_ns: int
) -> JointState:
    message = JointState(name=list(names))
    message.header.stamp = to_stamp(stamp_ns)
    message.position = array("d", positions)
    message.velocity = array("d", velocities)
    return message


def joint_trajectory(
    names: Sequence[str],
    times_ns: NDArray,
    positions: NDArray,
    stamp_ns: int = 0,
    velocities: NDArray | None = None,
    effort: float | None = None,
) -> JointTrajectory:
    """`positions` and `velocities` (k, n) at `stamp_ns + times_ns`; `effort` for all alike.

    A stamp of 0 means: from when it arrives. Commands have it: whatever clock the controller has
    and however late they come, they are still followed.
    """
    message = JointTrajectory(joint_names=list(names))
    message.header.stamp = to_stamp(stamp_ns)
    for index, (time_ns, row) in enumerate(zip(times_ns, positions, strict=True)):
        point = JointTrajectoryPoint(
            positions=array("d", row), time_from_start=to_duration(int(time_ns))
        )
        if velocities is not None:
            point.velocities = array("d", velocities[index])
        if effort is not None:
            point.effort = array("d", [effort] * len(names))
        message.points.append(point)
    return message


def twist_stamped(twist: Twist, frame: str, stamp_ns: int) -> TwistStamped:
    """For MoveIt Servo, in m/s and rad/s (its `command_in_type: speed_units`)."""
    message = TwistStamped()
    message.header.stamp = to_stamp(stamp_ns)
    message.header.frame_id = frame
    message.twist.linear = Vector3(**dict(zip("xyz", twist.linear_m_s.tolist(), strict=True)))
    message.twist.angular = Vector3(**dict(zip("xyz", twist.angular_rad_s.tolist(), strict=True)))
    return message


# --- action chunks --------------------------------------------------------------------------


def chunk_to_messages(chunk: PoseChunk) -> tuple[MultiDOFJointTrajectory, JointTrajectory]:
    """Tool poses in the base frame, and the gripper's opening at the same instants."""
    poses = MultiDOFJointTrajectory(joint_names=[TOOL_NAME])
    poses.header.stamp = to_stamp(chunk.stamp_ns)
    poses.header.frame_id = BASE_FRAME
    for time_ns, position, quaternion in zip(
        chunk.times_ns, chunk.positions, chunk.quaternions, strict=True
    ):
        transform = Transform()
        (
            transform.translation.x,
            transform.translation.y,
            transform.translation.z,
        ) = position.tolist()
        rotation = transform.rotation
        rotation.w, rotation.x, rotation.y, rotation.z = quaternion.tolist()
        poses.points.append(
            MultiDOFJointTrajectoryPoint(
                transforms=[transform], time_from_start=to_duration(int(time_ns))
            )
        )
    gripper = joint_trajectory(
        [GRIPPER_OPENING], chunk.times_ns, chunk.gripper[:, None], chunk.stamp_ns
    )
    return poses, gripper


def chunk_from_messages(poses: MultiDOFJointTrajectory, gripper: JointTrajectory) -> PoseChunk:
    """The chunk two messages with the same stamp describe; raises `ActionError` if none."""
    check_length(max(len(poses.points), len(gripper.points)))
    if poses.header.frame_id not in ("", BASE_FRAME):
        raise ActionError(
            f"frame_id: expected {BASE_FRAME!r}, got {shortened(poses.header.frame_id)}"
        )
    if list(poses.joint_names) != [TOOL_NAME]:
        raise ActionError(
            f"joint_names: expected [{TOOL_NAME!r}], got {shortened(poses.joint_names)}"
        )
    if list(gripper.joint_names) != [GRIPPER_OPENING]:
        raise ActionError(
            f"joint_names: expected [{GRIPPER_OPENING!r}], got {shortened(gripper.joint_names)}"
        )
    if len(poses.points) != len(gripper.points) or not poses.points:
        raise ActionError(
            f"points: expected as many of the gripper as of the tool and at least one, "
            f"got {len(gripper.points)} and {len(poses.points)}"
        )
    times_ns, positions, quaternions, openings = [], [], [], []
    for pose, opening in zip(poses.points, gripper.points, strict=True):
        if len(pose.transforms) != 1 or len(opening.positions) != 1:
            raise ActionError("points: expected one transform and one opening in each")
        translation, rotation = pose.transforms[0].translation, pose.transforms[0].rotation
        times_ns.append(to_ns(pose.time_from_start))
        positions.append((translation.x, translation.y, translation.z))
        quaternions.append((rotation.w, rotation.x, rotation.y, rotation.z))
        openings.append(opening.positions[0])
    return PoseChunk(
        stamp_ns=to_ns(poses.header.stamp),
        times_ns=np.array(times_ns, dtype=np.int64),
        positions=np.array(positions, dtype=float),
        quaternions=np.array(quaternions, dtype=float),
        gripper=np.array(openings, dtype=float),
    )


# --- text and health ------------------------------------------------------------------------


def sendable(text: str) -> str:
    """What a ROS string and a log can carry: half a surrogate pair, as file names and other
    people's JSON have them, becomes a question mark."""
    return text.encode(errors="replace").decode()


def diagnostics(
    name: str, level: str, message: str, values: Mapping[str, object], stamp_ns: int
) -> DiagnosticArray:
    """One status; `level` is a key of `LEVELS`."""
    status = DiagnosticStatus(
        level=LEVELS[level], name=name, message=sendable(message), hardware_id="vla_ros"
    )
    status.values = [
        KeyValue(key=sendable(str(key)), value=sendable(str(value)))
        for key, value in values.items()
    ]
    result = DiagnosticArray(status=[status])
    result.header.stamp = to_stamp(stamp_ns)
    return result
