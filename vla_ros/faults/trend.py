"""Whether a figure stays flat over time: a change with its interval, and a verdict. No ROS.

A slope: neighboring samples resemble each other, so the line goes through the medians of blocks of
time, not through the samples: ordinary least squares with Student's interval. Where the machine has
slow and fast minutes a slope cannot tell them from the program's age: then an aged program is
compared with fresh ones, in pairs, one right after the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

BLOCKS = 20
CONFIDENCE = 0.95
WARM_UP_SHARE = 0.2  # of the time, at its beginning: caches fill
FLAT, GROWS, FALLS, UNCLEAR = "flat", "grows", "falls", "unclear"


@dataclass(frozen=True)
class Trend:
    """What an hour, or all of the age, adds to a figure, in the figure's unit."""

    change: float
    low: float  # the interval's ends
    high: float
    median: float
    largest: float
    tolerance: float  # less is flat
    samples: int

    @property
    def verdict(self) -> str:
        """Flat: the whole interval lies within the tolerance. Unclear: it could be, or not."""
        if -self.tolerance <= self.low and self.high <= self.tolerance:
            return FLAT
        if self.low > 0 and self.change > self.tolerance:
            return GROWS
        if self.high < 0 and self.change < -self.tolerance:
            return FALLS
        return UNCLEAR


def compare_pairs(aged: Sequence[float], fresh: Sequence[float], tolerance: float) -> Trend:
    """What age adds: the mean of `aged` less `fresh`, pair by pair, with Student's interval.

    Raises `ValueError` for fewer than three pairs.
    """
    _, of_aged = _checked(fresh, aged)
    differences = of_aged - np.asarray(fresh, float)
    if len(differences) < 3:
        raise ValueError(f"expected 3 pairs or more, got {len(differences)}")
    mean = float(differences.mean())
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(differences) - 1)) * error
    return Trend(
        mean,
        mean - reach,
        mean + reach,
        float(np.median(of_aged)),
        float(of_aged.max()),
        tolerance,
        len(differences),
    )


def fit(times_s: Sequence[float], values: Sequence[float], tolerance: float) -> Trend:
    """The slope of `values` per hour after warming up; `ValueError` when there are too few."""
    times, figures = _checked(times_s, values)
    warm = times >= times[0] + WARM_UP_SHARE * (times[-1] - times[0]) if len(times) else []
    times, figures = times[warm], figures[warm]
    if len(times) < 2 * BLOCKS:
        raise ValueError(f"expected {2 * BLOCKS} samples after warming up, got {len(times)}")
    edges = np.linspace(times[0], times[-1], BLOCKS + 1)[1:-1]
    hours, medians = _medians(times / 3600, figures, edges / 3600)
    columns = np.stack([np.ones(len(hours)), hours], axis=1)
    line, errors = _least_squares(columns, medians - medians[0])
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(hours) - 2)) * errors[1]
    return Trend(
        float(line[1]),
        float(line[1] - reach),
        float(line[1] + reach),
        float(np.median(figures)),
        float(figures.max()),
        tolerance,
        len(figures),
    )


def _checked(
    times_s: Sequence[float], values: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    times, figures = np.asarray(times_s, float), np.asarray(values, float)
    if times.shape != figures.shape or not np.all(np.isfinite([times, figures])):
        raise ValueError(f"expected as many finite values as times, got {figures.shape}")
    return times, figures


def _medians(
    hours: NDArray[np.float64], figures: NDArray[np.float64], edges: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each block that holds something: its mean time and its median."""
    blocks = np.digitize(hours, edges)
    kept = np.unique(blocks)
    return (
        np.array([np.mean(hours[blocks == block]) for block in kept]),
        np.array([np.median(figures[blocks == block]) for block in kept]),
    )


def _least_squares(
    columns: NDArray[np.float64], figures: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients and their standard errors; a column that says nothing gets 0 for both."""
    inverse = np.linalg.pinv(columns)  # (p, n)
    line = inverse @ figures
    free = max(1, len(figures) - columns.shape[1])
    variance = ((figures - columns @ line) ** 2).sum() / free
    return line, np.sqrt(variance * (inverse**2).sum(axis=1))
