"""Two solvers behind one protocol: the best of the policy's own samples, and iCEM."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from policies.proposals import colored_noise
from world_models.planning.effort import OutOfTime
from world_models.planning.search import Search
from world_models.planning.settings import PlannerSettings


@dataclass
class Ranking:
    """The best candidates so far, the best first; of equal ones the earlier."""

    candidates: NDArray[np.float64]  # (n, actions, 7)
    score: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))  # (n,)
    failure: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    own: tuple[float, float] | None = None  # score and failure of the policy's chunk, once seen

    def first(self, count: int) -> Ranking:
        """The best `count` of them."""
        return replace(
            self,
            candidates=self.candidates[:count],
            score=self.score[:count],
            failure=self.failure[:count],
        )

    def with_more(
        self, candidates: NDArray, score: NDArray, failure: NDArray, most: int
    ) -> Ranking:
        candidates = np.concatenate([self.candidates, candidates])
        score = np.concatenate([self.score, score])
        failure = np.concatenate([self.failure, failure])
        order = np.argsort(-score, kind="stable")
        own = self.own or (float(score[0]), float(failure[0]))  # it is the first of all
        return Ranking(candidates[order], score[order], failure[order], own).first(most)


@dataclass(frozen=True)
class Seeds:
    """Where a search begins."""

    own: NDArray[np.float64]  # (actions, 7) the policy's chunk, drawn out to the horizon
    samples: NDArray[np.float64]  # (m, actions, 7) drawn from the policy
    elites: NDArray[np.float64]  # (e, actions, 7) of the last decision, moved up to now


class Solver(Protocol):
    rounds: int

    def solve(self, search: Search, seeds: Seeds, rng: np.random.Generator) -> Ranking:
        """The best found in time; empty when there was no time for any."""


class BestOfN:
    """The best of the policy's chunk and its samples, as in Cosmos Policy (arXiv 2601.16163)."""

    rounds = 1

    def __init__(self, settings: PlannerSettings) -> None:
        self._settings = settings

    def solve(self, search: Search, seeds: Seeds, rng: np.random.Generator) -> Ranking:
        """`rng` is not used: the samples are drawn already."""
        candidates = np.concatenate([seeds.own[None], seeds.samples])
        candidates = candidates[: search.affordable(1, len(candidates))]
        ranking = Ranking(np.zeros((0, *seeds.own.shape)))
        if len(candidates) < min(self._settings.min_candidates, 1 + len(seeds.samples)):
            return ranking
        try:
            found = search.score(candidates, self._settings.search_steps)
        except OutOfTime:
            return ranking
        return ranking.with_more(candidates, found.score, found.failure, len(candidates))


class ICEM:
    """The improved cross-entropy method (Pinneri et al., arXiv 2008.06389, algorithm 1).

    Colored noise, elites kept from round to round and moved from decision to decision, fewer
    candidates every round, momentum, the mean among the last candidates, and the best one found
    goes out. The first mean is the policy's chunk, and its samples are among the first candidates.
    """

    def __init__(self, settings: PlannerSettings) -> None:
        self._settings = settings
        self.rounds = settings.iterations

    def solve(self, search: Search, seeds: Seeds, rng: np.random.Generator) -> Ranking:
        settings, rounds = self._settings, search.effort.rounds
        mean = seeds.own
        deviation = np.broadcast_to(settings.noise, mean.shape)
        ranking = Ranking(np.zeros((0, *mean.shape)))
        for index in range(rounds):
            wanted = max(2 * settings.elites, int(settings.candidates / settings.decay**index))
            count = search.affordable(rounds - index, wanted)
            if count < settings.min_candidates:
                break
            given = [mean[None]]  # in the first round the policy's own chunk
            if index == 0:
                given += [seeds.elites, seeds.samples]
            candidates = np.concatenate(given)[:count]
            drawn = colored_noise(rng, count - len(candidates), len(mean)) * deviation + mean
            candidates = np.concatenate([candidates, search.within(drawn)])
            try:
                found = search.score(candidates, settings.search_steps)
            except OutOfTime:
                break
            # What is kept was scored before and is not imagined again.
            kept = ranking.first(max(1, int(settings.kept_elites * settings.elites)))
            ranking = kept.with_more(candidates, found.score, found.failure, settings.elites)
            keep = settings.momentum
            mean = (1 - keep) * ranking.candidates.mean(axis=0) + keep * mean
            deviation = (1 - keep) * ranking.candidates.std(axis=0) + keep * deviation
        return ranking


def drawn_out(chunk: NDArray[np.float64], actions: int) -> NDArray[np.float64]:
    """(..., k, 7) to (..., actions, 7): cut off, or the last displacement halved time and again.

    The arm comes to rest beyond what the policy said; the gripper stays as it was told.
    """
    known = chunk.shape[-2]
    if known >= actions:
        return chunk[..., :actions, :]
    more = actions - known
    tail = np.repeat(chunk[..., -1:, :], more, axis=-2)
    tail[..., :6] *= (0.5 ** np.arange(1, more + 1))[:, None]
    return np.concatenate([chunk, tail], axis=-2)
