"""The executor's node: what its parameters choose, and the messages that go out."""

import time
from dataclasses import dataclass

import numpy as np
import pytest

from vla_ros import messages
from vla_ros.body import Body
from vla_ros.errors import UserError
from vla_ros.planning import PoseChunk
from vla_ros.robots import load_robot

MS = 1_000_000


@dataclass
class Clock:
    """Stands still unless a test moves it: however long a machine takes."""

    now_ns: int = 1_000_000 * MS
    set_ns: int = 0  # by which somebody has set it

    @property
    def steady_ns(self):
        return self.now_ns - self.set_ns


class Recorder:
    """A publisher that keeps what it gets."""

    def __init__(self):
        self.sent = []

    def publish(self, message):
        self.sent.append(message)

    def wait_for_all_acked(self, _timeout):
        return True


@pytest.fixture
def make_node(own_domain):
    from vla_ros.executor_node import ExecutorNode

    class NodeOnClock(ExecutorNode):
        def __init__(self):
            self.clock = Clock()
            super().__init__()

        def _now_ns(self):
            return self.clock.now_ns

        def _steady_ns(self):
            return self.clock.steady_ns

    with own_domain() as domain:

        def make(*parameters, remap=None):
            given = ("first_hold_s:=0.0", *parameters)  # the first chunk moves at once
            words = [word for each in given for word in ("-p", each)]
            for ours, theirs in (remap or {}).items():
                words += ["-r", f"{ours}:={theirs}"]
            domain.init(*words)
            node = domain.keep(NodeOnClock())
            node._gripper_command, node._latency = Recorder(), Recorder()
            return node

        yield make


def go(node, name):
    """Joint states, an instruction and a chunk, as messages; returns the robot."""
    node.clock.now_ns += 600 * MS  # the instruction is published after the start
    robot = load_robot(name)
    home = robot.arm.home_rad
    position, rotation = Body(robot.arm).forward(home)
    names = (*robot.joint_names, *robot.gripper.joints)
    values = np.concatenate([home, np.full(len(robot.gripper.joints), robot.gripper.opened)])
    now_ns = node._now_ns()
    node._on_joints(messages.joint_state(names[::-1], values[::-1], values * 0, now_ns))
    node._execution.on_instruction("go", now_ns - 500 * MS)
    chunk = PoseChunk(
        node._now_ns() - 50 * MS,
        np.arange(1, 5) * 100 * MS,
        position + np.outer(np.arange(1, 5), [0.0, -0.004, 0.004]),
        np.tile(rotation.as_quat(scalar_first=True), (4, 1)),
        np.linspace(1, 0, 4),
    )
    poses, gripper = messages.chunk_to_messages(chunk)
    node._on_joints(messages.joint_state(names, values, values * 0, node._now_ns()))
    node._on_gripper(gripper)
    node._on_poses(poses)
    assert node._execution.accepted == 1, node._execution.reason
    return robot


def test_the_measured_pose_is_held_before_the_first_motion(make_node):
    node = make_node("first_hold_s:=1.0")
    node._arm_command = Recorder()
    with pytest.raises(AssertionError, match="where it is before it moves"):
        go(node, "fr3")
    (held,) = node._arm_command.sent
    (point,) = held.points
    assert messages.to_ns(point.time_from_start) == pytest.approx(1e9, rel=0.05)
    np.testing.assert_allclose(point.positions, load_robot("fr3").arm.home_rad)
    node.clock.now_ns += 1100 * MS
    go(node, "fr3")
    assert len(node._arm_command.sent[-1].points) > 2


@pytest.mark.parametrize("stopped", [False, True])
def test_an_arm_beyond_its_range_is_sent_nothing_and_the_joint_is_named(make_node, stopped):
    node = make_node("robot:=so101")
    node._arm_command, node._diagnostics = Recorder(), Recorder()
    robot = load_robot("so101")
    values = np.array(robot.arm.home_rad)
    values[4] = robot.limits.position_upper_rad[4] + 0.1
    if stopped:
        node._on_emergency_stop()
    message = messages.joint_state(robot.joint_names, values, values * 0, node._now_ns())
    node._on_joints(message)
    node._on_watchdog()
    node._publish_diagnostics()
    (status,) = node._diagnostics.sent[-1].status
    expected = "joint wrist_roll is measured at 2.89 rad, expected -2.74 to 2.79 rad, its range"
    assert expected in status.message
    assert status.message.startswith("stopped: emergency stop" if stopped else "waiting: ")
    assert node._arm_command.sent == []


