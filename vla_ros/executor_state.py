"""What the executor is doing, as it tells on `/executor/state`. No ROS, and light to import."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """A state is equal to its own word."""

    WAITING = "waiting"  # has nothing to do yet, or cannot see the joints: sends nothing
    MOVING = "moving"
    HOLDING = "holding"
    STOPPED = "stopped"  # emergency stop, or an arm that stood still: until it is reset
