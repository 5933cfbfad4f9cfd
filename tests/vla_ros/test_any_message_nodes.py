"""Whatever message comes, no callback of the other nodes raises, and good input works afterwards.

The executor has `test_any_message.py`, the policy's node `test_any_message_policy.py`.
"""

import json
import sys
import types
from concurrent import futures

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Transform, TwistStamped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from std_msgs.msg import Bool, Float64, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import (
    JointTrajectory,
    JointTrajectoryPoint,
    MultiDOFJointTrajectory,
    MultiDOFJointTrajectoryPoint,
)

from sim import robot
from vla_ros import messages
from vla_ros.planning import validate

MS = 1_000_000
START_NS = 10**15
NAMES = robot.JOINT_NAMES + robot.FINGER_JOINT_NAMES
HOME = np.append(robot.HOME_RAD, [0.04, 0.04])
numbers = st.one_of(st.floats(-1, 1), st.floats(width=64))  # nan, infinite, huge as well
texts = st.one_of(st.text(max_size=20), st.sampled_from(["", "\ud800", "a\x00b", "go " * 20_000]))
seconds = st.sampled_from([0, 0, 0, 1, -1, 2**31 - 1, -(2**31)])
nanoseconds = st.sampled_from([0, 1, 100 * MS, 200 * MS, 10**9 - 1, 2**32 - 1])
jumps_ms = st.sampled_from([20, 20, 20, 300, -200, 3_600_000, -3_600_000])
SETTINGS = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
}


@pytest.fixture
def make_node(own_domain):
    """`make_node(kind, *parameters)`: a node on a clock of the test's."""
    with own_domain() as domain:

        def make(kind, *parameters):
            domain.init(*(word for each in parameters for word in ("-p", each)))
            on_clock = type(
                "NodeOnClock", (kind,), {"now_ns": START_NS, "_now_ns": lambda self: self.now_ns}
            )
            return domain.keep(on_clock())

        yield make


class Recorder:
    def __init__(self):
        self.sent = []

    def publish(self, message):
        self.sent.append(message)


def time_of(message_field, sec, nanosec):
    message_field.sec, message_field.nanosec = sec, nanosec


FAULTS = ("number", "speed", "time", "last moment", "stamp", "names", "few")


@st.composite
def trajectories(draw, names=robot.JOINT_NAMES, home=robot.HOME_RAD):
    """Mostly to near the home posture, with something wrong in every other one."""
    message = JointTrajectory(joint_names=list(draw(st.permutations(names))))
    order = [names.index(name) for name in message.joint_names]
    for index in range(draw(st.integers(1, 3))):
        move = 0.01 * draw(st.integers(-3, 3))
        point = JointTrajectoryPoint(positions=[float(home[i]) - abs(move) for i in order])
        point.velocities = [0.0] * len(names)
        point.time_from_start.nanosec = 200 * MS * (index + 1)
        message.points.append(point)
    point = draw(st.sampled_from(message.points))
    wrong = draw(st.sampled_from(["", "", *FAULTS]))
    if wrong == "number":
        point.positions[draw(st.integers(0, len(names) - 1))] = draw(numbers)
    elif wrong == "speed":
        speed = draw(st.one_of(numbers, st.sampled_from([1e300, -1e308])))
        point.velocities[draw(st.integers(0, len(names) - 1))] = speed
    elif wrong == "time":
        time_of(point.time_from_start, draw(seconds), draw(nanoseconds))
    elif wrong == "last moment":
        for index, each in enumerate(message.points):
            time_of(each.time_from_start, 2**31 - 1, index)
    elif wrong == "stamp":
        time_of(message.header.stamp, draw(seconds), draw(nanoseconds))
    elif wrong == "names":
        message.joint_names[0] = draw(texts)
    elif wrong == "few":
        message.points = message.points[: draw(st.integers(0, 1))]
        for each in message.points:
            each.positions = each.positions[: draw(st.integers(0, 6))]
    for each in message.points:
        each.effort = draw(st.lists(numbers, max_size=2))
    return message


FINGERS = robot.FINGER_JOINT_NAMES


# --- the simulated robot --------------------------------------------------------------------


