"""Every kind is drawn alike for the same seed, and spoils what the robot must refuse."""

import numpy as np
import pytest

from vla_ros import messages
from vla_ros.execution import Timeouts
from vla_ros.faults.channel import Channel
from vla_ros.faults.fault import (
    CHUNKS,
    GRIPPER,
    IMAGES,
    INSTRUCTION,
    JOINTS,
    NODES,
    STREAMS,
    Action,
    Holds,
)
from vla_ros.faults.graph import KEEP_OUT, RAW, RELAYED, campaign_graph, server_command
from vla_ros.faults.kinds import KINDS, schedule
from vla_ros.joint_watch import JointWatch
from vla_ros.joints import JointsError, positions_by_name
from vla_ros.limit_parameters import LIMIT_PARAMETERS, limits_of
from vla_ros.limits import FR3_LIMITS
from vla_ros.planning import PoseChunk, validate
from vla_ros.processes import command_line
from vla_ros.robots import FR3

MS = 1_000_000
NOW = 10**12
NAMES = (*FR3.joint_names, *FR3.gripper.joints)


def by_name(name):
    return next(kind for kind in KINDS if kind.name == name)


def test_the_issues_kinds_are_there():
    names = {kind.name for kind in KINDS}
    assert len(names) == len(KINDS) >= 20
    assert {f"{action} {node}" for action in ("kill", "freeze") for node in NODES} <= names
    for stream in STREAMS:
        actions = ("drop", "delay", "duplicate", "reorder", "corrupt")
        assert {f"{action} {stream}" for action in actions} <= names
    assert {
        "no number as action", "huge action", "constant action", "black camera", "missing joint",
        "renamed joint", "reordered joints", "robot clock ahead", "robot clock back",
        "flood chunks", "malformed chunk", "malformed instruction", "CPU starvation",
        "kill policy_server", "emergency stop",
    } <= names  # fmt: skip


def test_a_schedule_has_every_kind_once_before_any_twice_and_follows_from_its_seed():
    count = len(KINDS)
    first = [kind.name for kind in schedule(3, count)]
    assert sorted(first) == sorted(kind.name for kind in KINDS)
    assert first == [kind.name for kind in schedule(3, count)]
    assert first != [kind.name for kind in schedule(4, count)]
    assert [kind.name for kind in schedule(3, count + 5)][:count] == first
    assert len(schedule(3, 7)) == 7


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_fault_follows_from_its_generator_and_says_what_it_is(kind):
    one, other = (kind.draw(np.random.default_rng([1, 2])) for _ in range(2))
    assert one.duration_s == other.duration_s
    assert one.parameters == other.parameters
    assert 0.5 < one.duration_s < 2.0
    assert set(one.transforms) <= set(STREAMS)
    assert one.transforms or one.action is not Action.NONE
    if kind.holds in (Holds.CHUNKS, Holds.IMAGES, Holds.JOINTS) and one.action is Action.NONE:
        # Long enough for the time-out to be over while the fault lasts.
        assert one.duration_s * 1e9 > Timeouts().chunk_ns


def image():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return messages.image_to_message(pixels, NOW, "front")


def joints():
    return messages.joint_state(NAMES, np.linspace(0, 0.8, 9), np.zeros(9), NOW)


def chunk():
    quaternions = np.tile([0.0, 1.0, 0.0, 0.0], (3, 1))
    return messages.chunk_to_messages(
        PoseChunk(NOW, np.arange(1, 4) * 100 * MS, np.full((3, 3), 0.4), quaternions, np.ones(3))
    )


def spoiled(kind, draws=12):
    """The messages a kind makes of good ones, without those of other times."""
    for seed in range(draws):
        fault = kind.draw(np.random.default_rng(seed))
        given = {IMAGES: image(), JOINTS: joints(), CHUNKS: chunk()[0], GRIPPER: chunk()[1]}
        for stream, transform in fault.transforms.items():
            for delivery in transform(given[stream], NOW):
                yield stream, delivery


def content_kinds(holds, stream):
    skipped = ("drop", "delay", "reorder", "truncated")
    return [
        kind
        for kind in KINDS
        if kind.holds is holds and kind.target == stream and not kind.name.startswith(skipped)
    ]


