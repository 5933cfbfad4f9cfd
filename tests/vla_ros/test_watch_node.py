"""The watching node's commands say when nobody hears them."""

import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import Bool, String

from vla_ros import messages, topics
from vla_ros.runtime import LATCHED, RELIABLE

PATIENCE_S = 30.0


@pytest.fixture
def watch(own_domain):
    from vla_ros.watch_node import WatchNode

    with own_domain() as domain:
        domain.init()
        yield domain.keep(WatchNode(("front",)))


def wait(condition):
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "nothing was discovered"
        time.sleep(0.01)


NOBODY = "nobody listens: there is no executor_node"


def test_without_an_executor_nobody_listens(watch):
    for said in (watch.stop(), watch.reset(), watch.instruct("lift it")):
        assert said == NOBODY
    recorder = Node("rosbag2_recorder")  # hears the stop, and stops nothing
    recorder.create_subscription(Bool, topics.EMERGENCY_STOP, print, LATCHED)
    wait(lambda: watch._stop.get_subscription_count() > 0)
    for said in (watch.stop(), watch.reset(), watch.instruct("lift it")):
        assert said == NOBODY
    executor = Node("executor_node")
    executor.create_subscription(Bool, topics.EMERGENCY_STOP, print, LATCHED)
    state = executor.create_publisher(String, topics.EXECUTOR_STATE, RELIABLE)
    spinner = SingleThreadedExecutor()
    spinner.add_node(watch)

    def all_heard():
        """Each right after a heartbeat, for this machine may be slow."""
        said = []
        for command in (watch.stop, watch.reset, lambda: watch.instruct("lift it")):
            state.publish(String(data="moving"))
            spinner.spin_once(timeout_sec=0.1)
            said.append(command())
        return said == ["", "", ""]

    wait(all_heard)
    spinner.remove_node(watch)
    executor.destroy_node()
    recorder.destroy_node()


def test_the_instruction_shown_is_the_one_that_was_published_last(watch):
    now_ns = time.time_ns()
    watch._on_instruction(String(data="new"), {"source_timestamp": now_ns})
    watch._on_instruction(String(data="old"), {"source_timestamp": now_ns - 10**9})
    assert watch.state.snapshot(time.monotonic())["instruction"] == "new"


def test_the_diagnostics_have_ages_and_rates_of_what_is_heard(watch):
    image = messages.image_to_message(np.zeros((4, 4, 3), np.uint8), 1, "front")
    watch._on_image("front", image)
    image.data = image.data[:-1]
    watch._on_image("front", image)
    found = []
    spinner = SingleThreadedExecutor()
    spinner.add_node(watch)
    listener = Node("listener")
    listener.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, found.append, RELIABLE)
    spinner.add_node(listener)
    while not found:
        spinner.spin_once(timeout_sec=PATIENCE_S)
    spinner.remove_node(watch)
    listener.destroy_node()
    (status,) = found[0].status
    values = {each.key: each.value for each in status.values}
    assert (status.name, status.level, values["refused_images"]) == ("watch_node", b"\0", "1")
    assert float(values["front_age_ms"]) >= 0
    assert (values["imagined_age_ms"], values["executor_node_age_ms"]) == ("never", "never")
    assert {"front_hz", "imagined_hz", "executor_node_hz"} <= values.keys()