def test_no_command_breaks_the_simulated_robot(make_node):
    from vla_ros.sim_node import SimNode

    node = make_node(SimNode, "image_size_px:=16")
    commands = st.one_of(
        st.tuples(st.just("_on_arm"), trajectories()),
        st.tuples(st.just("_on_gripper"), trajectories(FINGERS, [0.04, 0.04])),
        st.tuples(st.just("_on_gripper"), trajectories()),
    )

    def wait(ms):
        for _ in range(ms // 20):
            node.now_ns += 20 * MS
            node._on_tick()

    @settings(max_examples=30, **SETTINGS)
    @given(st.lists(st.tuples(commands, jumps_ms), min_size=1, max_size=6))
    def any_story(story):
        for (callback, message), jump_ms in story:
            getattr(node, callback)(message)
            wait(60)
            node.now_ns += jump_ms * MS
            node._on_tick()
            told = node.simulation.commanded
            assert np.all(told[:7] >= robot.POSITION_LOWER_RAD)
            assert np.all(told[:7] <= robot.POSITION_UPPER_RAD)
            assert np.all((told[7:] >= 0) & (told[7:] <= robot.FINGER_TRAVEL_M))
        node._publish_status()
        node._publish_diagnostics()
        times_ns = np.array([200 * MS])
        node._on_arm(messages.joint_trajectory(robot.JOINT_NAMES, times_ns, HOME[None, :7]))
        wait(600)  # it may be 0.2 s ahead of a clock that was set back
        np.testing.assert_allclose(node.simulation.commanded[:7], HOME[:7], atol=1e-9)
        assert np.all(np.isfinite(node.simulation.measure().positions))

    any_story()


@settings(max_examples=50, **SETTINGS)
@given(task=st.one_of(texts, texts.map(lambda text: text + ".yaml"), st.integers(), st.none()))
def test_any_task_is_refused_with_a_reason(make_node, task):
    from rclpy.parameter import Parameter

    from vla_ros.sim_node import SimNode

    found = SimNode._check_parameters(None, [Parameter("task", value=task)])
    assert not found.successful
    assert found.reason


# --- long tasks -----------------------------------------------------------------------------

NESTED = "[" * 100_000
TASKS = [
    "lift the cube",
    "clear the table, then close the drawer",
    "lift the cube and " * 500 + "x",
]
answers = st.fixed_dictionaries(
    {},
    optional={
        "step": st.one_of(st.integers(-1, 2), st.none(), numbers),
        "outcome": st.sampled_from(["done", "failed", "perhaps", ["done"], None]),
        "reason": st.one_of(texts, st.none(), st.lists(numbers)),
    },
)
results = st.one_of(
    texts, st.sampled_from([NESTED, "{}", "9" * 5000, "null"]), answers.map(json.dumps)
)


def test_no_text_breaks_the_node_of_long_tasks(make_node):
    from vla_ros.task_node import TaskNode

    node = make_node(TaskNode, "scene:=[red cube, blue bowl, red drawer]", "attempts:=1")
    said = []
    publish = node._instruction.publish
    node._instruction.publish = lambda message: said.append(message.data) or publish(message)

    def give(task):
        node._on_task(String(data=task))
        if node._planning is not None:
            futures.wait([node._planning])
        node._on_tick()

    events = st.one_of(
        st.tuples(st.just("task"), st.one_of(texts, st.sampled_from([*TASKS, " " * 5000]))),
        st.tuples(st.just("result"), results),
        st.tuples(st.just("clock"), jumps_ms),
    )

    @settings(max_examples=40, **SETTINGS)
    @given(st.lists(events, min_size=1, max_size=8))
    def any_story(story):
        for kind, value in story:
            if kind == "task":
                give(value)
            elif kind == "result":
                node._on_result(String(data=value))
            else:
                node.now_ns += value * MS
                node._on_tick()
        give("")
        give("close the drawer")
        assert said[-1] == "close the red drawer"
        node._on_result(String(data=json.dumps({"step": 0, "outcome": "done"})))
        assert said[-1] == ""

    any_story()


# --- teleoperation --------------------------------------------------------------------------


def twist(values, frame, stamp_ns):
    message = TwistStamped()
    message.header.stamp, message.header.frame_id = messages.to_stamp(stamp_ns), frame
    linear, angular = message.twist.linear, message.twist.angular
    linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = values
    return message


def test_no_message_breaks_teleoperation(make_node):
    from vla_ros.teleop_node import TeleopNode
    from vla_ros.teleoperation import Teleoperation

    node = make_node(TeleopNode)
    node._poses, node._gripper = Recorder(), Recorder()
    ages_ms = st.sampled_from([0, 0, 0, 100, 900, -100, -900, -3_600_000])
    events = st.one_of(
        st.tuples(
            st.just("twist"), st.tuples(st.tuples(*[numbers] * 6), st.just("base") | texts, ages_ms)
        ),
        st.tuples(st.just("gripper"), numbers),
        st.tuples(st.just("joint"), st.tuples(st.integers(0, 8), numbers, ages_ms)),
        st.tuples(st.just("clock"), jumps_ms),
    )

    def measure(values, stamp_ns):
        node._on_joints(messages.joint_state(NAMES, values, np.zeros(0), stamp_ns))

    @settings(max_examples=60, **SETTINGS)
    @given(st.lists(events, min_size=1, max_size=8))
    def any_story(story):
        node._teleoperation, node._joints, node.now_ns = Teleoperation(), None, START_NS
        for kind, value in story:
            if kind == "twist":
                node._on_twist(twist(value[0], value[1], node.now_ns - value[2] * MS))
            elif kind == "gripper":
                node._on_gripper(Float64(data=value))
            elif kind == "joint":
                joints = HOME.copy()
                joints[value[0]] = value[1]
                measure(joints, node.now_ns - value[2] * MS)
            else:
                node.now_ns += value * MS
            node._on_timer()
            node._publish_diagnostics()
        node.now_ns += 5000 * MS
        measure(HOME, node.now_ns)
        sent = len(node._poses.sent)
        node._on_timer()
        assert len(node._poses.sent) == sent, "nobody has wished for anything"
        node._on_twist(twist((0.1, 0, 0, 0, 0, 0), "base", node.now_ns))
        node._on_timer()
        assert len(node._poses.sent) == sent + 1
        position = node._poses.sent[-1].points[-1].transforms[0].translation
        here = node._kinematics.forward(HOME[:7])[0]
        assert np.linalg.norm([position.x, position.y, position.z] - here) < 0.1
        for poses, gripper in zip(node._poses.sent, node._gripper.sent, strict=True):
            validate(messages.chunk_from_messages(poses, gripper))

    any_story()


# --- recording ------------------------------------------------------------------------------


class Files:
    """Takes what would be appended to a dataset."""

    encoder_options = {"crf": "18", "preset": "ultrafast"}

    def __init__(self, folder):
        self.folder, self.appended = folder, []
        (folder / "meta").mkdir(exist_ok=True)

    @property
    def episodes(self):
        return len(self.appended)

    def append(self, episodes):
        self.appended += episodes

    def close(self):
        pass


def test_no_message_breaks_the_recorder(make_node, tmp_path, monkeypatch):
    for name in ("lerobot", "lerobot.datasets", "lerobot.datasets.lerobot_dataset"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))  # it takes seconds
    from vla_ros.recorder_node import RecorderNode
    from vla_ros.recording.recorder import Recorder as Recording

    node = make_node(RecorderNode, f"output:={tmp_path}", "cameras:=[front, wrist]")
    ages_ms = st.sampled_from([0, 0, 0, 100, 900, -900, -3_600_000])
    shapes = st.sampled_from([(16, 16), (1, 1), (15, 17), (1, 20_000)])
    cameras = st.sampled_from(["front", "wrist"])
    events = st.one_of(
        st.tuples(st.just("image"), st.tuples(cameras, shapes, ages_ms)),
        st.tuples(st.just("far image"), st.tuples(cameras, seconds)),
        st.tuples(st.just("joint"), st.tuples(st.integers(0, 8), numbers, ages_ms)),
        st.tuples(st.just("far joints"), seconds),
        st.tuples(st.just("arm"), trajectories()),
        st.tuples(st.just("gripper"), trajectories(FINGERS, [0.04, 0.04])),
        st.tuples(st.just("instruction"), st.one_of(st.just("go"), texts)),
        st.tuples(st.just("success"), st.booleans()),
        st.tuples(st.just("discard"), st.none()),
        st.tuples(st.just("stop"), st.booleans()),
        st.tuples(st.just("state"), st.one_of(st.sampled_from(["stopped", "moving"]), texts)),
        st.tuples(st.just("clock"), jumps_ms),
        st.tuples(st.just("run"), st.sampled_from([300, 800])),
    )

    def see(camera, shape, stamp_ns):
        node._on_image(
            camera, messages.image_to_message(np.zeros((*shape, 3), np.uint8), stamp_ns, camera)
        )

    def measure(values, stamp_ns):
        node._on_joints(messages.joint_state(NAMES, values, np.zeros(0), stamp_ns))

    stay = messages.joint_trajectory(robot.JOINT_NAMES, np.array([100 * MS]), HOME[None, :7])

    def run(ms):
        for _ in range(ms // 50):
            node.now_ns += 50 * MS
            measure(HOME, node.now_ns)
            node._on_command(robot.JOINT_NAMES, stay)
            for camera in ("wrist", "front"):
                see(camera, (16, 16), node.now_ns)

    def deliver(kind, value):
        if kind == "image":
            see(value[0], value[1], node.now_ns - value[2] * MS)
        elif kind == "far image":
            see(value[0], (16, 16), value[1] * 10**9)
        elif kind == "joint":
            joints = HOME.copy()
            joints[value[0]] = value[1]
            measure(joints, node.now_ns - value[2] * MS)
        elif kind == "far joints":
            measure(HOME, value * 10**9)
        elif kind in ("arm", "gripper"):
            names = FINGERS if kind == "gripper" else robot.JOINT_NAMES
            node._on_command(names, value)
        elif kind == "instruction":
            node._on_instruction(String(data=value))
        elif kind == "success":
            node._on_success(Bool(data=value))
        elif kind == "discard":
            node._on_discard(None, Trigger.Response())
        elif kind == "stop":
            node._on_emergency_stop(Bool(data=value))
        elif kind == "state":
            node._on_executor_state(String(data=value))
        elif kind == "clock":
            node.now_ns += value * MS
        else:
            run(value)

    @settings(max_examples=60, **SETTINGS)
    @given(st.lists(events, min_size=1, max_size=10))
    def any_story(story):
        files = Files(tmp_path)
        node.recorder = Recording(node._settings, lambda shapes: files, node._log)
        node.now_ns = START_NS
        run(300)
        node._on_instruction(String(data="begin"))
        run(400)
        for kind, value in story:
            deliver(kind, value)
            node._publish_diagnostics()
        node._on_instruction(String(data=""))
        node.now_ns += 3600 * 10**9
        run(3000)  # whatever was believed of the clock
        before = len(files.appended)
        node._on_instruction(String(data="lift it"))
        node._on_executor_state(String(data="moving"))
        run(1000)
        node._on_instruction(String(data=""))
        assert len(files.appended) == before + 1, node.recorder.last
        for episode in files.appended:
            assert all(np.all(np.isfinite(each)) for each in episode.columns.values())

    any_story()


# --- those who watch ------------------------------------------------------------------------


@st.composite
def chunk_messages(draw):
    """What `/policy/action_chunk` and `/policy/gripper_chunk` may hold, numbers of any kind."""
    poses, gripper = MultiDOFJointTrajectory(), JointTrajectory()
    time_of(poses.header.stamp, draw(seconds), draw(nanoseconds))
    for _ in range(draw(st.integers(0, 2))):
        transform = Transform()
        for part, names in ((transform.translation, "xyz"), (transform.rotation, "wxyz")):
            for name in names:
                setattr(part, name, draw(numbers))
        point = MultiDOFJointTrajectoryPoint(transforms=[transform] * draw(st.integers(0, 2)))
        poses.points.append(point)
        gripper.points.append(JointTrajectoryPoint(positions=draw(st.lists(numbers, max_size=2))))
    return poses, gripper


statuses = st.one_of(texts, st.sampled_from([NESTED, "null", "[1]", "{}"]), answers.map(json.dumps))
healths = st.builds(
    lambda level, name, text: DiagnosticArray(
        status=[DiagnosticStatus(level=bytes([level]), name=name, message=text)]
    ),
    st.integers(0, 255),
    texts,
    texts,
)


@settings(max_examples=60, **SETTINGS)
@given(chunks=chunk_messages(), status=statuses, health=healths, latency=numbers)
def test_no_message_breaks_those_who_watch(watchers, chunks, status, health, latency):
    operator, watch = watchers
    for node in watchers:
        node._on_gripper(chunks[1])
        node._on_chunk(chunks[0])
        node._on_health(health)
    operator._on_joints(messages.joint_state(NAMES, HOME, np.zeros(0), START_NS))
    operator._on_status(String(data=status))
    watch._on_latency(Float64(data=latency))
    watch.state.set_instruction(status)
    json.dumps(watch.state.snapshot(0.0), allow_nan=False)  # or the page could not read it
    assert operator.status == {}
    assert operator._health_text()


@pytest.fixture
def watchers(make_node):
    from vla_ros.operator_node import OperatorNode
    from vla_ros.watch_node import WatchNode

    operator = make_node(OperatorNode)
    watch = WatchNode(("front",))
    yield operator, watch
    watch.destroy_node()
