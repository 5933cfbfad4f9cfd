"""Runs a plan step by step: what to instruct now, what to do when a step fails. Time is passed in.

Whether a step is done is somebody else's to say: a detector, a person, the simulator's judgement
(`simulated`), never the policy that acts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from vla_ros.task_planning.step import Step

Outcome = Literal["done", "failed"]
Status = Literal["running", "pausing", "succeeded", "failed", "stopped"]


@dataclass(frozen=True)
class ExecutiveSettings:
    """When to give up."""

    step_timeout_s: float = 30.0  # a step that takes longer has failed
    attempts: int = 2  # of a step
    pause_s: float = (
        0.5  # with no instruction before another attempt or step: the arm comes to rest
    )

    def __post_init__(self) -> None:
        if not self.step_timeout_s > 0:
            raise ValueError(
                f"step_timeout_s: expected a number above 0, got {self.step_timeout_s}"
            )
        if self.attempts < 1:
            raise ValueError(f"attempts: expected 1 or more, got {self.attempts}")
        if not self.pause_s >= 0:
            raise ValueError(f"pause_s: expected 0 or more, got {self.pause_s}")


class Executive:
    """`instruction` is what the robot should be told now; empty: hold."""

    def __init__(self, steps: tuple[Step, ...], settings: ExecutiveSettings, now_ns: int) -> None:
        if not steps:
            raise ValueError("steps: expected at least one")
        self.steps, self._settings = steps, settings
        self.index = 0  # of the step at work
        self.attempt = 1
        self.status: Status = "running"
        self.reason = ""  # of the last failure
        self._since_ns = now_ns  # of the present attempt or pause

    @property
    def instruction(self) -> str:
        return self.steps[self.index].instruction if self.status == "running" else ""

    @property
    def finished(self) -> bool:
        return self.status in ("succeeded", "failed", "stopped")

    def update(self, now_ns: int, outcome: Outcome | None = None, reason: str = "") -> bool:
        """What is known now; True when something has changed."""
        passed_s = (now_ns - self._since_ns) / 1e9
        if self.status == "pausing":
            if passed_s < self._settings.pause_s:
                return False
            self._enter("running", now_ns)
            return True
        if self.status != "running":
            return False
        if outcome == "done":
            self._next(now_ns)
            return True
        if outcome is None and passed_s > self._settings.step_timeout_s:
            outcome, reason = "failed", f"not done after {self._settings.step_timeout_s:g} s"
        if outcome != "failed":
            return False
        self.reason = f"{self.instruction}: {reason or 'failed'}"
        if self.attempt < self._settings.attempts:
            self.attempt += 1
            self._enter("pausing", now_ns)
        else:
            self._enter("failed", now_ns)
        return True

    def age_s(self, now_ns: int) -> float:
        """Of the present attempt or pause; of a finished task since its end."""
        return max(0.0, (now_ns - self._since_ns) / 1e9)

    def stop(self, now_ns: int) -> None:
        """Somebody wants something else."""
        if not self.finished:
            self._enter("stopped", now_ns)

    def progress(self) -> dict[str, Any]:
        """For people and programs that watch."""
        return {
            "status": self.status,
            "step": self.index,
            "attempt": self.attempt,
            "instruction": self.instruction,
            "reason": self.reason,
            "steps": [step.described() for step in self.steps],
        }

    def _next(self, now_ns: int) -> None:
        if self.index + 1 == len(self.steps):
            self._enter("succeeded", now_ns)
            return
        self.index += 1
        self.attempt, self.reason = 1, ""
        self._enter("pausing", now_ns)

    def _enter(self, status: Status, now_ns: int) -> None:
        self.status, self._since_ns = status, now_ns
