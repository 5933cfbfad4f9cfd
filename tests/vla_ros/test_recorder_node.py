"""The recorder's node without a robot: what does not come is named, and waited for."""

import time

import numpy as np
import pytest

from sim import robot
from vla_ros import messages
from vla_ros.errors import UserError

NAMES = robot.JOINT_NAMES + robot.FINGER_JOINT_NAMES


class Heard:
    def __init__(self):
        self.sent = []

    def publish(self, message):
        self.sent.append(message)


@pytest.fixture
def make_node(tmp_path, own_domain):
    from vla_ros.recorder_node import RecorderNode

    with own_domain() as domain:

        def make(*parameters):
            given = (f"output:={tmp_path}/data", *parameters)
            domain.init(*(word for each in given for word in ("-p", each)))
            events = []
            return domain.keep(RecorderNode(events.append)), events

        yield make


def said(node):
    node._diagnostics = Heard()
    node._publish_diagnostics()
    status = node._diagnostics.sent[-1].status[0]
    return status.level[0], status.message


def test_a_stream_that_does_not_come_is_named_and_waited_for(make_node):
    node, events = make_node("cameras:=[front, nope]")
    assert said(node) == (0, "waiting for an instruction")
    picture = messages.image_to_message(np.zeros((4, 4, 3), np.uint8), 10**15, "front")
    node._on_image("front", picture)
    node._look_for_missing()
    node._look_for_missing()
    first = "nothing usable has come on /nope/image_raw, /joint_states: still waiting"
    assert events == [first]  # once
    assert said(node) == (1, first)
    node._on_joints(messages.joint_state(NAMES, np.zeros(9), np.zeros(9), 10**15))
    node._look_for_missing()
    assert events[1:] == ["nothing usable has come on /nope/image_raw: still waiting"]
    node._on_image("nope", picture)
    assert said(node) == (0, "waiting for an instruction")
    node._look_for_missing()
    assert events[2:] == ["all streams are there"]


def test_streams_are_looked_for_every_five_seconds(make_node):
    node, _ = make_node()
    (timer,) = [each for each in node.timers if each.callback == node._look_for_missing]
    assert timer.timer_period_ns == 5 * 10**9
    node._look_for_missing()
    assert not timer.is_canceled()


def test_the_topic_of_commands_is_named_when_an_episode_runs_without(make_node):
    node, events = make_node("cameras:=[front]")
    node.recorder._uncommanded = True
    node._look_for_missing()
    assert "/joint_trajectory_controller/joint_trajectory: still waiting" in events[-1]
    target = np.asarray(robot.HOME_RAD)[None]
    command = messages.joint_trajectory(robot.JOINT_NAMES, np.array([10**8]), target)
    node._on_command(robot.JOINT_NAMES, command)
    node._look_for_missing()
    assert "joint_trajectory_controller" not in events[-1]


def test_what_carries_no_stamp_is_refused_as_unstamped(make_node, monkeypatch):
    node, _ = make_node("cameras:=[front]")
    refused = []
    monkeypatch.setattr(node, "_refuse", refused.append)
    picture = np.zeros((4, 4, 3), np.uint8)
    node._on_image("front", messages.image_to_message(picture, 0, "front"))
    node._on_joints(messages.joint_state(NAMES, np.zeros(9), np.zeros(9), 0))
    assert [text.split(": expected")[0] for text in refused] == [
        "camera 'front': unstamped",
        "/joint_states: unstamped",
    ]
    assert node.recorder.missing == ["front", "joint states"]


def test_a_folder_with_something_else_in_it_ends_the_node(make_node, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="already exists and is no LeRobotDataset"):
        make_node()


@pytest.mark.parametrize("name", ["démos 🤖", "它", 'with "quotes"', "a: b"])
def test_a_folder_of_any_name_is_recorded_to(own_domain, name):
    from rclpy.node import Node

    from vla_ros.processes import parameter_words

    with own_domain() as domain:
        domain.init(*parameter_words({"output": name, "cameras": ["front"]}))
        node = domain.keep(Node("any"))
        assert node.declare_parameter("output", "").value == name


def info(published_s=0.0, received_s=0.0):
    """rclpy's, of a message of so long ago."""
    now_ns = time.time_ns()
    return {
        "source_timestamp": now_ns - round(published_s * 1e9),
        "received_timestamp": now_ns - round(received_s * 1e9),
    }


def test_diagnostics_tell_how_often_streams_come_and_how_old_they_are(make_node, monkeypatch):
    node, _ = make_node("cameras:=[front]")
    monkeypatch.setattr(node, "_now_ns", lambda: now_ns)
    target = np.asarray(robot.HOME_RAD)[None]
    command = messages.joint_trajectory(robot.JOINT_NAMES, np.array([10**8]), target)
    for now_ns in range(10**15, 10**15 + 10**9 + 1, 10**8):
        node._on_joints(messages.joint_state(NAMES, np.zeros(9), np.zeros(9), now_ns))
    node._on_command(robot.JOINT_NAMES, command)
    now_ns += 3 * 10**8
    node._diagnostics = Heard()
    node._publish_diagnostics()
    values = {each.key: each.value for each in node._diagnostics.sent[0].status[0].values}
    assert (values["front_age_ms"], values["joint_states_age_ms"]) == ("never", "300")
    assert (values["joint_states_hz"], values["arm_commands_age_ms"]) == ("7.7", "300")


