"""Whatever message and transition comes, in any order, the policy's node goes on working.

No callback raises, a policy gets finite numbers only, nothing is published while the node is not
active, and nothing stays behind when it is shut down.
"""

import os
import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from std_msgs.msg import String

from policies.interface import ActionChunk, UnfitPolicyError
from sim import robot
from vla_ros import messages
from vla_ros.graph import shared_environment

MS = 1_000_000
START_NS = 10**15
SIZE_PX = 16
NAMES = robot.JOINT_NAMES + robot.FINGER_JOINT_NAMES
HOME = np.append(robot.HOME_RAD, [0.04, 0.04])
PICTURE = np.random.default_rng(0).integers(0, 256, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
PATIENCE_S = 60.0  # for a thread on a busy machine; nothing waits so long otherwise
SURROGATE = "half a pair \ud800 and \x00"
numbers = st.floats(width=64)  # every one: nan, infinite, huge
texts = st.one_of(st.text(max_size=20), st.sampled_from(["", " ", SURROGATE, "go " * 40_000]))
ages_ms = st.sampled_from([0, 0, 0, 100, 900, 5000, -100, -900, -3500, -3_600_000])


class Policy:
    """Stays where it is, or does what `fault` says; remembers what was wrong with what it saw."""

    name, cameras = "test", ("front",)

    def __init__(self, fault):
        self._fault = fault
        self.wrong, self.closed = [], 0
        if fault == "no camera":
            self.cameras = ()
        elif fault == "camera without a topic":
            self.cameras = ("front left/",)

    def check_fit(self, limits):
        if self._fault == "unfit":
            raise UnfitPolicyError(f"ignores the image {SURROGATE}")

    def reset(self, seed=None):
        if self._fault == "reset":
            raise RuntimeError("cannot forget")

    def predict_chunk(self, seen):
        try:
            check(seen)
        except AssertionError as error:
            self.wrong.append(error)
        if self._fault == "raises":
            raise RuntimeError(f"out of memory {SURROGATE}")
        dt_s = 1e12 if self._fault == "slow" else 0.1
        said = {SURROGATE: 1.0, 5: None} if self._fault == "says odd things" else {"a_ms": 1.0}
        return ActionChunk(np.array([[0.0] * 6 + [1.0]]), seen.stamp_ns, dt_s, diagnostics=said)

    def expectation(self):
        if self._fault == "imagines nonsense":
            raise IndexError("no frame")

    def close(self):
        self.closed += 1
        if self._fault == "close":
            raise OSError("not connected")


FAULTS = (
    "load", "unfit", "no camera", "camera without a topic", "reset", "raises", "slow",
    "says odd things", "imagines nonsense", "close",
)  # fmt: skip
HARMLESS = (None, "says odd things", "imagines nonsense", "close")  # chunks come all the same


def check(seen):
    assert seen.instruction
    assert list(seen.images) == ["front"]
    assert seen.images["front"].shape == (SIZE_PX, SIZE_PX, 3)
    assert np.ptp(seen.images["front"]) >= 8
    assert np.all(np.isfinite(seen.joint_positions))
    assert 0.0 <= seen.gripper_opening <= 1.0
    assert np.linalg.norm(seen.ee_position) < 1.5
    assert np.linalg.norm(seen.ee_quaternion) == pytest.approx(1.0)


sizes = st.one_of(st.integers(0, 40), st.just(2**32 - 1))
FINE = ("", None)
fine = st.just(FINE)
images = st.one_of(  # what is wrong with it: a field and its value
    fine,
    fine,
    st.tuples(st.sampled_from(["height", "width", "step"]), sizes),
    st.tuples(st.just("encoding"), st.one_of(texts, st.sampled_from(["bgr8", "mono8", "rgba8"]))),
    st.tuples(st.just("data"), st.integers(0, PICTURE.size - 1)),  # bytes that have come
    st.tuples(st.just("dark"), st.sampled_from([0, 7])),
)
indices = st.integers(0, len(NAMES) - 1)
joint_states = st.one_of(
    fine,
    fine,
    st.tuples(st.just("order"), st.permutations(range(len(NAMES)))),
    st.tuples(st.just("number"), st.tuples(indices, numbers)),
    st.tuples(st.just("missing"), indices),
    st.tuples(st.just("short"), indices),
    st.tuples(st.just("renamed"), st.tuples(indices, texts)),
    st.tuples(st.just("extra"), st.tuples(texts, numbers)),
    st.just(("empty", None)),
)


def image(wrong, stamp_ns):
    field, value = wrong
    pixels = PICTURE % (value + 1) if field == "dark" else PICTURE
    message = messages.image_to_message(pixels, stamp_ns, "front")
    if field == "data":
        message.data = message.data[:value]
    elif field not in ("", "dark"):
        setattr(message, field, value)
    return message


def joints(wrong, stamp_ns):
    what, value = wrong
    names, values = list(NAMES), HOME.tolist()
    if what == "order":
        names, values = [names[i] for i in value], [values[i] for i in value]
    elif what == "number":
        values[value[0]] = value[1]
    elif what == "missing":
        del names[value], values[value]
    elif what == "short":
        del values[value:]
    elif what == "renamed":
        names[value[0]] = value[1]
    elif what == "extra":
        names, values = [*names, value[0]], [*values, value[1]]
    elif what == "empty":
        names, values = [], []
    return messages.joint_state(names, np.array(values), np.zeros(0), stamp_ns)


@pytest.fixture
def make_node():
    """`make_node(load)`: an unconfigured node on a clock of the test's; `sent` has its chunks."""
    import rclpy

    from vla_ros.policy_node import PolicyNode
    from vla_ros.processes import private_environment

    class NodeOnClock(PolicyNode):
        now_ns = START_NS

        def __init__(self, load):
            self.sent, self.heard = [], threading.Condition()
            super().__init__(load)

        def _now_ns(self):
            return self.now_ns

        def create_lifecycle_publisher(self, kind, topic, qos):
            publisher = super().create_lifecycle_publisher(kind, topic, qos)
            publish = publisher.publish

            def watched(message):
                with self.heard:
                    self.sent.append(messages.to_ns(message.header.stamp))
                    self.heard.notify_all()
                publish(message)

            publisher.publish = watched
            return publisher

    before = dict(os.environ)
    os.environ.update({**shared_environment(), **private_environment()})
    parameters = ("autostart:=false", f"image_size_px:={SIZE_PX}", "rate_hz:=100.0")
    rclpy.init(
        args=["--ros-args", *(word for each in parameters for word in ("-p", each))],
        signal_handler_options=rclpy.SignalHandlerOptions.NO,
    )
    yield NodeOnClock
    rclpy.try_shutdown()
    os.environ.clear()
    os.environ.update(before)


def state(node):
    return node._state_machine.current_state[1]


def inference_threads():
    return {each for each in threading.enumerate() if each.name == "inference"}


class Life(RuleBasedStateMachine):
    """A node, what comes to it, and what somebody wants of it."""

    make_node = None
    answered = 0  # how often a good observation was answered, over all lives

    def __init__(self):
        super().__init__()
        self.fault, self.policies = None, []
        self.node = Life.make_node(self._load)
        self.sent_before = 0
        self.threads_before = inference_threads()
        self.subscriptions = len(list(self.node.subscriptions))

    def _load(self, parameters):
        if self.fault == "load":
            raise OSError(f"{SURROGATE}: no such file")
        self.policies.append(Policy(self.fault))
        return self.policies[-1]

    @rule(wrong=images, age_ms=ages_ms)
    def see(self, wrong, age_ms):
        self.node._on_image("front", image(wrong, self.node.now_ns - age_ms * MS))

    @rule(wrong=joint_states, age_ms=ages_ms)
    def feel(self, wrong, age_ms):
        self.node._on_joints(joints(wrong, self.node.now_ns - age_ms * MS))

    @rule(sec=st.sampled_from([-(2**31), -1, 0, 2**31 - 1]))
    def hear_of_another_time(self, sec):
        self.node._on_joints(joints(FINE, sec * 10**9))
        self.node._on_image("front", image(FINE, sec * 10**9))

    @rule(text=st.one_of(st.just("go"), texts))
    def instruct(self, text):
        self.node._on_instruction(String(data=text))

    @rule(text=texts)
    def hear_the_executor(self, text):
        self.node._on_executor_state(String(data=text))
        self.node._on_executor_presence(String(data=text))

    @rule(jump_ms=st.sampled_from([-3_600_000, -200, 20, 300, 1500, 3_600_000]))
    def pass_time(self, jump_ms):
        self.node.now_ns += jump_ms * MS

    @rule()
    def tell_health(self):
        self.node._publish_diagnostics()
        self.node._tell_state()

    @rule(fault=st.one_of(st.none(), st.sampled_from(FAULTS)))
    def configure(self, fault):
        before = state(self.node)
        if before == "unconfigured":
            self.fault = fault
        self.node.trigger_configure()
        if before == "unconfigured":
            fails = fault in ("load", "unfit", "no camera", "camera without a topic")
            assert state(self.node) == ("unconfigured" if fails else "inactive")

    @rule(name=st.sampled_from(["activate", "deactivate", "cleanup"]))
    def change(self, name):
        before = state(self.node)
        getattr(self.node, f"trigger_{name}")()
        self.sent_before = len(self.node.sent)
        begin, end = {
            "activate": ("inactive", "active"),
            "deactivate": ("active", "inactive"),
            "cleanup": ("inactive", "unconfigured"),
        }[name]
        if name == "activate" and self.fault == "reset":
            end = "inactive"
        assert state(self.node) == (end if before == begin else before)

    @rule(number=st.integers(0, 9))
    def shut_down(self, number):
        """Rarely: afterwards nothing is possible any more."""
        if number == 7 and state(self.node) != "finalized":
            self.node.trigger_shutdown()
            self.sent_before = len(self.node.sent)
            assert state(self.node) == "finalized"

    @rule(again=st.booleans(), fault=st.sampled_from(HARMLESS))
    def all_goes_well(self, again, fault):
        """Good messages, and a while later it has forgotten whatever came before."""
        node = self.node
        if again and state(node) != "finalized":
            for name in ("deactivate", "cleanup"):
                self.change(name)
            self.configure(fault)
            self.change("activate")
        node._on_instruction(String(data="go"))
        for _ in range(3):
            node.now_ns += 1200 * MS
            node._on_executor_state(String(data="holding"))
            node._on_joints(joints(FINE, node.now_ns))
            node._on_image("front", image(FINE, node.now_ns))
        if state(node) == "active" and self.fault in HARMLESS:
            with node.heard:
                assert node.heard.wait_for(lambda: node.now_ns in node.sent, PATIENCE_S), (
                    node._health
                )
            Life.answered += 1

    @invariant()
    def nothing_wrong_reaches_a_policy(self):
        assert [each for policy in self.policies for each in policy.wrong] == []

    @invariant()
    def it_works_and_publishes_only_while_active(self):
        active = state(self.node) == "active"
        assert len(inference_threads() - self.threads_before) == active
        if not active:
            assert len(self.node.sent) == self.sent_before

    @invariant()
    def what_is_not_needed_is_given_back(self):
        open_policies = sum(policy.closed == 0 for policy in self.policies)
        configured = state(self.node) in ("inactive", "active")
        assert open_policies == configured
        assert configured or len(list(self.node.subscriptions)) == self.subscriptions

    def teardown(self):
        self.node.destroy_node()
        assert inference_threads() <= self.threads_before
        assert all(policy.closed for policy in self.policies)


def test_any_messages_and_transitions_in_any_order(make_node):
    Life.make_node, Life.answered = make_node, 0
    run_state_machine_as_test(
        Life,
        settings=settings(max_examples=20, stateful_step_count=60, deadline=None, derandomize=True),
    )
    assert Life.answered > 5, "the stories never get to work"
