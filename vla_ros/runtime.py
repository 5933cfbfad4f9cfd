"""What every node shares: declaring parameters, QoS profiles, and a `main` that ends cleanly."""

from __future__ import annotations

import difflib
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import rclpy
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.exceptions import InvalidParameterValueException, ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_sensor_data,
)
from rclpy.signals import uninstall_signal_handlers
from rclpy.subscription import Subscription
from rclpy.utilities import remove_ros_args
from std_msgs.msg import String

from vla_ros.errors import UserError
from vla_ros.parameter_file import check_sections
from vla_ros.runtime_clock import keep_time_source

RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)  # only the last counts
SENSOR = qos_profile_sensor_data
WORDS_DEPTH = 16  # of what several people say: none may push out another's before it is compared
SIGNAL_TURN_S = 0.2  # Python hears no signal while ROS waits


def _not_said(_event: Any) -> None:
    """rclpy would warn that no message gets through, of a pair that need not match."""


TWICE_HEARD = PublisherEventCallbacks(incompatible_qos=_not_said)  # or thrice: `subscribe_latched`


@dataclass(frozen=True)
class Parameter:
    """A node's parameter: its default lives here and nowhere else."""

    name: str
    default: Any
    description: str
    low: float | None = None  # both or none
    high: float | None = None
    read_only: bool = True


OF_RCLPY = "qos_overrides."  # which it declares only with the publisher


def _refuse_unknown(node: Node, known: list[str]) -> None:
    with node.handle:
        given = node.handle.get_parameters(rclpy.Parameter)  # files and command line
    unknown = [
        name
        for name in given
        if name not in known
        and not node.has_parameter(name)  # of rclpy itself, as `use_sim_time`
        and not name.startswith(OF_RCLPY)
    ]
    if unknown:
        raise UserError(
            f"{node.get_name()}: parameter: "
            + "; ".join(_not_found(name, sorted(known)) for name in sorted(unknown))
        )


def _not_found(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 3)
    return f"there is no {name!r}, but {', '.join(close or known)}"


def declare(node: Node, parameters: tuple[Parameter, ...]) -> dict[str, Any]:
    """Declare `parameters` and return their values.

    Raises `UserError` for a value out of range, and for one given to a parameter that there is not:
    rclpy ignores that, and a misspelled limit would leave the robot at its full speed.
    """
    _refuse_unknown(node, [parameter.name for parameter in parameters])
    keep_time_source(node)
    values = {}
    for parameter in parameters:
        descriptor = ParameterDescriptor(
            description=parameter.description, read_only=parameter.read_only
        )
        if parameter.low is not None and parameter.high is not None:
            if isinstance(parameter.default, int):
                descriptor.integer_range = [
                    IntegerRange(from_value=int(parameter.low), to_value=int(parameter.high))
                ]
            else:
                descriptor.floating_point_range = [
                    FloatingPointRange(from_value=parameter.low, to_value=parameter.high)
                ]
        try:
            declared = node.declare_parameter(parameter.name, parameter.default, descriptor)
        except (InvalidParameterValueException, ParameterException, TypeError) as error:
            allowed = type(parameter.default).__name__
            if parameter.low is not None:
                allowed += f" from {parameter.low} to {parameter.high}"
            raise UserError(
                f"{node.get_name()}: parameter {parameter.name}: expected {allowed}; {error}"
            ) from error
        if declared.value is None:
            raise UserError(
                f"{node.get_name()}: parameter {parameter.name}: expected "
                f"{type(parameter.default).__name__}, got nothing or an empty list"
            )
        values[parameter.name] = declared.value
    return values


def subscribe_latched(
    node: Node, kind: type, topic: str, callback: Callable[..., None], depth: int = 1
) -> list[Subscription]:
    """Hear every publisher: latched ones, past messages included, ordinary and best-effort ones.

    A transient-local subscriber never hears a volatile publisher, and a reliable one no best-effort
    publisher; a best-effort one hears all, but what is lost on the way is not sent to it again. So
    there are three, and the callback may get a message three times. That not each matches every
    publisher is no news. One of two arguments gets rclpy's `MessageInfo`, too. With `depth` 1 only
    what arrived last waits for its turn, of whichever publisher.
    """
    quiet = SubscriptionEventCallbacks(incompatible_qos=_not_said)
    profiles = [
        QoSProfile(depth=depth, reliability=like.reliability, durability=like.durability)
        for like in (LATCHED, RELIABLE, NEWEST)
    ]
    return [
        node.create_subscription(kind, topic, callback, profile, event_callbacks=quiet)
        for profile in profiles
    ]


