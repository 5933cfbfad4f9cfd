"""The teleoperation node on a clock of the test's: whose stamps it believes, and what it says."""

import os

import numpy as np
import pytest
import yaml
from geometry_msgs.msg import TwistStamped

from sim import arm_model, robot
from vla_ros import messages, robot_graph
from vla_ros.body import Body
from vla_ros.graph import shared_environment
from vla_ros.robots import known_robots, load_robot

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

    def push(self, stamp_ns, speed_m_s=0.2, frame=""):
        message = TwistStamped()
        message.header.frame_id = frame
        message.header.stamp = messages.to_stamp(stamp_ns)
        message.twist.linear.x = speed_m_s
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
def make_desk():
    import rclpy

    from vla_ros.processes import private_environment
    from vla_ros.teleop_node import TeleopNode

    class OnClock(TeleopNode):
        def _now_ns(self):
            return self.now_ns

    before = dict(os.environ)
    os.environ.update({**shared_environment(), **private_environment()})
    nodes = []

    def make(*arguments):
        rclpy.init(
            args=["--ros-args", *arguments], signal_handler_options=rclpy.SignalHandlerOptions.NO
        )
        nodes.append(OnClock())
        return Desk(nodes[0])

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def desk(make_desk):
    return make_desk()


def own_fr3(folder, longer_m):
    """The robot file of an FR3 whose fingertips are `longer_m` further from its flange."""
    spec = arm_model.fr3().make_spec()
    site = next(each for each in spec.sites if each.name == robot.TCP_SITE)
    site.pos = site.pos + [0.0, 0.0, longer_m]
    spec.compile()
    (folder / "own.xml").write_text(spec.to_xml())
    content = yaml.safe_load(known_robots()["fr3"].read_text())
    content |= {"description": "own.xml", "frames": {"base": robot.BASE_BODY}}
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("longer_m", [0.08, -0.1])
def test_the_tool_is_where_the_robots_file_has_it(make_desk, tmp_path, longer_m):
    path = own_fr3(tmp_path, longer_m)
    executor, teleop = robot_graph.describe({"robot": f"{path}", "driver": "teleop"}).nodes
    assert teleop.parameters["robot"] == executor.parameters["robot"] == f"{path}"
    assert teleop.parameters["description"] == executor.parameters["description"]

    desk = make_desk("-p", f"robot:={path}")
    desk.measure(desk.node.now_ns)
    desk.push(desk.node.now_ns, speed_m_s=0.0, frame=robot.BASE_BODY)
    desk.node._on_timer()
    at = desk.node._poses.sent[-1].points[-1].transforms[0].translation
    own, _ = Body(load_robot(f"{path}").arm).forward(robot.HOME_RAD)
    np.testing.assert_allclose([at.x, at.y, at.z], own, atol=1e-6)
    sent = len(desk.node._poses.sent)
    desk.push(desk.node.now_ns, frame="base")
    assert "frame_id: expected 'fr3_link0', got 'base'" in desk.said()[1]
    assert len(desk.node._poses.sent) == sent


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
    assert said.startswith("/joint_states: of another robot than fr3: ")
    assert "elbow_joint" in said
