"""Adds episodes up: rates with intervals, how failures ended, latencies, a row for each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from sim.evaluation.episode import EpisodeResult
from sim.evaluation.rates import rate_by_scenes, rates
from sim.evaluation.settings import Evaluation

# In the order of how far the robot got. Each follows from recorded facts alone.
SUCCESS = "success"
UNTOUCHED = "touched nothing"
WRONG_ITEM = "touched another item first"
UNFINISHED = "touched it, did not finish"
LOST = "lifted it, then lost it"
HOLDING = "holding it when time was over"
OUTCOMES = (SUCCESS, HOLDING, LOST, UNFINISHED, WRONG_ITEM, UNTOUCHED)


def outcome(result: EpisodeResult) -> str:
    """How an episode ended, one of `OUTCOMES`: by what was lifted, then by the first touch."""
    if result.success:
        return SUCCESS
    if result.lifted:
        return HOLDING if result.held_at_end else LOST
    if result.first_touched is None:
        return UNTOUCHED
    return UNFINISHED if result.first_touch_fits else WRONG_ITEM


def summarize(results: Sequence[EpisodeResult]) -> dict[str, Any]:
    """Rates, their 95 % Wilson interval, latencies [ms] and a row for every episode."""
    touches = [result.first_touch_fits for result in results]
    counts = Counter(outcome(result) for result in results)
    return {
        **rates(results),
        "first_touch_rate": sum(touches) / len(results),
        "idle_share": float(np.mean([result.idle_share for result in results])),
        "jerk_rad_s3": float(np.mean([result.jerk_rad_s3 for result in results])),
        **_planning(results),
        "outcomes": {name: counts[name] for name in OUTCOMES},
        "rows": [
            {
                "seed": result.seed,
                "instruction": result.instruction,
                "target": result.target,
                "success": result.success,
                "steps": result.steps,
                "first_touched": result.first_touched,
                "outcome": outcome(result),
            }
            for result in results
        ],
    }


def _planning(results: Sequence[EpisodeResult]) -> dict[str, Any]:
    """Times [ms] and counts of a planner's decisions; nothing where there was none."""
    times_ms = [value for result in results for value in result.planning_ms]
    if not times_ms:
        return {}
    counts: Counter[str] = Counter()
    for result in results:
        counts.update(result.planning_counts)
    return {
        "decisions": len(times_ms),
        "planning_ms": {
            "p50": float(np.percentile(times_ms, 50)),
            "p99": float(np.percentile(times_ms, 99)),
        },
        "decisions_per_s": 1e3 / float(np.mean(times_ms)),
        **counts,
    }


def summarize_evaluation(
    evaluation: Evaluation, results: Sequence[EpisodeResult]
) -> dict[str, Any]:
    """The JSON of one evaluation: of one environment, or of several with `by_env`."""
    settings = evaluation.described()
    by_env = [
        {
            "env": env_id,
            **settings,
            **summarize([result for result in results if result.env_id == env_id]),
        }
        for env_id in evaluation.env_ids
    ]
    if len(by_env) == 1:
        return by_env[0]
    # Every environment has the same number of episodes: the rate over all is the average.
    average = {"env": list(evaluation.env_ids), **settings, **summarize(results)}
    del average["rows"]
    return {**average, "by_env": by_env}


def summarize_conditions(
    evaluations: Sequence[Evaluation], results: Sequence[Sequence[EpisodeResult]]
) -> dict[str, Any]:
    """The JSON of several evaluations that differ in variant or timing, with `by_condition`.

    Settings in which they differ are lists at the top, in the order of `by_condition`. The rate
    there is over conditions that share their scenes, and so is its interval (`rate_by_scenes`).
    """
    parts = [
        summarize_evaluation(evaluation, part)
        for evaluation, part in zip(evaluations, results, strict=True)
    ]
    if len(parts) == 1:
        return parts[0]
    settings = [evaluation.described() for evaluation in evaluations]
    common = {
        name: value if all(other[name] == value for other in settings)
        else [other[name] for other in settings]
        for name, value in settings[0].items()
    }  # fmt: skip
    pooled = _pooled([result for part in results for result in part])
    return {"env": parts[0]["env"], **common, **pooled, "by_condition": parts}


def _pooled(results: Sequence[EpisodeResult]) -> dict[str, Any]:
    """Over conditions, each of which has every scene (environment and seed)."""
    of_scene: defaultdict[tuple[str, int], list[bool]] = defaultdict(list)
    for result in results:
        of_scene[result.env_id, result.seed].append(result.success)
    successes = [sum(each) for each in of_scene.values()]
    episodes = [len(each) for each in of_scene.values()]
    figures = {**summarize(results), **rate_by_scenes(successes, episodes)}
    dropped = ("rows", "wilson_low", "wilson_high")
    return {name: value for name, value in figures.items() if name not in dropped}


def condition_label(evaluation: Evaluation) -> str:
    """World and timing of an evaluation in a few words."""
    timing = evaluation.timing
    words = [evaluation.variant]
    if timing.realtime:
        words.append("real time")
    if timing.delay_ms or timing.realtime:
        words.append(f"{timing.delay_ms:g} ms {timing.late_chunks}")
    return ", ".join(words)


def groups(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of a result that have rows: one for each environment of each condition."""
    return [
        part
        for condition in summary.get("by_condition", [summary])
        for part in condition.get("by_env", [condition])
    ]
