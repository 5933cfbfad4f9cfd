"""What every measurement of episodes reports, whatever the world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from sim.evaluation.intervals import clustered_rate, wilson_interval


class Measured(Protocol):
    """One episode."""

    @property
    def success(self) -> bool: ...

    @property
    def steps(self) -> int: ...

    @property
    def latencies_ms(self) -> Sequence[float]: ...  # of every call of the policy


def rates(results: Sequence[Measured]) -> dict[str, Any]:
    """Success with its 95 % Wilson interval, length of the successes, latencies [ms]."""
    successes = [result for result in results if result.success]
    low, high = wilson_interval(len(successes), len(results))
    latencies_ms = [value for result in results for value in result.latencies_ms]
    return {
        "episodes": len(results),
        "success_rate": len(successes) / len(results),
        "wilson_low": low,
        "wilson_high": high,
        "mean_steps_of_successes": (
            sum(result.steps for result in successes) / len(successes) if successes else None
        ),
        "policy_latency_ms": {
            "p50": float(np.percentile(latencies_ms, 50)),
            "p99": float(np.percentile(latencies_ms, 99)),
        },
    }


def rate_by_scenes(successes: Sequence[int], episodes: Sequence[int]) -> dict[str, Any]:
    """A rate over conditions that share their scenes, of each scene's numbers.

    Its interval takes the place of `wilson_low` and `wilson_high`, for which every episode would
    have to be a scene.
    """
    low, high, effective = clustered_rate(successes, episodes)
    return {
        "success_rate": sum(successes) / sum(episodes),
        "scenes": len(episodes),
        "effective_episodes": effective,
        "scene_wilson_low": low,
        "scene_wilson_high": high,
    }
