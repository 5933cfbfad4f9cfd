"""The teleoperation node on a clock of the test's: whose stamps it believes, and what it says."""

import os

import numpy as np
import pytest
from geometry_msgs.msg import TwistStamped

from sim import robot
from vla_ros import messages
from vla_ros.graph import shared_environment

MS = 1_000_000
NAMES = robot.JOINT_NAMES + robot.FINGER_JOINT_NAMES
HOME = np.append(robot.HOME_RAD, [0.04, 0.04])


class Heard:
    def __init__(self):
        self.sent = []

    def publish(self, message):
        self.sent.append(message)


class Desk:
    """An operator with a device, and an arm that stays at home."""

    def __init__(self, node):
        self.node = node
        node.now_ns = 10**15
        node._poses, node._gripper, node._diagnostics = Heard(), Heard(), Heard()

    def measure(self, stamp_ns):
        self.node._on_joints(messages.joint_state(NAMES, HOME, np.zeros(9), stamp_ns))

    def push(self, stamp_ns):
        message = TwistStamped()
        message.header.stamp = messages.to_stamp(stamp_ns)
        message.twist.linear.x = 0.2
        self.node._on_twist(message)

    def wanted_m(self):
        """How far from home the chunk of this moment leads; None: none is sent."""
        before = len(self.node._poses.sent)
        self.node._on_timer()
        if len(self.node._poses.sent) == before:
            return None
        at = self.node._poses.sent[-1].points[-1].transforms[0].translation
        home, _ = self.node._kinematics.forward(HOME[:7])
        return float(np.linalg.norm(np.array([at.x, at.y, at.z]) - home))

    def said(self):
        self.node._publish_diagnostics()
        status = self.node._diagnostics.sent[-1].status[0]
        return status.level[0], status.message


@pytest.fixture
def desk():
    import rclpy

    from vla_ros.processes import private_environment
    from vla_ros.teleop_node import TeleopNode

    class OnClock(TeleopNode):
        def _now_ns(self):
            return self.now_ns

    before = dict(os.environ)
    os.environ.update({**shared_environment(), **private_environment()})
    rclpy.init(args=[], signal_handler_options=rclpy.SignalHandlerOptions.NO)
    node = OnClock()
    yield Desk(node)
    node.destroy_node()
    rclpy.try_shutdown()
    os.environ.clear()
    os.environ.update(before)


def test_an_operator_whose_clock_is_ahead_is_told_and_the_arm_stays(desk):
    node = desk.node
    for _ in range(20):
        desk.measure(node.now_ns)
        desk.push(node.now_ns + 3000 * MS)
        assert desk.wanted_m() is None
        node.now_ns += 50 * MS
    assert desk.said() == (
        2,
        "twist: the operator's clock is 3000 ms ahead of this machine's",
    )
    for _ in range(100):  # the time that the stamps named comes and goes
        node.now_ns += 50 * MS
        desk.measure(node.now_ns)
        assert desk.wanted_m() is None
    desk.push(node.now_ns)
    assert desk.wanted_m() > 0.01
    assert desk.said() == (0, "moving")


def test_unstamped_twists_and_joint_states_count_from_when_they_arrive(desk):
    node = desk.node
    desk.measure(0)
    desk.push(0)
    assert desk.wanted_m() > 0.01
    node.now_ns += 201 * MS
    assert desk.wanted_m() is None  # both are stale


def test_joint_states_ahead_of_the_clock_are_not_believed_then_or_later(desk):
    node = desk.node
    desk.measure(node.now_ns + 150 * MS)
    for _ in range(6):
        desk.push(node.now_ns)
        assert desk.wanted_m() is None
        node.now_ns += 50 * MS
    assert desk.said() == (
        2,
        "/joint_states: the arm's clock is 150 ms ahead of this machine's",
    )
    desk.measure(node.now_ns + 90 * MS)
    desk.push(node.now_ns)
    assert desk.wanted_m() > 0.01
    node.now_ns += 201 * MS  # after their arrival, though 111 ms after their stamp
    desk.push(node.now_ns)
    assert desk.wanted_m() is None


def test_joint_states_of_another_robot_are_said_to_be(desk):
    desk.node._on_joints(messages.joint_state(["elbow_joint"], [0.0], [0.0], desk.node.now_ns))
    level, said = desk.said()
    assert level == 2
    assert said.startswith("/joint_states: of another robot, and teleop_node drives the FR3 only: ")
    assert "elbow_joint" in said
