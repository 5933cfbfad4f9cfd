"""Measures a policy in one of other people's worlds: look, carry out the chunk, look again.

The world stands still while the policy computes, as these environments do.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from policies.chunks import absolute_poses
from policies.interface import ActionChunk, InstructionError, Observation, Policy
from sim.evaluation.rates import rates
from sim.evaluation.work import use_one_thread
from sim.parallel import ordered_map
from sim.policies import ZeroPolicy
from sim.worlds.config import WorldConfig
from sim.worlds.world import World

SUCCESS, REFUSED, ENDED, TIME_OVER = OUTCOMES = (
    "success",
    "policy refused the instruction",
    "the environment ended it",
    "time was over",
)
RANDOM_MOVE_M = 0.02  # per action and axis
RANDOM_TURN_RAD = 0.1
RANDOM_STEPS = 8  # actions of a chunk


class RandomPolicy:
    """Draws every action anew: up to 2 cm and 0.1 rad on each axis, any opening. A lower bound."""

    name = "random"
    cameras: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.reset(seed=0)

    def reset(self, seed: int | None = None) -> None:
        self._rng = np.random.default_rng([0 if seed is None else seed, 0x7A11])

    def predict_chunk(self, observation: Observation) -> ActionChunk:
        high = np.array([RANDOM_MOVE_M] * 3 + [RANDOM_TURN_RAD] * 3)
        moves = self._rng.uniform(-high, high, (RANDOM_STEPS, 6))
        openings = self._rng.uniform(0.0, 1.0, (RANDOM_STEPS, 1))
        return ActionChunk(np.hstack([moves, openings]), observation.stamp_ns, 0.1)  # (8, 7)


SCRIPTED: dict[str, type] = {ZeroPolicy.name: ZeroPolicy, RandomPolicy.name: RandomPolicy}


@dataclass(frozen=True)
class WorldEvaluation:
    """One policy in one world."""

    policy: str  # one of `SCRIPTED`, or what `policies.factory.load_policy` takes
    world: WorldConfig
    episodes: int
    seed: int
    device: str = "cpu"
    dtype: str = "float32"
    quantization: str | None = None
    unnorm_key: str | None = None
    execute_steps: int | None = None  # of every chunk, then look again; None: the whole chunk
    workers: int = 1

    def __post_init__(self) -> None:
        for name, low in (("episodes", 1), ("seed", 0), ("workers", 1)):
            if getattr(self, name) < low:
                raise ValueError(f"{name}: expected {low} or more, got {getattr(self, name)}")
        if self.policy in SCRIPTED:
            return
        from policies.factory import check_policy

        try:
            check_policy(self.policy, self.unnorm_key, self.quantization, self.dtype)
        except ValueError as error:
            raise ValueError(f"{error}; in a world also: {', '.join(SCRIPTED)}") from error


@dataclass(frozen=True)
class WorldResult:
    """How one episode went."""

    seed: int
    instruction: str
    outcome: str  # one of `OUTCOMES`
    steps: int  # of the environment
    latencies_ms: tuple[float, ...]  # of every call of the policy

    @property
    def success(self) -> bool:
        return self.outcome == SUCCESS


def run_episode(
    world: World, policy: Policy, seed: int, execute_steps: int | None = None
) -> WorldResult:
    """Let `policy` act in the episode of `seed`. One that refuses the instruction has failed."""
    observation = world.reset(seed)
    policy.reset(seed=seed)
    latencies_ms: list[float] = []
    refused = False
    while not world.done:
        begin = time.perf_counter()
        try:
            chunk = policy.predict_chunk(observation)
        except InstructionError:
            refused = True
        latencies_ms.append(1e3 * (time.perf_counter() - begin))
        if refused:
            break
        positions, rotations, openings = absolute_poses(chunk, observation)
        for index in range(len(openings))[:execute_steps]:
            world.reach(positions[index], rotations[index], openings[index], chunk.dt_s)
        if not world.done:
            observation = world.observe()
    if refused:
        outcome = REFUSED
    elif world.success:
        outcome = SUCCESS
    else:
        outcome = TIME_OVER if world.steps >= world.config.max_steps else ENDED
    return WorldResult(seed, observation.instruction, outcome, world.steps, tuple(latencies_ms))


def evaluate(evaluation: WorldEvaluation) -> Iterator[WorldResult]:
    """The episodes of seeds `seed` + 0, 1, ..., in order, as they come."""
    jobs = [(evaluation, evaluation.seed + index) for index in range(evaluation.episodes)]
    return ordered_map(_run, jobs, evaluation.workers, use_one_thread)


def summarize(evaluation: WorldEvaluation, results: Sequence[WorldResult]) -> dict[str, Any]:
    """The JSON of `vla-ros evaluate --world`; what is said of tabletop tasks alone is None."""
    counts = Counter(result.outcome for result in results)
    return {
        "env": evaluation.world.env,
        "kwargs": dict(evaluation.world.kwargs),
        "policy": evaluation.policy,
        "seed": evaluation.seed,
        "execute_steps": evaluation.execute_steps,
        "dtype": evaluation.dtype,
        "quantization": evaluation.quantization,
        "unnorm_key": evaluation.unnorm_key,
        "dropped_actions": list(evaluation.world.action.dropped),
        **rates(results),
        "first_touch_rate": None,
        "outcomes": {name: counts[name] for name in OUTCOMES},
        "rows": [
            {
                "seed": result.seed,
                "instruction": result.instruction,
                "success": result.success,
                "steps": result.steps,
                "outcome": result.outcome,
            }
            for result in results
        ],
    }


def _run(job: tuple[WorldEvaluation, int]) -> WorldResult:
    evaluation, seed = job
    world, policy = _prepared(_Key(evaluation))
    return run_episode(world, policy, seed, evaluation.execute_steps)


class _Key:
    """An evaluation has dictionaries in it, which have no hash: one world a process is kept."""

    def __init__(self, evaluation: WorldEvaluation) -> None:
        self.evaluation = evaluation

    def __hash__(self) -> int:
        return hash((self.evaluation.policy, self.evaluation.world.env))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.evaluation == other.evaluation


@lru_cache(maxsize=1)
def _prepared(key: _Key) -> tuple[World, Policy]:
    evaluation = key.evaluation
    if evaluation.policy in SCRIPTED:
        policy = SCRIPTED[evaluation.policy]()
    else:
        from policies.factory import load_policy

        policy = load_policy(
            evaluation.policy,
            device=evaluation.device,
            unnorm_key=evaluation.unnorm_key,
            dtype=evaluation.dtype,
            quantization=evaluation.quantization,
        )
    return World(evaluation.world, policy.cameras), policy