@pytest.mark.parametrize("name", ["fr3", "so101"])
def test_a_trajectory_has_the_robots_names_positions_and_velocities(make_node, name):
    node = make_node(f"robot:={name}", "gripper_effort_n:=7.5")
    node._arm_command = Recorder()
    robot = go(node, name)
    arm = node._arm_command.sent[-1]
    assert tuple(arm.joint_names) == robot.joint_names
    assert arm.header.stamp.sec == 0
    times = [messages.to_ns(point.time_from_start) for point in arm.points]
    assert times[0] > 0
    assert np.all(np.diff(times) > 0)
    for point in arm.points:
        assert len(point.positions) == len(point.velocities) == len(robot.joint_names)
    assert max(np.abs(point.velocities).max() for point in arm.points) > 0.01
    assert not any(arm.points[-1].velocities)
    gripper = node._gripper_command.sent[-1]
    assert tuple(gripper.joint_names) == robot.gripper.joints
    assert gripper.points[-1].positions[0] == pytest.approx(robot.gripper.closed)
    assert {effort for point in gripper.points for effort in point.effort} == {7.5}


def test_no_effort_is_sent_unless_it_is_asked_for(make_node):
    """joint_trajectory_controller refuses one that commands no efforts."""
    node = make_node()
    node._arm_command = Recorder()
    go(node, "fr3")
    points = node._gripper_command.sent[-1].points
    assert len(points) > 1
    assert not any(len(point.effort) for point in points)
    assert not any(len(point.effort) for point in node._arm_command.sent[-1].points)


def test_no_more_effort_is_sent_than_the_robot_may_use(make_node):
    node = make_node("gripper_effort_n:=400.0")
    node._arm_command = Recorder()
    robot = go(node, "fr3")
    sent = {effort for point in node._gripper_command.sent[-1].points for effort in point.effort}
    assert sent == {robot.limits.gripper_effort_n}


def test_twists_are_stamped_in_the_base_frame_and_zero_when_it_holds(make_node):
    node = make_node("output:=twist")
    node._twist = Recorder()
    node._send_twist()
    assert node._twist.sent == []  # nothing to do yet
    go(node, "fr3")
    node.clock.now_ns += 150 * MS  # amid the motion
    joints = node._execution.command.at(node._now_ns()).positions
    node._execution.on_joints(joints, node._now_ns())
    node._send_twist()
    message = node._twist.sent[-1]
    assert message.twist.linear.z > 0.0
    assert message.header.frame_id == "base"
    assert messages.to_ns(message.header.stamp) == node._now_ns()
    node._execution.on_emergency_stop(node._now_ns())
    node.clock.now_ns = node._execution.command.running.end_ns
    assert node._execution.command.at(node._now_ns()).resting
    node._execution.on_joints(node._execution.command.running.positions[-1], node._now_ns())
    node._send_twist()
    still = node._twist.sent[-1].twist
    assert (still.linear.x, still.linear.y, still.linear.z) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("parameters", "rate_hz"), [((), 50.0), (("twist_rate_hz:=25.0",), 25.0)])
def test_twists_go_out_as_often_as_the_parameter_says(make_node, parameters, rate_hz):
    """MoveIt Servo drops what is 0.1 s old."""
    node = make_node("output:=twist", *parameters)
    (timer,) = (each for each in node.timers if each.callback == node._send_twist)
    assert timer.timer_period_ns == pytest.approx(1e9 / rate_hz)
    assert not timer.is_canceled()
    assert timer.clock is node._steady_clock


