"""The watching node's commands say when nobody hears them."""

import time

import pytest
from rclpy.node import Node
from std_msgs.msg import Bool

from vla_ros import topics
from vla_ros.runtime import LATCHED

PATIENCE_S = 30.0


@pytest.fixture
def watch(own_domain):
    from vla_ros.watch_node import WatchNode

    with own_domain() as domain:
        domain.init()
        yield domain.keep(WatchNode(("front",)))


def test_without_an_executor_nobody_listens(watch):
    for said in (watch.stop(), watch.reset(), watch.instruct("lift it")):
        assert said == "nobody listens: there is no executor_node"
    executor = Node("executor_node")
    executor.create_subscription(Bool, topics.EMERGENCY_STOP, print, LATCHED)
    deadline_s = time.monotonic() + PATIENCE_S
    while watch._silence():
        assert time.monotonic() < deadline_s, "nothing was discovered"
        time.sleep(0.01)
    assert watch.stop() == watch.reset() == watch.instruct("lift it") == ""
    executor.destroy_node()
