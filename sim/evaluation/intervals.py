"""Intervals and tests for success rates, of one policy and of two on the same episodes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

CONFIDENCE = 0.95
RESAMPLES = 10_000


def wilson_interval(
    successes: float, trials: float, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The Wilson score interval of a success rate (E. B. Wilson 1927, JASA 22:209-212).

    Trials are independent; effective numbers need not be whole.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"expected 0 <= successes <= trials, got {successes} of {trials}")
    z = statistics.NormalDist().inv_cdf(0.5 + confidence / 2)
    rate = successes / trials
    centre = rate + z**2 / (2 * trials)
    spread = z * math.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    # Rounding must not leave the rate outside: at 0 and 1 the interval ends there.
    return min(rate, max(0.0, (centre - spread) / scale)), max(
        rate, min(1.0, (centre + spread) / scale)
    )


@dataclass(frozen=True)
class Paired:
    """How many episodes two policies, A and B, did on the same seeds."""

    both: int
    only_a: int
    only_b: int
    neither: int

    def __post_init__(self) -> None:
        counts = (self.both, self.only_a, self.only_b, self.neither)
        if min(counts) < 0 or sum(counts) == 0:
            raise ValueError(f"expected counts of 0 or more, not all 0, got {counts}")

    @property
    def episodes(self) -> int:
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def difference(self) -> float:
        """B's success rate less A's."""
        return (self.only_b - self.only_a) / self.episodes


def mcnemar_exact(paired: Paired) -> float:
    """The two-sided p of "A and B succeed equally often", from the episodes only one of them did.

    Q. McNemar 1947, Psychometrika 12:153-157, in its exact form: if neither is better, either is as
    likely to be the one that did it.
    """
    discordant = paired.only_a + paired.only_b
    return float(binomtest(paired.only_b, discordant).pvalue) if discordant else 1.0


def paired_difference_interval(
    paired: Paired, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The interval of B's success rate less A's.

    Method 10 of R. G. Newcombe 1998, Statistics in Medicine 17:2635-2650: both rates' Wilson
    intervals, combined with their correlation, which is corrected for continuity.
    """
    n = paired.episodes
    a, b = paired.both + paired.only_a, paired.both + paired.only_b  # successes of each
    a_low, a_high = wilson_interval(a, n, confidence)
    b_low, b_high = wilson_interval(b, n, confidence)
    a_rate, b_rate = a / n, b / n
    phi = _corrected_phi(paired)
    below_b, above_a = b_rate - b_low, a_high - a_rate
    above_b, below_a = b_high - b_rate, a_rate - a_low
    down = below_b**2 - 2 * phi * below_b * above_a + above_a**2
    up = above_b**2 - 2 * phi * above_b * below_a + below_a**2
    return (
        max(-1.0, paired.difference - math.sqrt(max(0.0, down))),
        min(1.0, paired.difference + math.sqrt(max(0.0, up))),
    )


def _corrected_phi(paired: Paired) -> float:
    """Newcombe's phi: the correlation of the two outcomes, corrected for continuity if positive."""
    margins = (
        (paired.both + paired.only_a)
        * (paired.only_b + paired.neither)
        * (paired.both + paired.only_b)
        * (paired.only_a + paired.neither)
    )
    if margins == 0:
        return 0.0
    product: float = paired.both * paired.neither - paired.only_a * paired.only_b
    if product > 0:
        product = max(product - paired.episodes / 2, 0.0)
    return product / math.sqrt(margins)


def clustered_rate(
    successes: Sequence[int], episodes: Sequence[int], confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """The interval of a success rate where episodes share their scenes, and of how many it is.

    `successes` and `episodes` are of each scene. Returned are the ends of Wilson's interval and the
    effective number of episodes that it counts: as many independent ones would vary as much as
    these do from scene to scene (C. Franco, R. J. A. Little, T. A. Louis, E. V. Slud 2019, Journal
    of Survey Statistics and Methodology 7:334-364). It is one a scene at least, and exactly that at
    rates of 0 and 1, where nothing varies and a bootstrap over scenes would have no width.
    """
    success, size = np.asarray(successes, float), np.asarray(episodes, float)
    if success.shape != size.shape or size.ndim != 1 or not len(size) or size.min() < 1:
        raise ValueError("expected for each scene one episode or more")
    if np.any((success < 0) | (success > size)):
        raise ValueError("expected for each scene at most as many successes as episodes")
    scenes, trials, total = len(size), float(size.sum()), float(success.sum())
    rate = total / trials
    residuals = success - rate * size
    variance = scenes / max(scenes - 1, 1) * float(residuals @ residuals) / trials**2
    if 0.0 < rate < 1.0:
        effective = rate * (1 - rate) / variance if variance > 0 else trials
        effective = min(max(effective, scenes), trials)
    else:
        effective = float(scenes)
    return *wilson_interval(rate * effective, effective, confidence), effective


def clustered_difference(
    gains: Sequence[int],
    episodes: Sequence[int],
    generator: np.random.Generator,
    confidence: float = CONFIDENCE,
) -> tuple[float, float, float]:
    """The interval of B's success rate less A's, and its p, where episodes share their scenes.

    One scene in several variants is one draw: `gains` are the episodes that only B did less those
    that only A did, of each scene, `episodes` how many it has. The interval is of the bootstrap
    over scenes (percentiles; Davison and Hinkley 1997, 3.8), p of the sign-flip test over them: if
    neither policy is better, each scene's gain could as well be the other's.
    """
    gain, size = np.asarray(gains, float), np.asarray(episodes, float)
    if gain.shape != size.shape or gain.ndim != 1 or not len(gain) or np.any(np.abs(gain) > size):
        raise ValueError("expected for each scene a gain of at most its episodes")
    scenes = len(gain)
    weights = generator.multinomial(scenes, np.full(scenes, 1 / scenes), RESAMPLES)
    rates = (weights @ gain) / (weights @ size)
    low, high = np.quantile(rates, [0.5 - confidence / 2, 0.5 + confidence / 2])
    flips = generator.choice([-1.0, 1.0], (RESAMPLES, scenes))
    beyond = np.abs(flips @ gain) >= np.abs(gain.sum()) - 1e-9
    return float(low), float(high), float((1 + beyond.sum()) / (1 + RESAMPLES))
