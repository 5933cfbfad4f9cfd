"""The kinds of faults, and how one of each is drawn. No ROS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator

from vla_ros.faults import changes
from vla_ros.faults.changes import SetNumber, SetOpening
from vla_ros.faults.channel import Transform
from vla_ros.faults.fault import (
    CHUNKS,
    EXECUTOR,
    GRIPPER,
    IMAGES,
    INSTRUCTION,
    JOINTS,
    MACHINE,
    NODES,
    POLICY,
    SERVER,
    SIM,
    Action,
    Fault,
    Holds,
    Kind,
)
from vla_ros.faults.transforms import Change, change, delay, drop, duplicate, marking, reorder

MS = 1_000_000
SHORTEST_S, LONGEST_S = 0.9, 1.5  # of a fault; a node that was killed comes back when it comes back
NO_NUMBERS = (np.nan, np.inf, -np.inf)
Drawn = tuple[Transform, dict[str, Any]]


def _duration_s(generator: Generator) -> float:
    return float(generator.uniform(SHORTEST_S, LONGEST_S))


def _stream(name: str, stream: str, holds: Holds, make: Callable[[Generator], Drawn]) -> Kind:
    """A fault of one stream; of the instruction the empty one makes the arm hold."""

    def draw(generator: Generator) -> Fault:
        duration_s = _duration_s(generator)
        transform, parameters = make(generator)
        if stream == INSTRUCTION and holds is Holds.AT_ONCE:
            transform = marking(transform, lambda message: message.data == "")
        return Fault(duration_s, parameters, {stream: transform})

    return Kind(name, stream, holds, draw)


def _changed(
    name: str, stream: str, holds: Holds, draw_change: Callable[[Generator], Change]
) -> Kind:
    """Every message of the stream is changed; what holds for it says what it is good for."""

    def make(generator: Generator) -> Drawn:
        how = draw_change(generator)
        parameters = {
            key.strip("_"): value if np.isfinite(value) else str(value)
            for key, value in vars(how).items()
            if isinstance(value, (int, float))
        }
        good, refusable = holds is Holds.NEVER, holds is Holds.AT_ONCE
        return change(how, generator, good, refusable), parameters

    return _stream(name, stream, holds, make)


def _plain(name: str, stream: str, holds: Holds, how: Change) -> Kind:
    def draw(generator: Generator) -> Fault:
        good, refusable = holds is Holds.NEVER, holds is Holds.AT_ONCE
        duration_s = _duration_s(generator)
        return Fault(duration_s, {}, {stream: change(how, generator, good, refusable)})

    return Kind(name, stream, holds, draw)


def _delayed(stream: str, holds: Holds, low_ms: int, high_ms: int) -> Kind:
    def make(generator: Generator) -> Drawn:
        late_ms = int(generator.integers(low_ms, high_ms))
        good = holds in (Holds.NEVER, Holds.AT_ONCE)
        return delay(late_ms * MS, good), {"delay_ms": late_ms}

    return _stream(f"delay {stream}", stream, holds, make)


def _reordered(stream: str) -> Kind:
    def make(generator: Generator) -> Drawn:
        block = int(generator.integers(2, 4))
        return reorder(block, generator), {"block": block}

    return _stream(f"reorder {stream}", stream, Holds.NEVER, make)


def _repeated(name: str, stream: str, holds: Holds, low: int, high: int) -> Kind:
    def make(generator: Generator) -> Drawn:
        times = int(generator.integers(low, high))
        return duplicate(times), {"times": times}

    return _stream(name, stream, holds, make)


def _lost(stream: str, holds: Holds) -> Kind:
    return _stream(f"drop {stream}", stream, holds, lambda generator: (drop(1.0, generator), {}))


def _partly_lost(stream: str) -> Kind:
    def make(generator: Generator) -> Drawn:
        share = float(generator.uniform(0.3, 0.7))
        return drop(share, generator), {"share": round(share, 2)}

    return _stream(f"drop some {stream}", stream, Holds.NEVER, make)


def _leap(name: str, streams: tuple[str, ...], holds: Holds, sign: int, low_s: float) -> Kind:
    """The stamps of these streams leap, by `low_s` to an hour."""

    def draw(generator: Generator) -> Fault:
        shift_s = sign * float(np.exp(generator.uniform(np.log(low_s), np.log(3600.0))))
        duration_s = _duration_s(generator)
        how = changes.ShiftStamp(round(shift_s * 1e9))
        refusable = holds is Holds.AT_ONCE
        return Fault(
            duration_s,
            {"shift_s": round(shift_s, 3)},
            {each: change(how, generator, False, refusable) for each in streams},
        )

    return Kind(name, " and ".join(streams), holds, draw)


def _done(name: str, target: str, holds: Holds, action: Action, **parameters: Any) -> Kind:
    return Kind(name, target, holds, lambda g: Fault(_duration_s(g), parameters, {}, action))


def _none(generator: Generator) -> float:
    return float(generator.choice(NO_NUMBERS))


def _huge(generator: Generator) -> float:
    return float(generator.choice([-1, 1]) * 10 ** generator.uniform(0.5, 300))


_SILENT = {SIM: Holds.JOINTS, EXECUTOR: Holds.COMMANDS, POLICY: Holds.CHUNKS, SERVER: Holds.CHUNKS}
_NODE_KINDS = tuple(
    _done(f"{action.value} {node}", node, _SILENT[node], action)
    for action in (Action.KILL, Action.FREEZE)
    for node in NODES
)
_STREAM_KINDS = (
    _lost(IMAGES, Holds.IMAGES),
    _lost(JOINTS, Holds.JOINTS),
    _lost(CHUNKS, Holds.CHUNKS),
    _lost(GRIPPER, Holds.CHUNKS),
    _lost(INSTRUCTION, Holds.NEVER),  # nobody can know of a wish that never came
    _partly_lost(IMAGES),
    _partly_lost(JOINTS),
    _partly_lost(CHUNKS),
    _delayed(IMAGES, Holds.IMAGES, 600, 900),
    _delayed(JOINTS, Holds.JOINTS, 300, 700),
    _delayed(CHUNKS, Holds.CHUNKS, 1100, 1400),
    _delayed(GRIPPER, Holds.CHUNKS, 600, 900),
    _delayed(INSTRUCTION, Holds.AT_ONCE, 100, 400),
    *(
        _repeated(f"duplicate {stream}", stream, Holds.NEVER, 2, 6)
        for stream in (IMAGES, JOINTS, CHUNKS, GRIPPER)
    ),
    _repeated(f"duplicate {INSTRUCTION}", INSTRUCTION, Holds.AT_ONCE, 2, 6),
    *(_reordered(stream) for stream in (IMAGES, JOINTS, CHUNKS, GRIPPER, INSTRUCTION)),
    _plain(f"corrupt {IMAGES}", IMAGES, Holds.NEVER, changes.noise),
    _plain(f"corrupt {JOINTS}", JOINTS, Holds.NEVER, changes.wild_joint),
    _plain(f"corrupt {CHUNKS}", CHUNKS, Holds.NEVER, changes.shake),
    _plain(f"corrupt {GRIPPER}", GRIPPER, Holds.NEVER, changes.any_opening),
    _plain(f"corrupt {INSTRUCTION}", INSTRUCTION, Holds.NEVER, changes.garble),
    _repeated(f"flood {IMAGES}", IMAGES, Holds.NEVER, 5, 15),
    _repeated(f"flood {JOINTS}", JOINTS, Holds.NEVER, 10, 30),
    _repeated(f"flood {CHUNKS}", CHUNKS, Holds.NEVER, 30, 100),
)
_ACTION_KINDS = (
    _changed("no number as action", CHUNKS, Holds.AT_ONCE, lambda g: SetNumber(_none(g))),
    _changed("huge action", CHUNKS, Holds.AT_ONCE, lambda g: SetNumber(_huge(g))),
    _changed("no number as opening", GRIPPER, Holds.AT_ONCE, lambda g: SetOpening(_none(g))),
    _changed("huge opening", GRIPPER, Holds.AT_ONCE, lambda g: SetOpening(_huge(g))),
    _changed("constant action", CHUNKS, Holds.NEVER, lambda _: changes.Constant()),
    _plain("malformed chunk", CHUNKS, Holds.AT_ONCE, changes.misshape),
    _plain("truncated chunk", CHUNKS, Holds.CHUNKS, changes.truncate),
)
_SENSOR_KINDS = (
    _plain("black camera", IMAGES, Holds.IMAGES, changes.blacken),
    _plain("image of another size", IMAGES, Holds.IMAGES, changes.halve),
    _plain("image of another encoding", IMAGES, Holds.IMAGES, changes.rename_encoding),
    _plain("image with too few bytes", IMAGES, Holds.IMAGES, changes.shorten),
    _plain("truncated image", IMAGES, Holds.IMAGES, changes.truncate),
    _plain("missing joint", JOINTS, Holds.JOINTS, changes.lose_joint),
    _plain("renamed joint", JOINTS, Holds.JOINTS, changes.rename_joint),
    _plain("reordered joints", JOINTS, Holds.NEVER, changes.shuffle_joints),
    _plain("joint that is no number", JOINTS, Holds.JOINTS, changes.not_a_joint),
    _plain("fewer positions than names", JOINTS, Holds.JOINTS, changes.fewer_positions),
    _plain("truncated joint states", JOINTS, Holds.JOINTS, changes.truncate),
    _changed(
        "encoder that leaps",
        JOINTS,
        Holds.JOINTS,
        lambda g: changes.Offset(
            int(g.integers(0, 7)), float(g.choice([-1, 1]) * g.uniform(0.3, 1.5))
        ),
    ),
    _changed("encoder that is stuck", JOINTS, Holds.NEVER, lambda _: changes.Stuck()),
    _plain("malformed instruction", INSTRUCTION, Holds.NEVER, changes.junk),
)
_CLOCK_KINDS = (
    _leap("camera clock ahead", (IMAGES,), Holds.IMAGES, 1, 0.5),
    _leap("camera clock back", (IMAGES,), Holds.IMAGES, -1, 1.0),
    _leap("joint clock ahead", (JOINTS,), Holds.JOINTS, 1, 0.5),
    _leap("joint clock back", (JOINTS,), Holds.JOINTS, -1, 0.5),
    _leap("robot clock ahead", (IMAGES, JOINTS), Holds.JOINTS, 1, 0.5),
    _leap("robot clock back", (IMAGES, JOINTS), Holds.JOINTS, -1, 1.0),
    _leap("policy clock ahead", (CHUNKS, GRIPPER), Holds.AT_ONCE, 1, 1.0),
    _leap("policy clock back", (CHUNKS, GRIPPER), Holds.CHUNKS, -1, 2.0),
)
_OTHER_KINDS = (
    _done("CPU starvation", MACHINE, Holds.NEVER, Action.STARVE),
    _done("emergency stop", EXECUTOR, Holds.AT_ONCE, Action.STOP),
    _done("emergency stop, executor killed", EXECUTOR, Holds.AT_ONCE, Action.STOP_AND_KILL),
    _done("policy deactivated", POLICY, Holds.CHUNKS, Action.DEACTIVATE),
    _done("policy configured anew", POLICY, Holds.NEVER, Action.RECONFIGURE),
    _done("transition that does not exist", POLICY, Holds.NEVER, Action.BAD_TRANSITION),
)
KINDS = (
    *_NODE_KINDS, *_STREAM_KINDS, *_ACTION_KINDS, *_SENSOR_KINDS, *_CLOCK_KINDS, *_OTHER_KINDS,
)  # fmt: skip


def schedule(seed: int, count: int, kinds: tuple[Kind, ...] = KINDS) -> list[Kind]:
    """`count` kinds: all of them in an order drawn from `seed`, then all in another, and so on."""
    generator = np.random.default_rng(seed)
    order: list[Kind] = []
    while len(order) < count:
        order += [kinds[index] for index in generator.permutation(len(kinds))]
    return order[:count]
