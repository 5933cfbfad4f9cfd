"""Whatever message comes, no callback raises, and nothing that goes out passes a limit."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from std_msgs.msg import String

from policies.interface import ActionError, ObservationError
from sim import robot
from vla_ros import messages
from vla_ros.body import Body
from vla_ros.execution import Execution
from vla_ros.faults.monitor import CommandMonitor, worst
from vla_ros.joints import JointsError, positions_by_name
from vla_ros.limits import FR3_LIMITS
from vla_ros.planning import PoseChunk, validate
from vla_ros.robots import FR3

MS = 1_000_000
START = 10**15
NAMES = (*FR3.joint_names, *FR3.gripper.joints)
BODY = Body()
HOME = robot.HOME_RAD
TOOL, ROTATION = BODY.forward(HOME)
numbers = st.floats(width=64)  # every one: nan, infinite, huge
texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
SETTINGS = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def joint_states(draw):
    """Mostly the robot's names, in any order, with something wrong now and then."""
    names = draw(st.permutations(NAMES))
    values = [float(np.append(HOME, [0.04, 0.04])[NAMES.index(name)]) for name in names]
    wrong = draw(st.integers(0, 5))
    if wrong == 0:
        values[draw(st.integers(0, 8))] = draw(numbers)
    elif wrong == 1:
        values = values[: draw(st.integers(0, 8))]
    elif wrong == 2:
        names = [*names[:-1], draw(texts)]
    age_ms = draw(st.sampled_from([0, 0, 0, 100, 5000, -5000]))
    return "joints", (names, values, age_ms)


@st.composite
def chunks(draw):
    """A short walk of the tool, with one thing wrong in every other chunk."""
    count = draw(st.integers(1, 5))
    steps = draw(arrays(float, (count, 3), elements=st.floats(-0.02, 0.02)))
    positions = TOOL + np.cumsum(steps, axis=0)
    quaternions = np.tile(ROTATION.as_quat(scalar_first=True), (count, 1))
    openings = draw(arrays(float, count, elements=st.floats(0, 1)))
    times_ms = [100 * row for row in range(1, count + 1)]
    chosen = {"age_ms": 50, "name": "tcp", "frame": "base", "missing": 0}
    wrong = draw(st.sampled_from([None] * 7 + ["number", "times", *chosen]))
    if wrong == "number":
        which = draw(st.sampled_from([positions, quaternions, openings]))
        which.flat[draw(st.integers(0, which.size - 1))] = draw(numbers)
    elif wrong == "times":
        times_ms = [draw(st.integers(-5000, 5000)) for _ in range(count)]
    elif wrong is not None:
        others = {"age_ms": [2000, -5000], "name": ["", "elbow"], "frame": ["camera"]}
        chosen[wrong] = draw(st.sampled_from(others.get(wrong, [1])))
    values = {"positions": positions, "quaternions": quaternions, "openings": openings}
    return "chunk", {**values, **chosen, "times_ms": times_ms}


events = st.one_of(
    chunks(),
    chunks(),
    joint_states(),
    st.tuples(st.just("instruction"), st.one_of(st.just("go"), texts)),
    st.tuples(st.just("stop"), st.booleans()),
    st.tuples(st.just("clock"), st.sampled_from([-3_600_000, -200, 300, 3_600_000])),
)


class Recorder:
    def __init__(self):
        self.sent = []

    def publish(self, message):
        self.sent.append(message)


@pytest.fixture
def fresh_executor(own_domain):
    """Makes an executor forget everything; its clock is ours, and its arm follows perfectly."""
    from vla_ros.executor_node import ExecutorNode

    class Executor(ExecutorNode):
        now_ns = START

        def _now_ns(self):
            return self.now_ns

    with own_domain() as domain:
        domain.init()
        node = domain.keep(Executor())

        def forget():
            node._execution = Execution(node._body, node._limits, node._send, clock=node._now_ns)
            node._poses = node._gripper = None
            for name in ("_arm_command", "_gripper_command", "_latency", "_diagnostics", "_state"):
                setattr(node, name, Recorder())
            return node

        yield forget


def measured(node):
    command = node._execution.command
    return HOME if command.running is None else command.at(node.now_ns).positions


