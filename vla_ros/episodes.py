"""What is recorded of an episode that ran over ROS, and its summary. No ROS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEP_RATE_HZ = 10.0  # at which the Gymnasium environments count their `max_steps`
# A robot moves while its policy thinks, so it gets further in an action's time than asked for only
# when the policy is quick; episodes over ROS may last this many times as long as simulated ones.
TIME_SLACK = 2.0


@dataclass(frozen=True)
class Frame:
    """One camera image and the action that was in force."""

    stamp_ns: int
    image: NDArray[np.uint8]  # (height, width, 3) RGB
    action: NDArray[np.float64]  # (7,) displacement [m], [rad] and gripper opening


@dataclass
class EpisodeRecord:
    """One episode, as seen on the topics."""

    number: int
    task: str
    seed: int
    instruction: str
    time_limit_s: float
    success: bool = False
    duration_s: float = 0.0  # simulated, until success or the end
    steps: int = 0  # motions commanded until then
    frames: list[Frame] = field(default_factory=list)
    tool_path: list[NDArray[np.float64]] = field(default_factory=list)  # (3,) [m], base frame
    latencies_ms: list[float] = field(default_factory=list)  # camera stamp to command
    command_times_s: list[float] = field(default_factory=list)  # since the episode's start

    def summary(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "instruction": self.instruction,
            "seed": self.seed,
            "success": self.success,
            "steps": self.steps,
            "duration_s": round(self.duration_s, 2),
        }


def time_limit_s(max_steps: int) -> float:
    return TIME_SLACK * max_steps / STEP_RATE_HZ


def summarize(records: Sequence[EpisodeRecord], policy: str) -> dict[str, Any]:
    """The content of `summary.json`. Figures nothing was measured for are null."""
    latencies_ms = np.concatenate([np.zeros(0), *(r.latencies_ms for r in records)])
    intervals_s = np.concatenate([np.zeros(0), *(np.diff(r.command_times_s) for r in records)])
    count = len(records)
    return {
        "policy": policy,
        "episodes": [record.summary() for record in records],
        "success_rate": sum(r.success for r in records) / count if count else None,
        "commands": int(latencies_ms.size),
        "loop_latency_ms": {
            "p50": _percentile(latencies_ms, 50),
            "p99": _percentile(latencies_ms, 99),
        },
        "rate_hz": round(1.0 / float(np.mean(intervals_s)), 2) if intervals_s.size else None,
    }


def _percentile(values: NDArray, percent: float) -> float | None:
    return round(float(np.percentile(values, percent)), 1) if values.size else None
