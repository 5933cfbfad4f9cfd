"""What a task planner gives: steps in the tasks' own words. No ROS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class TaskPlanningError(ValueError):
    """An instruction that does not become steps; the message says which part and why."""


@dataclass(frozen=True)
class Step:
    """One sub-instruction, and what it is about: enough to check whether it is done."""

    instruction: str  # in the words of the task's grammar
    task: str  # a key of `sim.tasks.TASKS`
    target: str | None = None  # names of things, "red cube"
    destination: str | None = None
    direction: str | None = None  # a key of `push.DIRECTIONS` or `place_relative.RELATIONS`

    def described(self) -> dict[str, Any]:
        """For JSON."""
        return {name: value for name, value in vars(self).items() if value is not None}


class TaskPlanner(Protocol):
    """Turns a long instruction into steps."""

    def plan(self, instruction: str, scene: Sequence[str]) -> tuple[Step, ...]:
        """`scene`: names of the things there are; empty: unknown. Raises `TaskPlanningError`."""
