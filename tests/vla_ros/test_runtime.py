"""What a node's callbacks raise ends it, unless it can go on without; and how signals end it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.qos import QoSProfile
from rclpy.signals import get_current_signal_handlers_options
from std_msgs.msg import String

from vla_ros.errors import UserError
from vla_ros.graph import shared_environment
from vla_ros.processes import private_environment
from vla_ros.runtime import (
    LATCHED,
    NEWEST,
    RELIABLE,
    TWICE_HEARD,
    WORDS_DEPTH,
    _spin,
    command_session,
    run_node,
    spin_while,
    subscribe_latched,
)


class Context:
    ended = False

    def ok(self):
        return not self.ended


class Spinner:
    """Raises what it is given, one at every turn; then, or with the last of them, ROS has ended."""

    def __init__(self, errors, ends_with_the_last=False):
        self.errors = list(errors)
        self.ends_with_the_last = ends_with_the_last
        self.context = Context()

    def spin_once(self, timeout_sec=None):
        self.context.ended = len(self.errors) <= self.ends_with_the_last
        error = self.errors.pop(0) if self.errors else None
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


def test_what_fails_because_ros_has_ended_is_the_end_and_no_error():
    """A signal in the middle of a callback: what it publishes then raises."""
    _spin(Spinner([None, RuntimeError("publisher's context is invalid")], True), Node())
    survivor = Survivor()
    _spin(Spinner([RuntimeError("publisher's context is invalid")], True), survivor)
    assert survivor.survived == []


@pytest.mark.parametrize("error", [UserError("no such robot"), ExternalShutdownException()])
def test_a_users_mistake_and_a_shutdown_end_every_node(error):
    with pytest.raises(type(error)):
        _spin(Spinner([error]), Survivor())


def test_a_node_whose_way_out_fails_ends():
    node = Survivor()
    node.on_callback_error = lambda error: 1 / 0
    with pytest.raises(ZeroDivisionError):
        _spin(Spinner([ValueError("bad message")]), node)


@pytest.fixture
def private_ros(monkeypatch):
    for name, value in {**shared_environment(), **private_environment()}.items():
        monkeypatch.setenv(name, value)


BEST_EFFORT_LATCHED = QoSProfile(
    depth=1, reliability=NEWEST.reliability, durability=LATCHED.durability
)


@pytest.mark.parametrize(
    ("profile", "subscriptions"),
    [(LATCHED, 3), (RELIABLE, 2), (NEWEST, 1), (BEST_EFFORT_LATCHED, 1)],
    ids=["latched", "ordinary", "best effort", "best effort and latched"],
)
def test_every_publisher_is_heard_without_a_false_warning(
    private_ros, monkeypatch, profile, subscriptions
):
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


NODE = """
from rclpy.node import Node
from std_msgs.msg import String
from vla_ros.runtime import RELIABLE, run_node

class WithLastWords(Node):
    def __init__(self):
        super().__init__("ending")
        self.publisher = self.create_publisher(String, "/said", RELIABLE)
        self.timer = self.create_timer(0.01, self.begin)

    def begin(self):
        self.timer.cancel()
        print("up", flush=True)

    def before_shutdown(self):
        print("asked", flush=True)
        input()  # until the test has sent the next signal
        self.publisher.publish(String(data="farewell"))
        print("said", flush=True)

run_node(WithLastWords)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_node_with_last_words_says_them_once_however_often_it_is_asked_to_end(
    private_ros, number
):
    process = subprocess.Popen(
        [sys.executable, "-c", NODE],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        assert process.stdout.readline() == "asked\n"
        process.send_signal(number)  # as a parent may, beside the terminal
        output, error = process.communicate("\n", timeout=60)
    finally:
        process.kill()
    assert (output, process.returncode) == ("said\n", 0)
    assert "Traceback" not in error


def test_signals_end_every_other_node_as_rclpy_has_it(private_ros):
    seen = []

    def make_node():
        node = rclpy.create_node("ending")

        def look():
            seen.append(get_current_signal_handlers_options())
            rclpy.try_shutdown()  # what its handlers do

        node.create_timer(0.01, look)
        return node

    with pytest.raises(SystemExit):
        run_node(make_node, [])
    assert seen == [rclpy.SignalHandlerOptions.ALL]


def test_with_a_depth_nobody_pushes_out_what_another_said(private_ros):
    rclpy.init(args=[], signal_handler_options=rclpy.SignalHandlerOptions.NO)
    hearer, teller = rclpy.create_node("hearer"), rclpy.create_node("teller")
    try:
        heard = []
        subscribe_latched(
            hearer, String, "/said", lambda message: heard.append(message.data), WORDS_DEPTH
        )
        told = [teller.create_publisher(String, "/said", LATCHED) for _ in range(2)]
        deadline_s = time.monotonic() + 30
        while any(each.get_subscription_count() < 3 for each in told):
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        for publisher, text in zip(told, "AB", strict=True):
            publisher.publish(String(data=text))
        time.sleep(0.5)  # both wait; without a depth only one of them would
        executor = SingleThreadedExecutor()
        executor.add_node(hearer)
        while set(heard) != {"A", "B"}:
            assert time.monotonic() < deadline_s, heard
            executor.spin_once(timeout_sec=0.1)
    finally:
        for node in (hearer, teller):
            node.destroy_node()
        rclpy.try_shutdown()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_hears_signals_between_callbacks_and_an_impatient_one_within(private_ros, number):
    with command_session([]):
        node = rclpy.create_node("a_command")
        done = []

        def work():
            signal.raise_signal(number)  # in the middle of it
            done.append("whole")

        timer = node.create_timer(0.001, work)
        with pytest.raises(KeyboardInterrupt):
            spin_while(node, lambda: True)
        assert done == ["whole"]
        timer.cancel()
        node.create_timer(0.001, lambda: (work(), signal.raise_signal(number), done.append("2")))
        with pytest.raises(KeyboardInterrupt):
            spin_while(node, lambda: True)
        assert done == ["whole", "whole"]
        node.destroy_node()