def wait(node, ms):
    for _ in range(ms // 20):
        node.now_ns += 20 * MS
        values = np.append(measured(node), [0.04, 0.04])
        node._on_joints(messages.joint_state(NAMES, values, values * 0, node.now_ns))
        node._on_watchdog()


def deliver(node, event):
    kind, value = event
    if kind == "joints":
        names, values, age_ms = value
        stamp_ns = node.now_ns - age_ms * MS
        node._on_joints(messages.joint_state(names, np.array(values), np.zeros(0), stamp_ns))
    elif kind == "instruction":
        node._on_instruction(String(data=value))
    elif kind == "stop":
        if value:
            node._on_emergency_stop()
        node._execution.reset(node._now_ns())
    elif kind == "clock":
        node.now_ns += value * MS
    else:
        chunk = PoseChunk(
            node.now_ns - value["age_ms"] * MS,
            np.array(value["times_ms"], np.int64) * MS,
            value["positions"],
            value["quaternions"],
            value["openings"],
        )
        poses, gripper = messages.chunk_to_messages(chunk)
        poses.joint_names, poses.header.frame_id = [value["name"]], value["frame"]
        poses.points = poses.points[value["missing"] :]
        node._on_gripper(gripper)
        node._on_poses(poses)


def violations(node):
    """What an independent monitor says of everything that went out."""
    from vla_ros.faults.rig import joint_command

    monitor = CommandMonitor(FR3, BODY.forward, FR3_LIMITS)
    found = []
    for message in node._arm_command.sent:
        points = message.points
        command = joint_command(message, 0)
        # Where each begins is `test_limits_hold`'s; here the arm is wherever it was told to be.
        found.append(worst(monitor.arm(command, [np.asarray(points[0].positions)])))
    for message in node._gripper_command.sent:
        command = joint_command(message, 0)
        found.append(worst(monitor.gripper(command)))
    return [str(each) for each in found if each is not None]


@pytest.mark.slow
def test_no_message_crashes_the_executor_or_passes_a_limit(fresh_executor):
    accepted = []

    @SETTINGS
    @given(st.lists(events, min_size=1, max_size=8))
    def any_story(story):
        node = fresh_executor()
        wait(node, 40)
        node._on_instruction(String(data="go"))
        wait(node, 100)
        for event in story:
            deliver(node, event)
            wait(node, 100)
        node._publish_diagnostics()
        wait(node, 600)
        assert violations(node) == []
        accepted.append(node._execution.accepted)

    any_story()
    assert sum(accepted) > 20, "the stories move nothing"


# --- conversions ----------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**31 * 10**9 - 1),
    st.lists(st.tuples(numbers, numbers, numbers, st.floats(0, 1)), min_size=1, max_size=8),
)
def test_a_chunk_comes_back_from_its_messages_to_the_last_bit(stamp_ns, rows):
    values = np.array(rows)
    chunk = PoseChunk(
        stamp_ns,
        np.arange(1, len(rows) + 1) * 100 * MS,
        values[:, :3],
        np.tile([1.0, 0.0, 0.0, 0.0], (len(rows), 1)),
        values[:, 3],
    )
    back = messages.chunk_from_messages(*messages.chunk_to_messages(chunk))
    assert back.stamp_ns == stamp_ns
    for name in ("times_ns", "positions", "quaternions", "gripper"):
        np.testing.assert_array_equal(getattr(back, name), getattr(chunk, name))
    try:
        validate(back)
    except ActionError:
        assert not np.all(np.isfinite(values[:, :3]))


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 20), st.integers(0, 20), st.integers(0, 80), st.integers(0, 1700),
    st.sampled_from(["rgb8", "bgr8", "mono8", "", "rgb8 "]), st.sampled_from([0, 8]),
)  # fmt: skip
def test_an_image_is_what_it_says_or_is_refused(height, width, step, size, encoding, wanted):
    from array import array

    from sensor_msgs.msg import Image

    message = Image(height=height, width=width, step=step, encoding=encoding)
    message.data = array("B", bytes(index % 256 for index in range(size)))
    try:
        image = messages.image_from_message(message, wanted)
    except ObservationError:
        return
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    assert encoding in ("rgb8", "bgr8")
    first = image[0, 0] if encoding == "rgb8" else image[0, 0, ::-1]
    assert first.tolist() == [0, 1, 2]


@settings(max_examples=100, deadline=None)
@given(st.lists(texts, max_size=6), st.lists(numbers, max_size=6), st.lists(texts, max_size=4))
def test_joints_by_name_are_found_or_refused(names, positions, wanted):
    try:
        found = positions_by_name(names, positions, wanted)
    except JointsError:
        return
    assert found.shape == (len(wanted),)
    assert np.all(np.isfinite(found))
    for name, value in zip(wanted, found, strict=True):
        assert value in [p for n, p in zip(names, positions, strict=True) if n == name]
