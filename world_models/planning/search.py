"""Imagining candidates and scoring them: what solvers search with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.imagination import Dynamics, Objective
from world_models.planning.effort import Budget, Costs, Effort, OutOfTime, choose_effort
from world_models.planning.settings import PlannerSettings


@dataclass(frozen=True)
class Scores:
    """Of n candidates, and the situations that were imagined for them, frame by frame."""

    score: NDArray[np.float64]  # (n,) in [0, 1]: expected discounted success
    failure: NDArray[np.float64]  # (n,) probability that the task will not be done
    situations: tuple[Any, ...]  # one entry a frame, of n situations each


class Search:
    """One decision's present situation, time and effort."""

    def __init__(
        self,
        dynamics: Dynamics,
        objective: Objective,
        situation: Any,
        settings: PlannerSettings,
        effort: Effort,
        budget: Budget,
        costs: Costs,
    ) -> None:
        self.settings, self.effort = settings, effort
        self._dynamics, self._objective = dynamics, objective
        self._situation = situation
        self._budget, self._costs = budget, costs
        self.imagined = 0  # candidates scored so far

    def fit(self, rounds: int, final_steps: int) -> None:
        """Choose the effort anew, of the time left by now. Raises `OutOfTime` if nothing fits."""
        effort = choose_effort(
            self.settings, self._costs, self._budget.left_ns, rounds, final_steps
        )
        if effort is None:
            raise OutOfTime
        self.effort = effort

    def affordable(self, rounds_left: int, limit: int) -> int:
        """Candidates of the next round, so that what comes after it still fits."""
        left_ns = self._budget.left_ns
        if left_ns == float("inf"):
            return limit
        frames, final = self.effort.frames, self.effort.final_steps
        if final:
            left_ns -= frames * self._costs.frame_ns(self.settings.finalists, final)
        share_ns = left_ns / rounds_left / frames
        return self._costs.most_rows(self.settings.search_steps, share_ns, limit)

    def within(self, candidates: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., 7) moved into the range of actions that the model knows."""
        low, high = self._dynamics.action_range
        return np.clip(candidates, low, high)

    def score(self, candidates: NDArray[np.float64], decode_steps: int) -> Scores:
        """Of `candidates` (n, actions, 7), over the effort's frames.

        score = sum_t g^t p_t prod_{i<t} (1 - p_i) + g^T v_T prod_i (1 - p_i), with the probability
        p_t that the actions before frame t did the task, the value v_T behind the horizon, and the
        discount g of a frame. Raises `OutOfTime` before a frame that would not be done in time.
        """
        dynamics, count = self._dynamics, len(candidates)
        block = dynamics.actions_per_frame
        discount = self._objective.discount**block
        situations = dynamics.branch(self._situation, count)
        score: NDArray[np.float64] = np.zeros(count)
        undone: NDArray[np.float64] = np.ones(count)
        failure = undone
        trail = []
        for frame in range(self.effort.frames):
            if self._budget.left_ns < self._costs.frame_ns(count, decode_steps):
                raise OutOfTime
            begin_ns = self._budget.spent_ns
            actions = candidates[:, frame * block : (frame + 1) * block]
            situations = dynamics.next(situations, actions, decode_steps)
            judged = self._objective.judge(situations)
            self._costs.record(count, decode_steps, self._budget.spent_ns - begin_ns)
            score += discount ** (frame + 1) * undone * judged.success
            undone = undone * (1.0 - judged.success)
            failure = undone * (1.0 - judged.eventually)
            trail.append(situations)
        score += discount**self.effort.frames * undone * judged.value
        self.imagined += count
        return Scores(score, failure, tuple(trail))