def subscribe_words(
    node: Node, topic: str, callback: Callable[[String, Mapping[str, Any]], None]
) -> None:
    """Texts with what tells when each was said, for `newest.Newest`; several may wait."""
    subscribe_latched(
        node,
        String,
        topic,
        lambda text, info: callback(text, info),  # rclpy counts a function's arguments
        WORDS_DEPTH,
    )


def run_node(make_node: Callable[[], Any], arguments: list[str] | None = None) -> None:
    """Spin a node until Ctrl-C, SIGTERM or shutdown; a `UserError` is one line and status 2.

    rclpy answers those signals by ending all communication at once. A node with `before_shutdown`
    has that called first, between two callbacks, while what it publishes still goes out.
    """
    node = None
    status = 0
    given = sys.argv[1:] if arguments is None else arguments
    try:
        _init(arguments)
        check_arguments(given)
        node = make_node()
        for path in parameter_files(given):
            check_sections(path, node.get_fully_qualified_name())
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        before_shutdown = getattr(node, "before_shutdown", None)
        _spin(executor, node, None if before_shutdown is None else _remembered_signals())
        if before_shutdown is not None and executor.context.ok():
            before_shutdown()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        status = 2
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    sys.exit(status)


def check_arguments(given: Sequence[str]) -> None:
    """Refuse what ROS would pass over: `--robot ur5e` would start with another arm's limits."""
    own = remove_ros_args(["", *given])[1:]  # the first is the program
    if own:
        raise UserError(
            f"arguments: expected --ros-args -p NAME:=VALUE ... or --ros-args --params-file FILE, "
            f"got {' '.join(own)}"
        )


def parameter_files(given: Sequence[str]) -> list[Path]:
    """What `--params-file` names."""
    return [Path(path) for word, path in pairwise(given) if word == "--params-file"]


def _init(arguments: list[str] | None) -> None:
    try:
        rclpy.init(args=arguments)
    except RuntimeError as error:  # a file of parameters that rcl cannot read, a wrong `-r`
        raise UserError(f"arguments for ROS: {' '.join(str(error).split())}") from error


def _remembered_signals() -> list[int]:
    """Gets Ctrl-C and SIGTERM from now on, however often they come."""
    heard: list[int] = []
    uninstall_signal_handlers()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: heard.append(number))
    return heard


def _spin(
    executor: SingleThreadedExecutor, node: Any, signals: Sequence[int] | None = None
) -> None:
    """Until shutdown, or until there is something in `signals`.

    A node that has `on_callback_error` is told of what its callbacks raise, and goes on.
    """
    survive = getattr(node, "on_callback_error", None)
    turn_s = None if signals is None else SIGNAL_TURN_S
    while executor.context.ok() and not signals:
        try:
            executor.spin_once(turn_s)
        except (ExternalShutdownException, UserError):
            raise
        except Exception as error:
            if not executor.context.ok():  # a signal came meanwhile, and nothing can be published
                return
            if survive is None:
                raise
            node.get_logger().error(
                f"internal error: {type(error).__name__}: {error}", throttle_duration_sec=1.0
            )
            survive(error)


@contextmanager
def command_session(arguments: list[str]) -> Iterator[None]:
    """ROS for a command that runs a node itself: Ctrl-C and SIGTERM are its ordinary end."""
    rclpy.init(args=arguments, signal_handler_options=rclpy.SignalHandlerOptions.NO)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


def spin_while(node: Node, wanted: Callable[[], bool]) -> None:
    """Handle messages as long as it is `wanted`; raises `KeyboardInterrupt` for Ctrl-C and SIGTERM.

    In short turns, to hear signals between callbacks and not within them: an exception out of
    nowhere leaves a library's C code in a state that nobody has tested. A second one does not wait.
    """
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    with _signals_between_callbacks() as heard:
        while wanted() and not heard:
            executor.spin_once(timeout_sec=SIGNAL_TURN_S)
    if heard:
        raise KeyboardInterrupt


@contextmanager
def _signals_between_callbacks() -> Iterator[list[int]]:
    heard: list[int] = []

    def hear(number: int, _frame: Any) -> None:
        if heard:
            raise KeyboardInterrupt
        heard.append(number)

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
