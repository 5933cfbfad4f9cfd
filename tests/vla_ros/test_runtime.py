"""What a node's callbacks raise ends it, unless it can go on without."""

import pytest
from rclpy.executors import ExternalShutdownException

from vla_ros.errors import UserError
from vla_ros.runtime import _spin


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
