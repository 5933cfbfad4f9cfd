"""The executor's node stops arm and fingers: with its clock set, and beside another executor."""

import numpy as np
import pytest

from vla_ros import messages
from vla_ros.body import Body
from vla_ros.planning import PoseChunk
from vla_ros.robots import FR3

MS = 1_000_000
TURNS = 400  # of 50 ms: until what was sent has been heard
FEW_TURNS = 30  # of one callback each: timers take some


class Recorder:
    """A publisher that keeps what it gets."""

    topic_name = "/recorded"

    def __init__(self):
        self.sent = []

    def publish(self, message):
        self.sent.append(message)


@pytest.fixture
def make_node(own_domain):
    """Executors whose time stands still unless a test moves it, or sets the clock by `set_ns`."""
    from vla_ros.executor_node import ExecutorNode

    class Timeless(ExecutorNode):
        time_ns, set_ns = 10**15, 0

        def _now_ns(self):
            return self.time_ns + self.set_ns

        def _steady_ns(self):
            return self.time_ns

    with own_domain() as domain:
        domain.init("-p", "first_hold_s:=0.0")
        yield lambda: domain.keep(Timeless())


def tell(node, way_m=(0.0, -0.01, 0.01)):
    """Joint states and a chunk of steps of `way_m`; the fingers close at its fourth pose."""
    home = FR3.arm.home_rad
    names = (*FR3.joint_names, *FR3.gripper.joints)
    values = np.append(home, [FR3.gripper.opened] * 2)
    node._on_joints(messages.joint_state(names, values, values * 0, node._now_ns()))
    tool, rotation = Body(FR3.arm).forward(home)
    chunk = PoseChunk(
        node._now_ns() - 20 * MS,
        np.arange(1, 5) * 100 * MS,
        tool + np.outer(np.arange(1, 5), way_m),
        np.tile(rotation.as_quat(scalar_first=True), (4, 1)),
        np.array([1.0, 1.0, 1.0, 0.0]),
    )
    poses, gripper = messages.chunk_to_messages(chunk)
    node._on_gripper(gripper)
    node._on_poses(poses)


def set_to_work(node, *way_m):
    node.time_ns += 600 * MS
    node._execution.on_instruction("go", node._now_ns())
    node.time_ns += 100 * MS
    node._arm_command, node._gripper_command = Recorder(), Recorder()
    tell(node, *way_m)


@pytest.fixture
def moving(make_node):
    node = make_node()
    set_to_work(node)
    assert node._execution.state.value == "moving", node._execution.reason
    return node


def opening(point):
    return FR3.gripper.opening(np.array(point.positions))


def stop(node):
    node._on_emergency_stop()


def test_an_emergency_stop_takes_back_what_the_fingers_have_still_to_do(moving):
    (motion,) = moving._gripper_command.sent
    assert opening(motion.points[-1]) == 0.0
    moving.time_ns += 100 * MS
    stop(moving)
    held = moving._gripper_command.sent[-1]
    assert tuple(held.joint_names) == FR3.gripper.joints
    assert [opening(point) for point in held.points] == [1.0]
    assert messages.to_ns(held.points[0].time_from_start) > 0
    moving.time_ns += 1000 * MS
    stop(moving)
    assert len(moving._gripper_command.sent) == 2


def test_a_stop_without_joint_states_takes_it_back_where_only_fingers_move(make_node):
    node = make_node()
    set_to_work(node, (0.0, 0.0, 0.0))
    (motion,) = node._gripper_command.sent
    assert opening(motion.points[-1]) == 0.0
    node.time_ns += 250 * MS  # joint states are missing, and the fingers have still to close
    stop(node)
    held = [opening(point) for point in node._gripper_command.sent[-1].points]
    assert held == [pytest.approx(0.7)]  # as far as they had been told by then


