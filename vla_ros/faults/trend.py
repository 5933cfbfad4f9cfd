"""Whether a figure stays flat over time: a fitted slope with its interval, and a verdict. No ROS.

Neighboring samples resemble each other, so the line goes through the medians of blocks of time, not
through the samples: ordinary least squares with Student's interval, as `scipy.stats.linregress` has
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
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


def fit(times_s: Sequence[float], values: Sequence[float], tolerance: float) -> Trend:
    """The trend of `values` after warming up; raises `ValueError` when there are too few."""
    times, figures = np.asarray(times_s, float), np.asarray(values, float)
    if times.shape != figures.shape or not np.all(np.isfinite(figures)):
        raise ValueError(f"expected as many finite values as times, got {figures.shape}")
    warm = times >= times[0] + WARM_UP_SHARE * (times[-1] - times[0]) if len(times) else []
    times, figures = times[warm], figures[warm]
    if len(times) < 2 * BLOCKS:
        raise ValueError(f"expected {2 * BLOCKS} samples after warming up, got {len(times)}")
    edges = np.linspace(times[0], times[-1], BLOCKS + 1)[1:-1]
    blocks = np.digitize(times, edges)
    kept = np.unique(blocks)
    hours = np.array([np.mean(times[blocks == block]) for block in kept]) / 3600
    medians = np.array([np.median(figures[blocks == block]) for block in kept])
    line = stats.linregress(hours, medians)
    # What never changes has no correlation, and so no error in scipy's eyes: it is 0.
    error = float(line.stderr) if np.ptp(medians) > 0 else 0.0
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(kept) - 2)) * error
    slope = float(line.slope)
    return Trend(
        slope,
        slope - reach,
        slope + reach,
        float(np.median(figures)),
        float(figures.max()),
        tolerance,
        len(figures),
    )
