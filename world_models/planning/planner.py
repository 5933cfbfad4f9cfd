"""A policy around a policy: imagines what its actions lead to, and lets better ones go out.

Dynamics, objective (`policies.imagination`) and solver (`solvers`) are separate. Past the deadline,
and whenever nothing better was found, the policy's own chunk goes out, number for number.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.imagination import Dynamics, Objective
from policies.interface import ActionChunk, Observation, Policy, SelfChecking, ToolLimits
from policies.proposals import (
    NOISE,
    SamplingPolicy,
    check_plannable,
    colored_noise,
    recoveries,
    sample_around,
)
from world_models.planning.effort import (
    MARGIN,
    Budget,
    Clock,
    Costs,
    OutOfTime,
    Reserve,
    choose_effort,
    least_search_ns,
)
from world_models.planning.recovery import Recovery
from world_models.planning.search import Search
from world_models.planning.settings import PlannerSettings
from world_models.planning.solvers import ICEM, BestOfN, Ranking, Seeds, drawn_out

SAMPLING_SHARE = 0.3  # of the time left that drawing from the policy may take


class PlannerError(ValueError):
    """A planner that does not fit its policy or its model; the message says what is expected."""


@dataclass(frozen=True)
class _Memory:
    """The last decision's elites."""

    stamp_ns: int
    elites: NDArray[np.float64]  # (e, actions, 7)


@dataclass(frozen=True)
class _Decision:
    """What goes out and why; the numbers become the chunk's diagnostics."""

    actions: NDArray[np.float64]  # (actions, 7)
    own: bool
    score: float = math.nan  # of what goes out
    failure: float = math.nan
    own_failure: float = math.nan
    held: bool = False
    imagined: tuple[tuple[Any, ...], int] | None = None  # situations by frame, the row in them
    recovered: bool = False


