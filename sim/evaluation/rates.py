"""What every measurement of episodes reports, whatever the world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from sim.evaluation.intervals import wilson_interval


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
