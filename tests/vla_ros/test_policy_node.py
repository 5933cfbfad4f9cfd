"""The policy node's life: transitions fail cleanly, and it watches its streams and the executor."""

import threading
import time

import numpy as np
import pytest

from policies.interface import ActionChunk
from policies.remote.errors import ConnectionLostError
from sim import robot
from vla_ros import messages
from vla_ros.pacing import Pacer

MS = 1_000_000
NAMES = robot.JOINT_NAMES + robot.FINGER_JOINT_NAMES


class Still:
    """A policy that stays where it is."""

    name = "still"
    cameras = ("front",)

    def __init__(self):
        self.resets = 0
        self.closed = False

    def reset(self, seed=None):
        self.resets += 1

    def predict_chunk(self, observation):
        return ActionChunk(np.array([[0.0] * 6 + [1.0]]), observation.stamp_ns, 0.1)

    def close(self):
        self.closed = True


@pytest.fixture
def make_node(own_domain):
    from vla_ros.policy_node import PolicyNode

    with own_domain() as domain:

        def make(load, *parameters):
            given = ("autostart:=false", *parameters)
            domain.init(*(word for each in given for word in ("-p", each)))
            return domain.keep(PolicyNode(load))

        yield make


def state(node):
    return node._state_machine.current_state[1]


def subscriptions(node):
    return sorted(each.topic_name for each in node.subscriptions)


def joints(node, stamp_ns, turned_rad=0.0):
    values = np.concatenate([robot.HOME_RAD + turned_rad, [0.04, 0.04]])
    node._on_joints(messages.joint_state(NAMES, values, values * 0, stamp_ns))


def image(node, stamp_ns, brightness=255):
    pixels = np.random.default_rng(0).integers(0, brightness + 1, (224, 224, 3), dtype=np.uint8)
    node._on_image("front", messages.image_to_message(pixels, stamp_ns, "front"))


def set_to_work(node):
    """It runs, is told what to do, and sees."""
    node.trigger_configure()
    node.trigger_activate()
    node._on_instruction(messages_string("go"))
    joints(node, node._now_ns())
    image(node, node._now_ns())


def test_a_configuration_that_fails_leaves_nothing_and_can_be_tried_again(make_node):
    problems = [OSError("no such file"), None]
    policy = Still()

    def load(parameters):
        problem = problems.pop(0)
        if problem is not None:
            raise problem
        return policy

    node = make_node(load)
    before = subscriptions(node)
    assert node.trigger_configure().name == "FAILURE"
    assert state(node) == "unconfigured"
    assert subscriptions(node) == before
    assert "cannot load policy" in node._health[1]
    assert "no such file" in node._health[1]
    assert node.trigger_configure().name == "SUCCESS"
    assert state(node) == "inactive"


def test_a_policy_that_does_not_fit_is_closed_and_nothing_is_left(make_node):
    policy = Still()
    policy.cameras = ("rear",)
    node = make_node(lambda parameters: policy, 'cameras:=["front"]')
    before = subscriptions(node)
    assert node.trigger_configure().name == "FAILURE"
    assert state(node) == "unconfigured"
    assert "still looks at ['rear']" in node._health[1]
    assert policy.closed
    assert subscriptions(node) == before


def test_a_life_there_and_back_twice_leaves_as_much_as_there_was(make_node):
    policies = []

    def load(parameters):
        policies.append(Still())
        return policies[-1]

    node = make_node(load)
    before = subscriptions(node)
    for _ in range(2):
        assert node.trigger_configure().name == "SUCCESS"
        assert node.trigger_activate().name == "SUCCESS"
        assert state(node) == "active"
        assert "/front/image_raw" in subscriptions(node)
        assert node.trigger_deactivate().name == "SUCCESS"
        assert node.trigger_cleanup().name == "SUCCESS"
        assert state(node) == "unconfigured"
        assert subscriptions(node) == before
    assert [policy.closed for policy in policies] == [True, True]


def test_deactivating_first_ends_the_work(make_node):
    """Nothing is published after it, even by a policy that is at work just then."""
    node = make_node(lambda parameters: Still())
    node.trigger_configure()
    node.trigger_activate()
    order = []
    stop = node._loop.stop
    node._loop.stop = lambda *args, **kwargs: order.append("work ended") or stop(*args, **kwargs)
    switch_off = node._poses.on_deactivate
    node._poses.on_deactivate = lambda state: order.append("publisher off") or switch_off(state)
    node.trigger_deactivate()
    assert order == ["work ended", "publisher off"]