class Planner:
    """Wraps `policy`; same seed, same decisions, as long as no deadline cuts the search."""

    def __init__(
        self,
        policy: Policy,
        dynamics: Dynamics,
        objective: Objective,
        settings: PlannerSettings,
        clock: Clock = time.perf_counter_ns,
    ) -> None:
        """Raises `PlannerError` for a horizon beyond what the model was trained for."""
        block, most = dynamics.actions_per_frame, dynamics.max_frames
        if most is not None and settings.horizon_frames > most:
            raise PlannerError(
                f"horizon: expected at most {most * block} actions ({most} frames, the context the "
                f"model was trained with), got {settings.horizon_frames * block}"
            )
        self.policy = policy
        self.name = f"{policy.name}+{settings.mode}"
        self.cameras = tuple(dict.fromkeys((*policy.cameras, *dynamics.cameras)))
        self.settings = settings
        self._dynamics, self._objective, self._clock = dynamics, objective, clock
        self._solver = BestOfN(settings) if settings.mode == "best-of-n" else ICEM(settings)
        self._instead = BestOfN(settings)  # of what a policy that is stuck does
        self._recovery = Recovery(settings.patience_s)
        self._final_steps = min(settings.final_steps, dynamics.max_decode_steps)
        self._costs, self._reserve = Costs(), Reserve()
        self._sampling_ns = 0.0  # what a sample of the policy took last; 0: not known
        self.reset()

    def reset(self, seed: int | None = None) -> None:
        """Forget the last episode; measured costs and the reserve are kept."""
        self.policy.reset(seed)
        self._rng = np.random.default_rng([0x91A7, seed or 0])
        self._memory: _Memory | None = None
        self._holds = 0
        self._imagined: tuple[tuple[Any, ...], int] | None = None  # of what went out last
        self._gripper: float | None = None  # as it was told last
        self._recovery.reset()

    def check_fit(self, limits: ToolLimits) -> None:
        """The policy's own gate; raises `UnfitPolicyError`."""
        if isinstance(self.policy, SelfChecking):
            self.policy.check_fit(limits)

    def close(self) -> None:
        close = getattr(self.policy, "close", None)
        if close is not None:
            close()

    def predict_chunk(self, observation: Observation) -> ActionChunk:
        """The policy's chunk, or a better one. Raises what the policy and the model raise."""
        budget = Budget(self._clock, self.settings.deadline_ms, self._reserve.share)
        if (rest := self._recovery.rest(observation)) is not None:
            self._imagined = None
            nothing = dict.fromkeys(("policy_ms", "deadline_missed", "recovered", "imagined"), 0.0)
            took = {"planning_ms": budget.spent_ns / 1e6}
            return replace(rest, diagnostics={**rest.diagnostics, **nothing, **took})
        chunk = self.policy.predict_chunk(observation)
        policy_ns = budget.spent_ns
        self._check(chunk)
        search = None
        decision = _Decision(np.asarray(chunk.actions, dtype=np.float64), own=True)
        try:
            search = self._begin(observation, budget)
            if search is not None:
                decision = self._decide(search, chunk, observation, budget)
        except OutOfTime:
            pass
        fell_back = math.isnan(decision.score) and not decision.held
        if fell_back:
            self._costs.forget()
        self._reserve.note(budget.missed and search is not None)  # the policy alone may be too slow
        self._gripper = float(decision.actions[-1, 6])
        self._holds = self._holds + 1 if decision.held else 0
        self._imagined = decision.imagined
        actions = chunk.actions if decision.own else decision.actions
        found = {
            "score": decision.score,
            "failure": decision.failure,
            "own_failure": decision.own_failure,
        }
        answer = replace(
            chunk,
            actions=actions,
            diagnostics={
                **chunk.diagnostics,
                "planning_ms": budget.spent_ns / 1e6,
                "policy_ms": policy_ns / 1e6,
                "deadline_missed": float(budget.missed),
                "fell_back": float(fell_back),
                "replanned": float(not decision.own),
                "held": float(decision.held),
                "recovered": float(decision.recovered),
                "imagined": float(search.imagined if search else 0),
                "horizon_frames": float(search.effort.frames if search else 0),
                **{name: value for name, value in found.items() if not math.isnan(value)},
            },
        )
        self._recovery.goes_out(answer if decision.recovered else None)
        return answer

    # --- a decision -------------------------------------------------------------------------

    def _begin(self, observation: Observation, budget: Budget) -> Search | None:
        """What the search works with; None when there is no time for one."""
        left_ns = budget.left_ns - MARGIN * self._costs.begin_ns
        if left_ns <= 0:
            return None
        looks_first = self.settings.mode == "gate" and not self._recovery.needed(observation)
        rows = 1 if looks_first else self.settings.min_candidates
        effort = choose_effort(self.settings, self._costs, left_ns, 1, 0, rows)
        if effort is None:
            return None
        begin_ns = budget.spent_ns
        situation = self._dynamics.begin(observation)
        self._costs.begin_ns = float(budget.spent_ns - begin_ns)
        return Search(
            self._dynamics, self._objective, situation, self.settings, effort, budget, self._costs
        )

    def _worthwhile_final_steps(self) -> int:
        """0 where judging once more would give the same."""
        return self._final_steps if self._final_steps > self.settings.search_steps else 0

    def _decide(
        self, search: Search, chunk: ActionChunk, observation: Observation, budget: Budget
    ) -> _Decision:
        if self._recovery.needed(observation):
            return self._recover(search, chunk, observation, budget)
        gate, steps = self.settings.mode == "gate", self.settings.search_steps
        own_failure = math.nan
        measured = self._costs.known(self.settings.min_candidates, steps)
        first = self.settings.deadline_ms is not None and not measured
        if gate or first:  # before anything is promised, what a search costs at least is measured
            rows = self.settings.min_candidates if first else 1
            own = self._own(search, chunk)
            looked = search.score(np.repeat(own[None], rows, axis=0), steps)
            own_failure = float(looked.failure[0])
            if gate:
                self._recovery.note(observation, float(looked.score[0]))
            if gate and own_failure <= self.settings.gate_threshold:
                score, seen = float(looked.score[0]), (looked.situations, 0)
                return _Decision(chunk.actions, True, score, own_failure, own_failure, False, seen)
        try:
            seeds = self._seeds(search, chunk, observation, budget)
            ranking = self._solver.solve(search, seeds, self._rng)
            if not len(ranking.score):
                raise OutOfTime
        except OutOfTime:
            if gate and self._holds < self.settings.max_holds:
                return self._hold(chunk, own_failure)  # expected to fail, no time for another
            raise
        if not gate and ranking.own is not None:
            self._recovery.note(observation, ranking.own[0])
        self._memory = _Memory(observation.stamp_ns, ranking.candidates)
        decision = self._judge_once_more(search, ranking, chunk, seeds.own, own_failure)
        fails = decision.failure > self.settings.gate_threshold
        if gate and fails and self._holds < self.settings.max_holds:
            return self._hold(chunk, own_failure, decision.failure)
        return decision

    def _recover(
        self,
        search: Search,
        chunk: ActionChunk,
        observation: Observation,
        budget: Budget,
    ) -> _Decision:
        """The best of what was not tried since it got stuck, whatever its own chunk promises."""
        drawn = self._samples(observation, chunk, self.settings.policy_samples, budget)
        search.fit(self._instead.rounds, 0)
        own = self._own(search, chunk)
        gripper = float(own[0, 6]) if self._gripper is None else self._gripper
        others = self._recovery.untried(search.within(recoveries(own, gripper)))
        drawn = search.within(drawn_out(drawn, len(own)))
        seeds = Seeds(own, np.concatenate([others, drawn]), np.zeros((0, *own.shape)))
        ranking = self._instead.solve(search, seeds, self._rng)
        if ranking.own is None:
            raise OutOfTime
        score, failure = ranking.own
        if self._recovery.note(observation, score):  # it is not stuck, after all
            return _Decision(chunk.actions, True, score, failure, failure)
        differ = [not np.array_equal(each, own) for each in ranking.candidates]
        if not any(differ):
            raise OutOfTime
        row = differ.index(True)
        best = ranking.candidates[row]
        self._recovery.begin(best)
        return _Decision(
            best[: self.settings.recovery_actions],
            False,
            float(ranking.score[row]),
            float(ranking.failure[row]),
            failure,
            recovered=True,
        )

    # --- candidates -------------------------------------------------------------------------

    def _seeds(
        self,
        search: Search,
        chunk: ActionChunk,
        observation: Observation,
        budget: Budget,
    ) -> Seeds:
        """The policy's samples, and as far ahead as there is time for once they are drawn."""
        settings = self.settings
        count = settings.policy_samples if settings.mode != "best-of-n" else settings.candidates - 1
        samples = self._samples(observation, chunk, count, budget)
        search.fit(self._solver.rounds, self._worthwhile_final_steps())
        own = self._own(search, chunk)
        actions = len(own)
        elites: NDArray[np.float64] = np.zeros((0, actions, 7))
        if self._memory is not None:
            passed = round((observation.stamp_ns - self._memory.stamp_ns) * 1e-9 / chunk.dt_s)
            if 0 < passed < self._memory.elites.shape[1]:  # as far ahead as it looked then
                kept = self._memory.elites[: max(1, int(settings.kept_elites * settings.elites))]
                elites = drawn_out(kept[:, passed:], actions)
        return Seeds(own, search.within(drawn_out(samples, actions)), elites)

    def _samples(
        self, observation: Observation, chunk: ActionChunk, count: int, budget: Budget
    ) -> NDArray[np.float64]:
        """(count, k, 7) of the policy; for what drawing has no time for, noise about its chunk."""
        drawn = count
        if isinstance(self.policy, SamplingPolicy) and self.policy.can_sample:
            # Before it has been measured, a sample takes as long as an answer.
            each_ns = self._sampling_ns or budget.spent_ns
            spare_ns = budget.left_ns - least_search_ns(self.settings, self._costs)
            may_ns = max(0.0, min(SAMPLING_SHARE * budget.left_ns, spare_ns))
            drawn = int(min(count, may_ns / each_ns)) if each_ns else count
        noise = colored_noise(self._rng, count - drawn, len(chunk.actions))
        samples = np.asarray(chunk.actions) + np.array(NOISE) * noise
        if drawn > 0:
            begin_ns = budget.spent_ns
            own = sample_around(self.policy, observation, chunk, drawn, self._rng)
            self._sampling_ns = (budget.spent_ns - begin_ns) / drawn
            samples = np.concatenate([own, samples])
        return samples

    def _judge_once_more(
        self,
        search: Search,
        ranking: Ranking,
        chunk: ActionChunk,
        own: NDArray[np.float64],
        own_failure: float,
    ) -> _Decision:
        """The best of the search, or of its best few and the policy's chunk, seen more finely."""
        best, score, failure = ranking.candidates[0], ranking.score[0], ranking.failure[0]
        of_own, seen = ranking.own, None
        if search.effort.final_steps:
            finalists = ranking.candidates[: self.settings.finalists - 1]
            candidates = np.concatenate([own[None], finalists])
            try:
                found = search.score(candidates, search.effort.final_steps)
            except OutOfTime:  # the search's own ranking has to do
                pass
            else:
                row = int(found.score.argmax())
                best, score, failure = candidates[row], found.score[row], found.failure[row]
                of_own = (float(found.score[0]), float(found.failure[0]))
                own_failure, seen = of_own[1], (found.situations, row)
        if of_own is not None and (np.array_equal(best, own) or not self._gains(score, of_own[0])):
            if seen is not None:
                seen = (seen[0], 0)
            return _Decision(chunk.actions, True, *of_own, of_own[1], False, seen)
        # As many actions as the policy gives, and a few at least: beyond that it looks again.
        count = min(max(len(chunk.actions), self.settings.least_actions), len(best))
        better = best[:count]
        return _Decision(better, False, float(score), float(failure), own_failure, False, seen)

    def _gains(self, score: float, own_score: float) -> bool:
        """Whether a candidate is enough better than the policy's chunk. See `least_gain`."""
        if self.settings.mode == "gate":  # it is asked where the policy's chunk is to fail
            return True
        return score > own_score * (1.0 + self.settings.least_gain)

    def _hold(self, chunk: ActionChunk, own_failure: float, failure: float = math.nan) -> _Decision:
        """Stay; what the fingers were told stays, too, or they would let go."""
        still = np.zeros((self.settings.least_actions, 7))
        still[:, 6] = chunk.actions[0, 6] if self._gripper is None else self._gripper
        return _Decision(still, False, math.nan, failure, own_failure, held=True)

    def _own(self, search: Search, chunk: ActionChunk) -> NDArray[np.float64]:
        """The policy's chunk as far ahead as is imagined."""
        actions = search.effort.frames * self._dynamics.actions_per_frame
        return drawn_out(np.asarray(chunk.actions), actions)

    def _check(self, chunk: ActionChunk) -> None:
        check_plannable(chunk)
        if not math.isclose(chunk.dt_s * self._dynamics.rate_hz, 1.0, rel_tol=1e-6):
            raise PlannerError(
                f"planner: the model imagines actions at {self._dynamics.rate_hz:g} Hz, the "
                f"policy's are at {1.0 / chunk.dt_s:g} Hz"
            )