def test_an_emergency_stop_is_heard_however_it_is_published(make_node):
    """Latched, ordinary and best-effort; each once, at its place among the words."""
    from std_msgs.msg import Bool, String

    node, _ = make_node("cameras:=[front]")
    heard = node.get_subscriptions_info_by_topic("/emergency_stop")
    assert len({(h.qos_profile.durability, h.qos_profile.reliability) for h in heard}) == 3
    took = []
    for name in ("on_instruction", "on_emergency_stop"):
        setattr(node.recorder, name, lambda *given, name=name: took.append(name))
    stamps = info(1.0)
    node._on_instruction(String(data="go on"), info(0.5))
    for _ in range(3):
        node._on_emergency_stop(Bool(data=True), stamps)
    node._on_emergency_stop(Bool(data=False), info(0.2))
    turns(node)
    assert took == ["on_emergency_stop", "on_instruction"]


def test_the_executors_state_is_heard_at_its_place_among_the_words(make_node):
    """It moves for an instruction that was published before, and may be heard after."""
    from std_msgs.msg import String

    node, _ = make_node("cameras:=[front]")
    assert node.get_subscriptions_info_by_topic("/executor/state")
    took = []
    for name in ("on_instruction", "on_executor"):
        setattr(node.recorder, name, lambda *given: took.append(given[0]))
    node._on_executor_state(String(data="moving"), info(0.2))
    node._on_instruction(String(data="go on"), info(0.5))
    turns(node)
    assert took == ["go on", "moving"]


def turns(node):
    for _ in range(3):
        node._on_turn()


def test_the_newest_instruction_is_recorded_and_told(make_node):
    from std_msgs.msg import String

    node, _ = make_node("cameras:=[front]")
    node._on_instruction(String(data="B"), info(1.0))
    node._on_instruction(String(data="A"), info(2.0))  # of a publisher that was found later
    turns(node)
    assert node.recorder.instruction == "B"
    node._diagnostics = Heard()
    node._publish_diagnostics()
    values = {each.key: each.value for each in node._diagnostics.sent[0].status[0].values}
    assert values["instruction"] == "'B'"
    assert values["older_instruction"].startswith("'A' was published ")


def test_an_outcome_is_heard_once_and_placed_by_its_stamp(make_node, monkeypatch):
    from std_msgs.msg import Bool

    node, _ = make_node("cameras:=[front]")
    told = []
    monkeypatch.setattr(node.recorder, "on_success", lambda *given: told.append(given))
    stamps = [info(2.0), info(1.0)]
    for each in (stamps[1], stamps[0], stamps[1]):
        node._on_success(Bool(data=True), each)
    turns(node)
    assert told == [(True, each["source_timestamp"]) for each in stamps]


def test_words_wait_for_the_images_that_came_before_them(make_node, monkeypatch):
    """A recorder that is behind must not begin a task with images of the one before."""
    from std_msgs.msg import Bool, String

    node, _ = make_node("cameras:=[front, wrist]")
    took = []
    for name in ("on_instruction", "on_success", "on_image"):
        monkeypatch.setattr(node.recorder, name, lambda *given: took.append(given[0]))
    picture = messages.image_to_message(np.zeros((4, 4, 3), np.uint8), 10**15, "front")
    node._on_instruction(String(data="push it"), info(2.0, 2.0))
    node._on_success(Bool(data=True), info(2.1, 1.99))
    node._on_turn()
    node._on_image("front", picture, info(received_s=2.5))
    node._on_turn()
    node._on_image("wrist", picture, info(received_s=1.0))
    node._on_turn()
    assert took == ["front", "wrist"]
    node._on_image("front", picture, info(received_s=1.5))
    assert took[2:] == [True, "push it", "front"]
    node._on_instruction(String(data="pour it"), info(1.0, 1.0))
    turns(node)  # the camera is silent
    assert took[5:] == ["pour it"]


def test_what_was_said_before_the_end_counts(make_node, monkeypatch):
    from std_msgs.msg import String

    node, _ = make_node("cameras:=[front]")
    took = []
    monkeypatch.setattr(node.recorder, "on_instruction", lambda *given: took.append(given[0]))
    monkeypatch.setattr(node.recorder, "close", lambda: took.append("closed"))
    node._on_instruction(String(data=""), info())
    with monkeypatch.context() as undone:
        undone.setattr("rclpy.node.Node.destroy_node", lambda self: None)  # the fixture does
        node.destroy_node()
    assert took == ["", "closed"]


def test_what_waited_for_the_recorder_counts_from_its_arrival(make_node, monkeypatch):
    """One that is behind must not take the robot's clock for another, nor misplace commands."""
    node, _ = make_node("cameras:=[front]")
    arrived, behind = [], []
    monkeypatch.setattr(node.recorder, "on_joints", lambda *given: arrived.append(given[-1]))
    monkeypatch.setattr(node.recorder, "on_command", lambda *given: arrived.append(given[-1]))
    monkeypatch.setattr(node.recorder, "on_behind", behind.append)
    monkeypatch.setattr(node, "_now_ns", time.time_ns)
    waited = info(received_s=60.0)
    node._on_joints(messages.joint_state(NAMES, np.zeros(9), np.zeros(9), 10**15), waited)
    target = np.asarray(robot.HOME_RAD)[None]
    command = messages.joint_trajectory(robot.JOINT_NAMES, np.array([10**8]), target)
    node._on_command(robot.JOINT_NAMES, command, waited)
    assert arrived == pytest.approx([waited["received_timestamp"]] * 2, abs=30 * 10**9)
    assert behind[0] >= 60 * 10**9
