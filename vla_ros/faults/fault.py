"""What a fault is: when the arm has to hold for it, what it changes, what it does. No ROS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from numpy.random import Generator

from vla_ros.faults.channel import Transform

IMAGES, JOINTS, CHUNKS = "images", "joint_states", "chunks"
GRIPPER, INSTRUCTION = "gripper_chunks", "instruction"
STREAMS = (IMAGES, JOINTS, CHUNKS, GRIPPER, INSTRUCTION)
SIM, EXECUTOR, POLICY, SERVER = "sim_node", "executor_node", "policy_node", "policy_server"
NODES = (SIM, EXECUTOR, POLICY, SERVER)
MACHINE = "machine"  # the target of a fault that is nobody's own


class Holds(Enum):
    """What makes the arm hold; `timing.due_ns` says from when on."""

    NEVER = "need not"  # it may go on, and it may hold
    AT_ONCE = "refused message"  # the executor has what it must refuse, or is told to stop
    CHUNKS = "no chunks"  # none comes any more that could be followed
    IMAGES = "no images"
    JOINTS = "no joint states"
    COMMANDS = "no executor"  # nobody commands the arm: it comes to rest where it was told to


class Action(Enum):
    """What is done beside changing messages."""

    NONE = "none"
    KILL = "kill"
    FREEZE = "freeze"
    STARVE = "starve"
    STOP = "emergency stop"
    STOP_AND_KILL = "emergency stop, and the executor killed"
    DEACTIVATE = "deactivate"
    RECONFIGURE = "reconfigure"
    BAD_TRANSITION = "bad transition"


@dataclass(frozen=True)
class Fault:
    """One fault, drawn."""

    duration_s: float
    parameters: Mapping[str, Any] = field(default_factory=dict)  # as they are recorded
    transforms: Mapping[str, Transform] = field(default_factory=dict)  # stream -> what it does
    action: Action = Action.NONE


@dataclass(frozen=True)
class Kind:
    """Faults of one kind."""

    name: str
    target: str  # a stream or a node
    holds: Holds
    draw: Callable[[Generator], Fault]
