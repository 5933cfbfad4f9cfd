"""What a task planner gives: steps in the tasks' own words. No ROS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from policies.interface import MAX_INSTRUCTION


class TaskPlanningError(ValueError):
    """An instruction that does not become steps; the message says which part and why."""


@dataclass(frozen=True)
class Step:
    """One sub-instruction, and what it is about: enough to check whether it is done.

    Raises `TaskPlanningError` for an instruction that no policy would be asked.
    """

    instruction: str  # in the words of the task's grammar
    task: str  # a key of `sim.tasks.TASKS`
    target: str | None = None  # names of things, "red cube"
    destination: str | None = None
    direction: str | None = None  # a key of `push.DIRECTIONS` or `place_relative.RELATIONS`

    def __post_init__(self) -> None:
        if len(self.instruction) > MAX_INSTRUCTION:
            raise TaskPlanningError(
                f"step: expected an instruction of at most {MAX_INSTRUCTION} characters, "
                f"got {len(self.instruction)}"
            )

    def described(self) -> dict[str, Any]:
        """For JSON."""
        return {name: value for name, value in vars(self).items() if value is not None}


class TaskPlanner(Protocol):
    """Turns a long instruction into steps."""

    def plan(self, instruction: str, scene: Sequence[str]) -> tuple[Step, ...]:
        """`scene`: names of the things there are; empty: unknown. Raises `TaskPlanningError`."""