def test_a_policy_that_hangs_does_not_begin_anew_beside_itself(make_node):
    policy = Still()
    at_work, go_on = threading.Event(), threading.Event()
    predict = policy.predict_chunk

    def hang(observation):
        at_work.set()
        go_on.wait(60)
        return predict(observation)

    policy.predict_chunk = hang
    node = make_node(lambda parameters: policy)
    set_to_work(node)
    assert at_work.wait(60)
    stop = node._loop.stop
    node._loop.stop = lambda timeout_s=0.05: stop(0.05)  # the node would wait for 5 s
    node.trigger_deactivate()
    assert "the policy does not return" in node._health[1]
    assert node.trigger_activate().name == "FAILURE"
    assert "has not returned" in node._health[1]
    go_on.set()
    assert stop(60)
    assert node.trigger_activate().name == "SUCCESS"
    assert node._loop.count == 0  # what it said so late is thrown away


def test_a_policy_that_hangs_is_not_loaded_beside_itself_by_another_life_either(make_node):
    loaded, at_work, go_on = [], threading.Event(), threading.Event()

    def hang(observation):
        at_work.set()
        go_on.wait(60)
        raise RuntimeError("too late")

    def load(parameters):
        loaded.append(Still())
        if len(loaded) == 1:
            loaded[0].predict_chunk = hang
        return loaded[-1]

    node = make_node(load)
    set_to_work(node)
    assert at_work.wait(60)
    hung = node._loop
    stop = hung.stop
    hung.stop = lambda timeout_s=0.05: stop(0.05)  # the node would wait for 5 s
    node.trigger_deactivate()
    assert node.trigger_cleanup().name == "SUCCESS"
    assert node.trigger_configure().name == "FAILURE"
    assert state(node) == "unconfigured"
    assert "has not returned from before" in node._health[1]
    assert len(loaded) == 1
    go_on.set()
    assert stop(60)
    assert node.trigger_configure().name == "SUCCESS"
    assert node.trigger_activate().name == "SUCCESS"
    assert len(loaded) == 2


@pytest.mark.parametrize("end", ["empty instruction", "emergency stop", "executor started anew"])
def test_after_an_end_the_same_instruction_begins_with_a_policy_that_has_forgotten(make_node, end):
    policy = Still()
    node = make_node(lambda parameters: policy)
    node.trigger_configure()
    node._loop._running.set()  # its thread is this one
    node._on_executor_presence(messages_string("one"))

    def look():
        joints(node, node._now_ns())
        image(node, node._now_ns())
        node._loop.step()

    node._on_instruction(messages_string("go"))
    look()
    assert policy.resets == 1
    if end == "empty instruction":
        node._on_instruction(messages_string(""))
    elif end == "executor started anew":
        node._on_executor_presence(messages_string("two"))
    else:
        node._on_executor_state(messages_string("stopped"))
        node._on_executor_state(messages_string("holding"))  # it was reset
    look()
    node._on_instruction(messages_string("go"))
    node._loop._pacer = Pacer(10.0)  # whatever the time
    look()
    assert policy.resets == 2


def test_a_camera_that_shows_one_picture_while_the_arm_moves_is_refused(make_node):
    node = make_node(lambda parameters: Still(), "still_picture_s:=0.01")
    node.trigger_configure()
    node._on_instruction(messages_string("go"))
    begin_ns = node._now_ns()
    joints(node, begin_ns)
    image(node, begin_ns)
    assert node._next_observation() is not None
    joints(node, begin_ns + 20 * MS, 0.1)
    image(node, begin_ns + 20 * MS)
    assert node._next_observation() is None
    assert "camera 'front': the same picture" in node._health[1]


def test_an_error_is_told_whatever_it_says(make_node):
    def load(parameters):
        raise OSError("half a pair: \ud800")

    node = make_node(load)
    node.trigger_configure()
    node._publish_diagnostics()
    assert node._health[1].endswith("half a pair: ?")


