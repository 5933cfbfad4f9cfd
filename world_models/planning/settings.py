"""How a planner searches. Checked when built."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from policies.proposals import NOISE

Mode = Literal["best-of-n", "gate", "icem"]
MODES: tuple[str, ...] = get_args(Mode)


@dataclass(frozen=True)
class PlannerSettings:
    """The search's size without a deadline, which is also the most that one allows."""

    mode: Mode = "best-of-n"
    deadline_ms: float | None = None  # of a decision, the policy's own time included; None: none
    horizon_frames: int = 4  # imagined ahead, of `Dynamics.actions_per_frame` actions each
    min_frames: int = 2  # a deadline shortens the horizon no further
    least_actions: int = 2  # go out, if the policy's chunk is shorter and another is better
    candidates: int = 32  # of a round
    policy_samples: int = 8  # among them, drawn from the policy
    min_candidates: int = 4  # fewer are no search: the policy's own chunk goes out
    iterations: int = 3  # rounds; best-of-n has one
    # iCEM (arXiv 2008.06389): names and defaults of its table S2.
    elites: int = 6
    kept_elites: float = 0.3  # share that goes on to the next round and to the next decision
    momentum: float = 0.1  # of mean and deviation from round to round
    decay: float = 1.25  # of the candidates from round to round
    noise: tuple[float, ...] = tuple(2.0 * std for std in NOISE)  # (7,) first deviation
    search_steps: int = 1  # of decoding a frame during the search
    final_steps: int = 4  # the best are judged once more with these
    finalists: int = 4
    autoregressive: bool = False  # token by token in search and second look, whatever the steps
    # Share by which a score must exceed that of the policy's chunk: a model is uncertain, and the
    # best of many candidates is the one that it is most wrong about. The gate asks for none.
    least_gain: float = 0.0
    # Without a better imagined score of its chunks for so long, the policy is stuck: then the best
    # of other chunks goes out, and so many actions of it (see `progress`). Infinite: never.
    patience_s: float = 1.5
    recovery_actions: int = 6
    gate_threshold: float = 0.7  # predicted failure above which the policy's chunk is not executed
    max_holds: int = 3  # in a row; then the better of what there is goes out

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"planner: expected one of {', '.join(MODES)}, got {self.mode!r}")
        if self.deadline_ms is not None and not 0 < self.deadline_ms < math.inf:
            raise ValueError(
                f"deadline_ms: expected a number of ms above 0, got {self.deadline_ms}"
            )
        for name in (
            "horizon_frames", "min_frames", "least_actions", "min_candidates", "iterations",
            "search_steps", "final_steps", "finalists", "recovery_actions",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected 1 or more, got {getattr(self, name)}")
        for name in ("policy_samples", "max_holds"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected 0 or more, got {getattr(self, name)}")
        if self.min_frames > self.horizon_frames:
            raise ValueError(
                f"min_frames: expected at most horizon_frames ({self.horizon_frames}), "
                f"got {self.min_frames}"
            )
        if self.candidates < 4:
            raise ValueError(f"candidates: expected 4 or more, got {self.candidates}")
        if self.elites < 2 or 2 * self.elites > self.candidates:
            raise ValueError(
                f"elites: expected 2 to half of the {self.candidates} candidates, got {self.elites}"
            )
        for name in ("kept_elites", "momentum", "gate_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected 0 to 1, got {getattr(self, name)}")
        if self.decay < 1:
            raise ValueError(f"decay: expected 1 or more, got {self.decay}")
        if not 0 <= self.least_gain < math.inf:
            raise ValueError(f"least_gain: expected 0 or more, got {self.least_gain}")
        if not self.patience_s > 0:  # nan, too
            raise ValueError(f"patience_s: expected more than 0, or inf, got {self.patience_s}")
        if len(self.noise) != 7 or not all(0 <= value < math.inf for value in self.noise):
            raise ValueError(f"noise: expected 7 numbers from 0 on, got {self.noise}")