@pytest.mark.parametrize("step_s", [-1, 10, -3600])
def test_an_emergency_stop_brakes_though_the_clock_was_set(moving, step_s):
    moving.time_ns += 150 * MS
    before = moving._execution.command.at(moving._now_ns())
    assert np.abs(before.velocities).max() > 0.01
    moving.set_ns = step_s * 1000 * MS
    stop(moving)
    brake = moving._arm_command.sent[-1]
    first_s = messages.to_ns(brake.points[0].time_from_start) / 1e9
    assert 0.0 < first_s <= 0.03
    np.testing.assert_allclose(brake.points[0].positions, before.positions, atol=0.01)
    assert not any(brake.points[-1].velocities)
    assert [opening(point) for point in moving._gripper_command.sent[-1].points] == [1.0]


def status(node):
    kept, node._diagnostics = node._diagnostics, Recorder()
    node._publish_diagnostics()
    (found,) = node._diagnostics.sent[0].status
    node._diagnostics = kept
    return found, {each.key: each.value for each in found.values}


def test_two_executors_hold_and_say_so_and_one_alone_waits_for_an_instruction(make_node, moving):
    from rclpy.executors import SingleThreadedExecutor

    other = make_node()
    spinner = SingleThreadedExecutor()
    for node in (moving, other):
        spinner.add_node(node)

    def wait(condition, what):
        for _ in range(TURNS):
            if condition():
                return
            spinner.spin_once(timeout_sec=0.05)
        pytest.fail(what)

    for node in (moving, other):
        wait(
            lambda node=node: status(node)[1]["executors"] == "2", "they do not hear of each other"
        )
    assert moving._execution.state.value == "holding"
    assert not any(moving._arm_command.sent[-1].points[-1].velocities)
    for node in (moving, other):
        found, _ = status(node)
        assert found.level == messages.LEVELS["ERROR"]
        assert "expected one executor, got 2 (heard on /executor/presence)" in found.message
    moving.time_ns += 600 * MS
    moving._execution.on_instruction("go on", moving._now_ns())
    moving.time_ns += 100 * MS
    accepted = moving._execution.accepted
    tell(moving)
    assert moving._execution.accepted == accepted
    assert "expected one executor, got 2" in moving._execution.reason

    spinner.remove_node(other)  # it is silent now
    moving.time_ns += 2000 * MS
    moving._on_watchdog()
    tell(moving)
    assert moving._execution.reason == "the other executor has gone: waiting for an instruction"
    assert status(moving)[1]["executors"] == "1"
    moving.time_ns += 100 * MS
    moving._execution.on_instruction("go on", moving._now_ns())
    moving.time_ns += 100 * MS
    for _ in range(2):
        tell(moving)
        moving.time_ns += 1500 * MS
    assert moving._execution.accepted > accepted, moving._execution.reason


@pytest.mark.parametrize(
    ("before", "after"), [(0, 1), (0, 1000), (1000, 0)], ids=["released", "pushed on", "in a queue"]
)
@pytest.mark.parametrize("who", ["the same button", "another button"])
def test_no_button_that_is_not_pressed_pushes_out_a_stop_nor_keeps_it_waiting(
    make_node, before, after, who
):
    import rclpy
    from rclpy.duration import Duration
    from std_msgs.msg import Bool

    from vla_ros.runtime import RELIABLE, TWICE_HEARD

    node = make_node()
    button, other = (
        node.create_publisher(Bool, "/emergency_stop", RELIABLE, event_callbacks=TWICE_HEARD)
        for _ in range(2)
    )
    for _ in range(TURNS):
        if button.get_subscription_count() == other.get_subscription_count() == 2:
            break
        rclpy.spin_once(node, timeout_sec=0.05)
    released = button if who == "the same button" else other
    for _ in range(before):  # nothing is spun: the executor is busy
        released.publish(Bool(data=False))
    button.publish(Bool(data=True))
    assert button.wait_for_all_acked(Duration(seconds=20))
    for _ in range(after):
        released.publish(Bool(data=False))
    assert released.wait_for_all_acked(Duration(seconds=20))
    for _ in range(FEW_TURNS):
        rclpy.spin_once(node, timeout_sec=0.05)
        if node._execution.state.value == "stopped":
            return
    pytest.fail("the stop was lost, or is late")
