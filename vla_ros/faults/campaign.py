"""One fault after the other on one running graph, and what came of each.

Every command from the graph's start to its end is looked at: each belongs to the row of the fault
that comes next or is in force. A graph in which the arm does not move again is ended and started
anew, and that fault counts as not recovered.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import rclpy

from vla_ros.execution import Timeouts
from vla_ros.faults.actions import ActionError, Actions
from vla_ros.faults.fault import INSTRUCTION, SERVER, SIM, Action, Fault, Holds, Kind
from vla_ros.faults.graph import campaign_graph, free_port, server_command
from vla_ros.faults.report import Row
from vla_ros.faults.rig import Rig
from vla_ros.faults.timing import BRAKING_NS, due_ns, held_at, rest_after
from vla_ros.faults.wandering import WANDER
from vla_ros.processes import Processes, private_environment

START_TIMEOUT_S = 120.0
RECOVERY_TIMEOUT_S = 45.0  # a node that was killed starts within seconds on an idle machine
LOOK_S = 2.0  # at a graph that starts, each time
SETTLE_S = 0.5  # the arm moves for so long before a fault
PATIENCE_S = 3.0  # beyond a fault's end, for an arm that has to hold
WISHES = ((0.1, f"{WANDER} on"), (0.4, ""))  # (s, what): of faults of the instruction
RESTARTED = {Action.KILL, Action.STOP_AND_KILL}  # whose target is started anew


class GraphError(RuntimeError):
    """The graph does not start, or has ended."""


@contextmanager
def running_graph(
    rate_hz: float = 10.0, on_line: Callable[[str, str], None] = lambda *_: None
) -> Iterator[tuple[Rig, Processes]]:
    """The graph with a moving arm, in a ROS domain of its own. Raises `GraphError`."""
    port = free_port()
    described = campaign_graph(port, rate_hz)
    environment = private_environment()
    before = dict(os.environ)
    os.environ.update({**described.environment, **environment})  # before rclpy reads it
    commands = {SERVER: server_command(port)}
    try:
        with Processes(described, on_line, environment, commands, respawn=True) as processes:
            rclpy.init(signal_handler_options=rclpy.SignalHandlerOptions.NO)
            rig = Rig()
            try:
                rig.instruct(WANDER)
                get_moving(rig, processes, START_TIMEOUT_S)
                yield rig, processes
            finally:
                rig.destroy_node()
                rclpy.try_shutdown()
    finally:
        os.environ.clear()
        os.environ.update(before)


def get_moving(rig: Rig, processes: Processes, timeout_s: float) -> None:
    """Wait until the arm moves, and look twice. Raises `GraphError`.

    As the nodes find each other one by one, at the start or after all of them were frozen (20 s: by
    then DDS has given the others up), the simulator may not hear the first commands: then the arm
    stands, and the executor is stopped for it, and is reset here.
    """
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        moved = wait_until_it_moves(rig, processes, LOOK_S)
        rig.spin(LOOK_S)
        if moved and wait_until_it_moves(rig, processes, LOOK_S):
            return
        if rig.stopped:
            rig.reset()
            rig.instruct(WANDER)
    raise GraphError(f"the arm does not move: {processes.last_lines}")


def wait_until_it_moves(rig: Rig, processes: Processes, timeout_s: float) -> bool:
    """From now on; False when it does not in time. Raises `GraphError` for a node given up."""
    begun_ns = time.monotonic_ns()

    def moves() -> bool:
        if ended := processes.ended():
            raise GraphError(f"ended: {ended}; {[processes.last_lines[name] for name in ended]}")
        return rig.moves_since(begun_ns)

    return rig.spin_until(moves, timeout_s)


def run_campaign(
    schedule: Sequence[Kind],
    seed: int,
    on_row: Callable[[Row], None] = lambda row: None,
    on_line: Callable[[str, str], None] = lambda *_: None,
) -> list[Row]:
    """A row for each kind of the schedule; fault i is drawn from `[seed, i]`."""
    rows: list[Row] = []
    while len(rows) < len(schedule):
        with running_graph(on_line=on_line) as (rig, processes):
            for index in range(len(rows), len(schedule)):
                generator = np.random.default_rng([seed, index])
                row = run_fault(index, schedule[index], generator, rig, processes)
                rows.append(row)
                on_row(row)
                if not row.recovered:
                    break
    return rows


def run_fault(
    index: int, kind: Kind, generator: np.random.Generator, rig: Rig, processes: Processes
) -> Row:
    """Draw a fault of the kind, let it happen to the moving arm, and see what comes of it."""
    fault = kind.draw(generator)
    row = Row(index, kind.name, kind.target, kind.holds is not Holds.NEVER, fault.duration_s)
    row.parameters = dict(fault.parameters)
    rig.spin(SETTLE_S)
    restarts = dict(processes.restarts)
    answer_ns, begun_ns = rig.answer_ns, time.monotonic_ns()
    for stream, transform in fault.transforms.items():
        rig.channels[stream].begin(transform)
    try:
        with Actions(rig, processes).during(fault.action, kind.target):
            _let_happen(fault, kind, begun_ns, rig)
            _judge(row, kind, begun_ns, answer_ns, rig)
    except ActionError as error:
        row.wrong = str(error)
    finally:
        for channel in rig.channels.values():
            channel.end()
    if rig.stopped:  # the arm stood still though told to move: an encoder that is stuck says so
        rig.reset()
    rig.instruct(WANDER)  # after a reset nothing moves without
    since_ns = begun_ns if fault.action is Action.KILL else time.monotonic_ns()
    try:
        row.recovered = wait_until_it_moves(rig, processes, RECOVERY_TIMEOUT_S)
    except GraphError as error:
        row.notes.append(str(error))
    if row.recovered:
        row.recovery_s = (time.monotonic_ns() - since_ns) / 1e9
    _blame(row, fault, kind, restarts, processes.restarts)
    row.count(rig.take_watch())
    return row


def _let_happen(fault: Fault, kind: Kind, begun_ns: int, rig: Rig) -> None:
    """Until its time is over, and longer for an arm that has to hold and does not yet stand."""
    if kind.target == INSTRUCTION:
        for time_s, text in WISHES:
            rig.spin(max(0.0, begun_ns / 1e9 + time_s - time.monotonic()))
            rig.instruct(text)
    rig.spin(max(0.0, begun_ns / 1e9 + fault.duration_s - time.monotonic()))

    def stands() -> bool:
        watch = rig.watch
        hold_ns = begun_ns if kind.holds is Holds.COMMANDS else held_at(watch.states, begun_ns)
        if hold_ns is None:
            return False
        return kind.target == SIM or rest_after(watch.samples, hold_ns) is not None

    if kind.holds is not Holds.NEVER:
        rig.spin_until(stands, PATIENCE_S)


def _judge(row: Row, kind: Kind, begun_ns: int, answer_ns: int, rig: Rig) -> None:
    """Whether and when it held, while the fault is still in force."""
    watch = rig.watch
    due = due_ns(
        kind.holds,
        rig.channels,
        rig.stopped_ns,
        answer_ns,
        watch.command_end_ns,
        begun_ns,
        Timeouts(),
    )
    if due is None:
        if row.must_hold:
            row.must_hold = False
            row.notes.append("nothing came that the executor had to refuse")
        return
    if kind.holds is Holds.COMMANDS:
        hold_ns = rest_ns = rest_after(watch.samples, begun_ns)
    else:
        hold_ns = held_at(watch.states, begun_ns)
        rest_ns = None if hold_ns is None else rest_after(watch.samples, hold_ns)
    row.held = False
    if hold_ns is None:
        return
    row.hold_ms = max(0.0, (hold_ns - due) / 1e6)
    if rest_ns is not None:
        row.rest_ms = max(0.0, (rest_ns - due) / 1e6)
    unseen = kind.target == SIM  # it is the one who would tell
    # One that held before it had to, for another reason, has until then.
    row.held = unseen or (rest_ns is not None and rest_ns - max(hold_ns, due) <= BRAKING_NS)


def _blame(
    row: Row, fault: Fault, kind: Kind, before: dict[str, int], after: dict[str, int]
) -> None:
    """The rest of the graph has to live on."""
    for name, count in after.items():
        if count != before[name] and not (fault.action in RESTARTED and name == kind.target):
            row.recovered = False
            row.notes.append(f"{name} died")
