"""Whether a figure stays flat over time: a fitted slope with its interval, and a verdict. No ROS.

Neighboring samples resemble each other, so the line goes through the medians of blocks of time,
not through the samples: ordinary least squares with Student's interval. Beside time the line may
depend on the machine's own speed, measured meanwhile (an analysis of covariance): a shared machine
has slow and fast minutes, and they are not the program's.
"""

from __future__ import annotations

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
    """What changes in an hour, in the figure's unit."""

    per_hour: float
    low: float  # the interval's ends
    high: float
    median: float
    largest: float
    tolerance: float  # per hour: less is flat
    samples: int
    per_machine: float | None = (
        None  # what a doubling of the machine's own time adds; None: not asked
    )

    @property
    def verdict(self) -> str:
        """Flat: the whole interval lies within the tolerance. Unclear: it could be, or not."""
        if -self.tolerance <= self.low and self.high <= self.tolerance:
            return FLAT
        if self.low > 0 and self.per_hour > self.tolerance:
            return GROWS
        if self.high < 0 and self.per_hour < -self.tolerance:
            return FALLS
        return UNCLEAR


def fit(
    times_s: Sequence[float],
    values: Sequence[float],
    tolerance: float,
    machine: tuple[Sequence[float], Sequence[float]] | None = None,
) -> Trend:
    """The trend of `values` after warming up; raises `ValueError` when there are too few.

    `machine`: times [s] and what a fixed piece of work took at each, in any unit. The slope is then
    what time adds at equal speed of the machine.
    """
    times, figures = _checked(times_s, values)
    warm = times >= times[0] + WARM_UP_SHARE * (times[-1] - times[0]) if len(times) else []
    times, figures = times[warm], figures[warm]
    if len(times) < 2 * BLOCKS:
        raise ValueError(f"expected {2 * BLOCKS} samples after warming up, got {len(times)}")
    edges = np.linspace(times[0], times[-1], BLOCKS + 1)[1:-1]
    hours, medians = _medians(times / 3600, figures, edges / 3600)
    columns = [np.ones(len(hours)), hours]
    if machine is not None:
        took_s, took = _checked(*machine)
        inside = (took_s >= times[0]) & (took_s <= times[-1])
        if not inside.any():
            raise ValueError("expected the machine's speed over the same time, got none")
        typical = np.median(took[inside])
        speed_hours, speeds = _medians(took_s[inside] / 3600, took[inside] / typical, edges / 3600)
        columns.append(np.interp(hours, speed_hours, speeds))
    line, errors = _least_squares(np.stack(columns, axis=1), medians - medians[0])
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(hours) - len(columns))) * errors[1]
    return Trend(
        float(line[1]),
        float(line[1] - reach),
        float(line[1] + reach),
        float(np.median(figures)),
        float(figures.max()),
        tolerance,
        len(figures),
        float(line[2]) if machine is not None else None,
    )


def _checked(
    times_s: Sequence[float], values: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    times, figures = np.asarray(times_s, float), np.asarray(values, float)
    if times.shape != figures.shape or not np.all(np.isfinite(figures)):
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
