"""What a node's callbacks raise ends it, unless it can go on without."""

import time

import pytest
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.qos import QoSProfile
from std_msgs.msg import String

from vla_ros.errors import UserError
from vla_ros.graph import shared_environment
from vla_ros.processes import private_environment
from vla_ros.runtime import LATCHED, NEWEST, RELIABLE, TWICE_HEARD, _spin, subscribe_latched


class Context:
    def __init__(self, turns):
        self.turns = turns

    def ok(self):
        self.turns -= 1
        return self.turns >= 0


class Spinner:
    """Raises what it is given, one at every turn."""

    def __init__(self, errors):
        self.errors = list(errors)
        self.context = Context(len(self.errors))

    def spin_once(self):
        error = self.errors.pop(0)
        if error is not None:
            raise error


class Node:
    def __init__(self):
        self.logged = []

    def get_logger(self):
        return self

    def error(self, text, throttle_duration_sec):
        self.logged.append(text)


class Survivor(Node):
    def __init__(self):
        super().__init__()
        self.survived = []

    def on_callback_error(self, error):
        self.survived.append(str(error))


def test_a_node_that_can_goes_on_and_says_what_it_was():
    node = Survivor()
    _spin(Spinner([None, ValueError("bad message"), None, KeyError("x"), None]), node)
    assert node.survived == ["bad message", "'x'"]
    assert node.logged[0] == "internal error: ValueError: bad message"


def test_another_ends():
    with pytest.raises(ValueError, match="bad message"):
        _spin(Spinner([ValueError("bad message")]), Node())


@pytest.mark.parametrize("error", [UserError("no such robot"), ExternalShutdownException()])
def test_a_users_mistake_and_a_shutdown_end_every_node(error):
    with pytest.raises(type(error)):
        _spin(Spinner([error]), Survivor())


def test_a_node_whose_way_out_fails_ends():
    node = Survivor()
    node.on_callback_error = lambda error: 1 / 0
    with pytest.raises(ZeroDivisionError):
        _spin(Spinner([ValueError("bad message")]), node)


BEST_EFFORT_LATCHED = QoSProfile(
    depth=1, reliability=NEWEST.reliability, durability=LATCHED.durability
)


@pytest.mark.parametrize(
    ("profile", "subscriptions"),
    [(LATCHED, 3), (RELIABLE, 2), (NEWEST, 1), (BEST_EFFORT_LATCHED, 1)],
    ids=["latched", "ordinary", "best effort", "best effort and latched"],
)
def test_every_publisher_is_heard_without_a_false_warning(monkeypatch, profile, subscriptions):
    for name, value in {**shared_environment(), **private_environment()}.items():
        monkeypatch.setenv(name, value)
    warnings, heard = [], []
    monkeypatch.setattr(RcutilsLogger, "warn", lambda self, text: warnings.append(text))
    rclpy.init(args=[], signal_handler_options=rclpy.SignalHandlerOptions.NO)
    hearer, teller = rclpy.create_node("hearer"), rclpy.create_node("teller")
    try:
        subscribe_latched(hearer, String, "/said", lambda message: heard.append(message.data))
        told = teller.create_publisher(String, "/said", profile, event_callbacks=TWICE_HEARD)
        executor = SingleThreadedExecutor()
        for node in (hearer, teller):
            executor.add_node(node)
        deadline_s = time.monotonic() + 30
        while not heard and time.monotonic() < deadline_s:
            executor.spin_once(timeout_sec=0.1)
            if told.get_subscription_count() == subscriptions:
                told.publish(String(data="go"))
        for _ in range(20):  # what there is to be said of who matches whom
            executor.spin_once(timeout_sec=0.01)
        assert set(heard) == {"go"}
        assert warnings == []
    finally:
        for node in (hearer, teller):
            node.destroy_node()
        rclpy.try_shutdown()