@pytest.mark.parametrize(
    "kind",
    [*content_kinds(Holds.AT_ONCE, CHUNKS), *content_kinds(Holds.AT_ONCE, GRIPPER)],
    ids=lambda kind: kind.name,
)
def test_chunks_that_must_be_refused_are_refusable(kind):
    """Otherwise the campaign would ask of the executor what it need not do."""
    from policies.interface import ActionError

    for stream, delivery in spoiled(kind):
        poses, gripper = chunk()
        assert delivery.refusable
        pair = (delivery.message, gripper) if stream == CHUNKS else (poses, delivery.message)
        try:
            made = messages.chunk_from_messages(*pair)
            validate(made)
        except ActionError:
            continue
        assert kind.name == "huge action"
        assert np.abs(made.positions).max() > 1.0 or not np.allclose(
            np.linalg.norm(made.quaternions, axis=1), 1
        )


@pytest.mark.parametrize("kind", content_kinds(Holds.JOINTS, JOINTS), ids=lambda kind: kind.name)
def test_joint_states_that_must_not_be_used_are_unusable(kind):
    from vla_ros.limits import FR3_LIMITS

    for _, delivery in spoiled(kind):
        assert not delivery.good
        message = delivery.message
        watch = JointWatch(FR3_LIMITS.velocity_rad_s, 200 * MS)
        good = positions_by_name(NAMES, joints().position, FR3.joint_names)
        assert watch.add(good, NOW - 16 * MS, NOW - 16 * MS, working=True)
        try:
            found = positions_by_name(message.name, message.position, FR3.joint_names)
        except JointsError:
            continue
        assert not watch.add(found, messages.to_ns(message.header.stamp), NOW, working=True)


@pytest.mark.parametrize("kind", content_kinds(Holds.IMAGES, IMAGES), ids=lambda kind: kind.name)
def test_images_that_must_not_be_used_are_unusable(kind):
    from policies.interface import ObservationError

    for _, delivery in spoiled(kind):
        assert not delivery.good
        try:
            pixels = messages.image_from_message(delivery.message, 32)
            messages.check_contrast(pixels, 8.0)
        except ObservationError:
            continue
        assert "clock" in kind.name
        assert abs(messages.to_ns(delivery.message.header.stamp) - NOW) >= 500 * MS


def test_reordered_joints_are_the_same_joints():
    for _, delivery in spoiled(by_name("reordered joints")):
        assert list(delivery.message.name) != list(NAMES)
        found = positions_by_name(delivery.message.name, delivery.message.position, NAMES)
        np.testing.assert_array_equal(found, joints().position)


def test_a_truncated_message_is_bytes_and_shorter():
    from rclpy.serialization import serialize_message

    for _, delivery in spoiled(by_name("truncated image")):
        assert isinstance(delivery.message, bytes)
        assert len(delivery.message) < len(serialize_message(image()))


def test_an_empty_instruction_is_what_holds():
    from std_msgs.msg import String

    sent = []
    channel = Channel(sent.append)
    channel.begin(
        by_name("delay instruction").draw(np.random.default_rng(0)).transforms[INSTRUCTION]
    )
    channel.take(String(data="wander on"), NOW)
    channel.take(String(data=""), NOW + 1000 * MS)
    channel.flush(NOW + 900 * MS)
    assert channel.first_refusable_ns is None
    channel.flush(NOW + 3000 * MS)
    assert channel.first_refusable_ns == NOW + 3000 * MS


def test_every_stream_but_the_operators_passes_through_the_relay():
    graph = campaign_graph(12345)
    remapped = {
        (node.name, ours) for node in graph.nodes for ours, theirs in node.remappings
        if theirs == RAW + ours
    }  # fmt: skip
    assert remapped == {(node, topic) for node, topics in RELAYED.items() for topic in topics}
    policy = next(node for node in graph.nodes if node.name == "policy_node")
    assert any("ws://127.0.0.1:12345" in word for word in command_line(policy))
    assert server_command(12345)[-1] == "12345"


def test_the_executor_keeps_out_of_the_box_that_the_monitor_looks_at():
    given = next(node for node in campaign_graph(12345).nodes if node.name == "executor_node")
    defaults = {parameter.name: parameter.default for parameter in LIMIT_PARAMETERS}
    assert limits_of(defaults | dict(given.parameters), FR3_LIMITS).keep_out == (KEEP_OUT,)