def test_twists_leave_the_node_by_themselves_each_with_its_own_stamp(make_node):
    import rclpy
    from geometry_msgs.msg import TwistStamped

    from vla_ros.runtime import RELIABLE

    node = make_node("output:=twist")
    go(node, "fr3")
    heard = []
    node.create_subscription(TwistStamped, "/servo_node/delta_twist_cmds", heard.append, RELIABLE)
    for _ in range(400):
        rclpy.spin_once(node, timeout_sec=0.05)
        node.clock.now_ns += 1000  # joint states last for 200 ms
        if len(heard) >= 3:
            break
    stamps_ns = [messages.to_ns(each.header.stamp) for each in heard]
    assert len(stamps_ns) >= 3
    assert np.all(np.diff(stamps_ns) > 0)


@pytest.mark.parametrize(
    ("parameter", "reason"),
    [
        ("twist_rate_hz:=19.0", "twist_rate_hz: expected float from 20.0 to 500.0"),
        ("output:=torque", "output: expected one of trajectory, twist, got 'torque'"),
        ("robot:=fr4", "robot: expected one of fr3, so101, ur5e, FILE.yaml, got 'fr4'"),
        ("keep_out_m:=[1.0, 2.0]", "keep_out_m: expected six numbers"),
        ("velocity_fraction:=1.5", "velocity_fraction: expected float from 0.0 to 1.0"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(make_node, parameter, reason):
    with pytest.raises(UserError, match=reason):
        make_node(parameter)


def diagnostics(node):
    node._diagnostics = Recorder()
    node._publish_diagnostics()
    return {each.key: each.value for each in node._diagnostics.sent[0].status[0].values}


def test_the_diagnostics_have_ages_and_rates_of_every_stream(make_node):
    node = make_node()
    values = diagnostics(node)
    assert {values[f"{name}_age_ms"] for name in ("joint_states", "chunks", "policy_node")} == {
        "never"
    }
    go(node, "fr3")
    node._on_policy_state(None)
    values = diagnostics(node)
    for name in ("joint_states", "chunks", "policy_node"):
        assert float(values[f"{name}_age_ms"]) == 0
    assert float(values["joint_states_hz"]) > 0


def test_the_diagnostics_have_the_measured_pose_of_the_tool(make_node):
    """A UR5e with all joints at 0, by the maker's table: -(a2 + a3), -(d4 + d6), d1 - d5."""
    node = make_node("robot:=ur5e")
    assert diagnostics(node)["tool_m"] == "unknown"
    names = load_robot("ur5e").joint_names
    zeros = np.zeros(len(names))
    node._on_joints(messages.joint_state(names, zeros, zeros, node._now_ns()))
    values = diagnostics(node)  # nobody has given an instruction, nothing moves
    assert values["tool_m"] == "-0.817 -0.233 0.063"
    assert values["tool_roll_pitch_yaw_deg"] == "90.0 0.0 0.0"
    node.clock.now_ns += 500 * MS
    values = diagnostics(node)
    assert (values["tool_m"], values["tool_roll_pitch_yaw_deg"]) == ("unknown", "unknown")


def test_the_diagnostics_say_that_no_controller_listens(make_node):
    import rclpy
    from trajectory_msgs.msg import JointTrajectory

    from vla_ros.runtime import RELIABLE

    node = make_node()

    def status():
        node._diagnostics = Recorder()
        node._publish_diagnostics()
        return node._diagnostics.sent[0].status[0]

    go(node, "fr3")
    assert node._execution.state.value == "moving"
    question = f"nobody listens on {node._command_topic}: is the robot's controller active?"
    assert question in status().message and status().level == messages.LEVELS["WARN"]
    node.create_subscription(JointTrajectory, node._command_topic, lambda _: None, RELIABLE)
    for _ in range(200):
        if diagnostics(node)["command_subscribers"] == "1":
            break
        rclpy.spin_once(node, timeout_sec=0.05)
    assert question not in status().message and status().level == messages.LEVELS["OK"]


@pytest.mark.parametrize(("text", "level"), [("", "OK"), ("stays", "WARN")])
def test_who_holds_for_want_of_work_is_well_and_no_other(make_node, text, level):
    """A reason that speaks of an instruction, too, may be one to look at."""
    from trajectory_msgs.msg import JointTrajectory

    from vla_ros.runtime import RELIABLE

    node = make_node()
    node.create_subscription(JointTrajectory, node._command_topic, lambda _: None, RELIABLE)
    go(node, "fr3")
    node._execution.on_instruction("", node._now_ns())
    if text:
        node._execution.reason = "joint a does not stay where it is told to: publish an instruction"
    node._diagnostics = Recorder()
    for _ in range(200):
        if node.count_subscribers(node._command_topic):
            break
        time.sleep(0.05)
    node._publish_diagnostics()
    assert node._diagnostics.sent[0].status[0].level == messages.LEVELS[level]


@pytest.mark.parametrize(
    ("poses", "reason"),
    [(100, ""), (101, "at most 100 poses, got 101"), (5000, "at most 65536 bytes, got")],
)
def test_a_chunk_that_is_far_too_long_is_not_even_taken_apart(make_node, poses, reason):
    """For 20000 poses that and the inverse kinematics kept a stop waiting for many seconds."""
    import rclpy
    from trajectory_msgs.msg import JointTrajectory, MultiDOFJointTrajectory

    from vla_ros.runtime import RELIABLE

    node = make_node()
    node._arm_command = Recorder()
    robot = go(node, "fr3")
    count, refused = node._execution.accepted, node._execution.refused
    position, rotation = Body(robot.arm).forward(robot.arm.home_rad)
    halves = messages.chunk_to_messages(
        PoseChunk(
            node._now_ns(),
            np.arange(1, poses + 1) * 10 * MS,
            np.tile(position, (poses, 1)),
            np.tile(rotation.as_quat(scalar_first=True), (poses, 1)),
            np.ones(poses),
        )
    )
    kinds = {"/policy/action_chunk": MultiDOFJointTrajectory}
    kinds["/policy/gripper_chunk"] = JointTrajectory
    publishers = [node.create_publisher(kind, name, RELIABLE) for name, kind in kinds.items()]
    for publisher, half in zip(publishers, halves, strict=True):
        publisher.publish(half)
    for _ in range(200):
        rclpy.spin_once(node, timeout_sec=0.05)
        if node._execution.accepted > count or node._execution.refused > refused:
            break
    assert (node._execution.accepted > count) is (not reason), node._execution.reason
    assert reason in node._execution.reason


def test_an_emergency_stop_outlives_the_executor(make_node, monkeypatch, tmp_path):
    from std_msgs.msg import String
    from std_srvs.srv import Trigger

    from vla_ros.executor_node import ExecutorNode
    from vla_ros.executor_state import State
    from vla_ros.graph import RUN_FOLDER

    monkeypatch.setenv(RUN_FOLDER, str(tmp_path))
    node = make_node()
    node._on_emergency_stop()
    other = ExecutorNode()  # as after a restart
    assert other._execution.state is State.STOPPED
    assert other._on_reset(None, Trigger.Response()).success
    other.destroy_node()  # before it has heard an instruction
    third = ExecutorNode()
    assert third._execution.state is State.STOPPED
    answer = third._on_reset(None, Trigger.Response())
    assert answer.message == "stop ended; publish an instruction to go on"
    third._on_instruction(String(data="go"))
    third.destroy_node()
    fourth = ExecutorNode()
    assert fourth._execution.state is State.WAITING
    fourth.destroy_node()


def test_after_a_restart_and_a_reset_the_latched_instruction_moves_nothing(
    make_node, monkeypatch, tmp_path
):
    """It is delivered to the new process after the reset, but was published before."""
    from std_msgs.msg import String
    from std_srvs.srv import Trigger

    from vla_ros.graph import RUN_FOLDER
    from vla_ros.runtime import LATCHED
    from vla_ros.stop_latch import StopLatch

    monkeypatch.setenv(RUN_FOLDER, str(tmp_path))
    StopLatch().set()
    node = make_node()
    heard = []
    on_instruction = node._execution.on_instruction
    node._execution.on_instruction = lambda *given: (heard.append(given[0]), on_instruction(*given))
    publisher = node.create_publisher(String, "/instruction", LATCHED)
    publisher.publish(String(data="go"))  # not delivered before this thread spins
    assert node._on_reset(None, Trigger.Response()).success

    def hear(text):
        for _ in range(200):
            rclpy.spin_once(node, timeout_sec=0.05)
            if text in heard:
                return
        pytest.fail(f"{text} was not heard")

    import rclpy

    hear("go")
    assert node._execution.awaits_instruction
    assert StopLatch().is_set
    node.clock.now_ns += 100 * MS
    publisher.publish(String(data="go on"))
    hear("go on")
    assert not node._execution.awaits_instruction
    assert not StopLatch().is_set


def test_an_executor_takes_no_instruction_from_before_its_start(make_node):
    """It was latched, and withdrawn by somebody else: a new executor must not take it up."""
    from std_msgs.msg import String

    node = make_node()
    start_ns = time.time_ns()
    old, new = ({"source_timestamp": start_ns + s * 10**9} for s in (-5, 5))
    node.clock.now_ns += 500 * MS
    node._on_instruction(String(data="wander"), old)
    assert node._execution.awaits_instruction
    node._on_watchdog()
    node._diagnostics = Recorder()
    node._publish_diagnostics()
    (status,) = node._diagnostics.sent[0].status
    assert status.level == messages.LEVELS["WARN"]
    values = {each.key: each.value for each in status.values}
    assert "one that was published" in values["outdated_instruction"]
    node._on_instruction(String(data="wander"), new)
    assert not node._execution.awaits_instruction


def test_a_pause_between_two_clocks_does_not_age_an_instruction(make_node, monkeypatch):
    """The process is set aside for 50 ms just then: what is said 10 ms after the start counts."""
    from std_msgs.msg import String

    node = make_node()
    wall_ns = 10**18  # when the node's clock shows what it shows
    start_ns = node.clock.now_ns
    readings = iter([40 * MS])  # the pause is over before the clock is read a second time

    def read():
        node.clock.now_ns += next(readings, 0)
        return wall_ns + node.clock.now_ns - start_ns

    node.clock.now_ns += 20 * MS
    monkeypatch.setattr(time, "time_ns", read)
    said_ns = wall_ns + 10 * MS
    node._on_instruction(String(data="wander"), {"source_timestamp": said_ns})
    assert not node._execution.awaits_instruction


def test_in_simulation_an_executor_takes_an_old_instruction(make_node):
    from std_msgs.msg import String

    node = make_node("old_instructions:=true")
    node._on_instruction(String(data="go"), {"source_timestamp": time.time_ns() - 5 * 10**9})
    assert not node._execution.awaits_instruction
    assert node._execution.outdated == ""


def test_an_older_instruction_that_arrives_later_is_not_taken_up(make_node):
    """Two latched publishers are found in any order; what ends the work does so nevertheless."""
    from std_msgs.msg import String

    node = make_node("old_instructions:=true")
    now_ns = time.time_ns()
    before = {"source_timestamp": now_ns - 9 * 10**9}, {"source_timestamp": now_ns - 5 * 10**9}
    node._on_instruction(String(data="lift it"), before[1])
    node._on_instruction(String(data="wander"), before[0])
    assert node._execution._instruction == "lift it"
    earlier = {"source_timestamp": now_ns - 7 * 10**9}
    node._on_instruction(String(data=""), earlier)
    assert node._execution._instruction == ""
    node._on_instruction(String(data="lift it"), before[1])  # by another subscription
    assert node._execution._instruction == ""
    node._on_instruction(String(data="lift it"), {"source_timestamp": now_ns - 10**9})
    node._on_instruction(String(data=""), earlier)  # by another subscription
    assert node._execution._instruction == "lift it"


def test_stamps_of_joint_states_count_unless_there_are_none(make_node):
    node = make_node()
    robot = load_robot("fr3")
    names = (*robot.joint_names, *robot.gripper.joints)
    values = np.concatenate([robot.arm.home_rad, [0.04, 0.04]])
    node._on_joints(messages.joint_state(names, values, values * 0, node._now_ns() - 800 * MS))
    assert node._execution.fresh_joints(node._now_ns()) is None
    node._on_joints(messages.joint_state(names, values, values * 0, 0))
    assert node._execution.fresh_joints(node._now_ns()) is not None


@pytest.mark.parametrize("name", ["/policy/action_chunk", "/elsewhere/chunk"])
def test_two_publishers_of_chunks_are_told_but_stop_nothing(make_node, name):
    import rclpy
    from trajectory_msgs.msg import MultiDOFJointTrajectory

    from vla_ros.runtime import RELIABLE

    node = make_node(remap={"/policy/action_chunk": name})
    node._arm_command = Recorder()
    go(node, "fr3")

    def status(count):
        """When so many are known."""
        for _ in range(200):
            node._diagnostics = Recorder()
            node._publish_diagnostics()
            (found,) = node._diagnostics.sent[0].status
            if {each.key: each.value for each in found.values}["chunk_publishers"] == str(count):
                return found
            rclpy.spin_once(node, timeout_sec=0.05)
        pytest.fail(f"{count} publishers are not seen")

    for count in (1, 2):
        node.create_publisher(MultiDOFJointTrajectory, name, RELIABLE)
        found = status(count)
        assert ("publishers" in found.message) == (count == 2)
        assert node._execution.state.value == "moving"
    assert found.level == messages.LEVELS["WARN"]
    assert f"{name} has 2 publishers" in found.message
    node._execution.on_emergency_stop(node._now_ns())
    assert status(2).level == messages.LEVELS["ERROR"]  # remains what it is


def test_before_it_ends_it_brakes(make_node):
    node = make_node()
    node._arm_command = Recorder()
    go(node, "fr3")
    node.clock.now_ns += 150 * MS  # amid the motion
    joints = node._execution.command.at(node._now_ns()).positions
    node._execution.on_joints(joints, node._now_ns())
    end_ns, grips = node._execution.command.end_ns, len(node._gripper_command.sent)
    node.before_shutdown()
    motion, brake = node._arm_command.sent
    assert not any(brake.points[-1].velocities)
    assert node._now_ns() + messages.to_ns(brake.points[-1].time_from_start) < end_ns
    told, stay = (each.points[-1].positions[0] for each in node._gripper_command.sent[-2:])
    assert len(node._gripper_command.sent) == grips + 1  # the fingers stay, too
    assert told == 0.0 < stay < 0.04
    node.before_shutdown()
    assert len(node._arm_command.sent) == 2
    assert len(node._gripper_command.sent) == grips + 1


def test_before_it_ends_the_last_twist_is_zero(make_node):
    node = make_node("output:=twist")
    node._twist = Recorder()
    node.before_shutdown()
    assert node._twist.sent == []  # it has never moved the arm
    go(node, "fr3")
    node.before_shutdown()
    still = node._twist.sent[-1].twist
    assert [getattr(part, axis) for part in (still.linear, still.angular) for axis in "xyz"] == [
        0.0
    ] * 6


def test_an_internal_error_ends_the_work(make_node):
    node = make_node()
    node._arm_command = Recorder()
    go(node, "fr3")
    node.on_callback_error(ZeroDivisionError("division by zero"))
    assert "internal error: ZeroDivisionError: division by zero" in node._execution.reason
    assert node._execution.state.value == "holding"


def test_the_state_is_told_on_every_change(make_node):
    node = make_node()
    node._state = Recorder()
    node._on_watchdog()
    node._on_watchdog()
    assert [each.data for each in node._state.sent] == ["waiting"]
    node._arm_command = Recorder()
    go(node, "fr3")
    node._on_watchdog()
    assert [each.data for each in node._state.sent] == ["waiting", "moving"]


@pytest.mark.parametrize("reliability", ["RELIABLE", "BEST_EFFORT"])
def test_every_publisher_stops_it(make_node, reliability):
    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from std_msgs.msg import Bool

    from vla_ros.runtime import TWICE_HEARD

    node = make_node()
    profile = QoSProfile(depth=1, reliability=ReliabilityPolicy[reliability])
    publisher = node.create_publisher(Bool, "/emergency_stop", profile, event_callbacks=TWICE_HEARD)
    for _ in range(200):
        publisher.publish(Bool(data=True))
        rclpy.spin_once(node, timeout_sec=0.05)
        if node._execution.state.value == "stopped":
            return
    pytest.fail("the stop was not heard")