def test_a_remote_policy_is_tried_again_until_its_machine_is_back(make_node, monkeypatch):
    import rclpy

    from vla_ros import policy_node

    monkeypatch.setattr(policy_node, "RETRY_S", 0.05)
    problems = [ConnectionLostError("nobody there"), ConnectionLostError("nobody there")]

    def load(parameters):
        if problems:
            raise problems.pop()
        return Still()

    node = make_node(load, "policy:=ws://127.0.0.1:1", "autostart:=true")
    for _ in range(200):
        rclpy.spin_once(node, timeout_sec=0.05)
        if state(node) == "active":
            break
    assert state(node) == "active"
    assert problems == []
    assert node._start_timer.is_canceled()


def test_whoever_configures_or_shuts_down_ends_the_attempts(make_node):
    def load(parameters):
        raise ConnectionLostError("nobody there")

    node = make_node(load, "policy:=ws://127.0.0.1:1", "autostart:=true")
    node._autostart()
    assert not node._start_timer.is_canceled()
    timers = len(list(node.timers))
    node._autostart()
    assert len(list(node.timers)) == timers
    node.trigger_shutdown()
    assert node._start_timer.is_canceled()


def test_a_silent_executor_is_said_and_nothing_is_asked(make_node):
    node = make_node(lambda parameters: Still())
    node.trigger_configure()
    node._on_instruction(messages_string("go"))
    now_ns = node._now_ns()
    joints(node, now_ns)
    image(node, now_ns)
    assert node._next_observation() is not None  # never heard: there may be another executor
    node._inputs.streams.on("executor_node", node._now_ns() - 1500 * MS)
    joints(node, node._now_ns())
    image(node, node._now_ns())
    assert node._next_observation() is None
    assert "executor_node is silent" in node._health[1]
    node._on_executor_state(messages_string("holding"))
    assert node._next_observation() is not None


def test_a_dark_picture_is_no_observation(make_node):
    node = make_node(lambda parameters: Still())
    node.trigger_configure()
    node._on_instruction(messages_string("go"))
    joints(node, node._now_ns())
    image(node, node._now_ns(), brightness=3)
    assert "is the lens covered?" in node._health[1]
    assert node._next_observation() is None
    assert "nothing has arrived yet" in node._health[1]


def test_the_diagnostics_have_ages_and_rates_of_every_stream(make_node):
    node = make_node(lambda parameters: Still())
    node.trigger_configure()
    image(node, node._now_ns())
    sent = []
    node._diagnostics = type("Recorder", (), {"publish": lambda self, each: sent.append(each)})()
    node._publish_diagnostics()
    values = {each.key: each.value for each in sent[0].status[0].values}
    assert float(values["front_age_ms"]) < 5000
    assert values["joint_states_age_ms"] == "never"
    assert {"front_hz", "joint_states_hz", "executor_node_age_ms"} <= set(values)


def test_the_newest_instruction_is_followed_and_told(make_node):
    node = make_node(lambda parameters: Still())
    node.trigger_configure()
    for text, age_s in (("B", 1), ("A", 2)):  # as they are found, not as they were given
        info = {"source_timestamp": time.time_ns() - age_s * 10**9}
        node._on_instruction(messages_string(text), info)
    assert node._inputs.instruction == "B"
    sent = []
    node._diagnostics = type("Recorder", (), {"publish": lambda self, each: sent.append(each)})()
    node._publish_diagnostics()
    values = {each.key: each.value for each in sent[0].status[0].values}
    assert values["instruction"] == "B"
    assert values["older_instruction"].startswith("'A' was published ")


def messages_string(text):
    from std_msgs.msg import String

    return String(data=text)


def test_a_megabyte_of_instruction_is_said_and_nothing_is_asked(make_node):
    node = make_node(lambda parameters: Still())
    node.trigger_configure()
    node._on_instruction(messages_string("move " * 200_000))
    joints(node, node._now_ns())
    image(node, node._now_ns())
    assert node._next_observation() is None
    assert node._health[0] == "ERROR"
    assert "at most 500 characters, got 1000000" in node._health[1]


def test_drivers_that_do_not_stamp_are_used(make_node):
    node = make_node(lambda parameters: Still())
    node.trigger_configure()
    node._on_instruction(messages_string("go"))
    joints(node, 0)
    image(node, 0)
    before_ns = node._now_ns()
    observation = node._next_observation()
    assert 0 <= before_ns - observation.stamp_ns < 10**9
