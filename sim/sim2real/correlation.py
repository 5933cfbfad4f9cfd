"""Do success rates in simulation predict those on the robot? Pearson's r, Spearman's rho, MMRV.

MMRV is the mean maximum rank violation of SIMPLER (arXiv 2405.05941, section on metrics): with N
policies, `mean_i max_j |real_i - real_j| * [(sim_i < sim_j) != (real_i < real_j)]`. A pair that
simulation ranks wrongly weighs as much as the *real* rates differ, so real and simulated rates must
not be exchanged. Here they come with their names; nothing is found by position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray

MIN_POLICIES = 3
CONFIDENCE = 0.95
DRAWS = 10_000
MAX_UNDEFINED_SHARE = 0.05  # of the draws; with more no interval is given
BLOCK_DRAWS = 500  # at once, which bounds the memory


class RatesError(ValueError):
    """Rates that cannot be compared; the message names the field, the value and the choices."""


@dataclass(frozen=True)
class PolicyRates:
    """One policy's success rates in both worlds."""

    policy: str
    simulation: float  # [0, 1]
    real: float  # [0, 1]
    simulation_episodes: int | None = None  # how many episodes gave the rate; None: unknown
    real_episodes: int | None = None

    def __post_init__(self) -> None:
        for name in ("simulation", "real"):
            rate, episodes = getattr(self, name), getattr(self, f"{name}_episodes")
            where = f"{name} of policy {self.policy!r}"
            if not np.isfinite(rate):
                raise RatesError(f"{where}: expected a success rate from 0 to 1, got {rate}")
            if not 0.0 <= rate <= 1.0:
                hint = "; it looks like a percentage: divide by 100" if 1.0 < rate <= 100.0 else ""
                raise RatesError(
                    f"{where}: expected a success rate from 0 to 1, got {rate:g}{hint}"
                )
            if episodes is None:
                continue
            if episodes < 1:
                raise RatesError(f"{name}_episodes of policy {self.policy!r}: expected 1 or more, "
                                 f"got {episodes}")  # fmt: skip
            successes = rate * episodes
            if abs(successes - round(successes)) > 0.005 * episodes + 1e-9:  # rates have 2 digits
                raise RatesError(
                    f"{where}: {rate:g} of {episodes} episodes is no whole number of successes"
                )


@dataclass(frozen=True)
class Bootstrap:
    """How the intervals are drawn."""

    draws: int = DRAWS
    seed: int = 0
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        if self.draws < 100:
            raise RatesError(f"draws: expected 100 or more, got {self.draws}")
        if not 0.5 <= self.confidence < 1.0:
            raise RatesError(f"confidence: expected 0.5 to below 1, got {self.confidence}")
        if self.seed < 0:
            raise RatesError(f"seed: expected 0 or more, got {self.seed}")


def mean_maximum_rank_violation(*, simulation: NDArray, real: NDArray) -> float:
    """MMRV as arXiv 2405.05941 defines it, in [0, 1]; 0: simulation ranks as the robot does.

    By keyword only. SIMPLER's own function takes (simulation, real) by position and its README
    passes (real, simulation), which weighs the violations by the simulated differences. Its code
    also has `>` where the paper has `<`; the two differ only where rates are equal.
    """
    return float(rank_violations(simulation=simulation, real=real).max(axis=-1).mean())


def rank_violations(*, simulation: NDArray, real: NDArray) -> NDArray[np.float64]:
    """(..., n, n): how much policies i and j really differ if simulation ranks them wrongly."""
    simulation, real = np.asarray(simulation, float), np.asarray(real, float)
    if simulation.shape != real.shape:
        raise RatesError(f"rates: expected as many simulated as real, got {simulation.shape} and "
                         f"{real.shape}")  # fmt: skip
    wrong = (simulation[..., :, None] < simulation[..., None, :]) != (
        real[..., :, None] < real[..., None, :]
    )
    return np.abs(real[..., :, None] - real[..., None, :]) * wrong


def compare(
    rates: Sequence[PolicyRates],
    bootstrap: Bootstrap = Bootstrap(),
    names: tuple[str, str] = ("simulation", "real"),
) -> dict[str, Any]:
    """What `vla-ros sim2real compare --json` writes. What is undefined is null, with a reason.

    Reasons call the two worlds by these `names`.

    Two kinds of interval answer two questions. `pearson_r_interval`, `spearman_rho_interval` and
    `mmrv_interval`: were these same policies run again for as many episodes, in both worlds?
    (Bootstrap over the episodes of both worlds jointly; it needs their numbers.)
    `pearson_r_interval_over_policies`: were other policies drawn? (Fisher's z, SE 1 / sqrt(n - 3).)
    """
    _check(rates)
    simulation = np.array([row.simulation for row in rates])  # (n,)
    real = np.array([row.real for row in rates])  # (n,)
    violations = rank_violations(simulation=simulation, real=real)  # (n, n)
    worst = violations.argmax(axis=1)
    reasons: dict[str, str] = {}
    constant = [
        f"{name} rates are all {values[0]:g}"
        for name, values in zip(names, (simulation, real), strict=True)
        if np.ptp(values) == 0
    ]
    r: float | None = None
    rho: float | None = None
    if constant:
        reasons["pearson_r"] = reasons["spearman_rho"] = (
            f"a correlation is undefined: {' and '.join(constant)}"
        )
    else:
        r = float(scipy.stats.pearsonr(simulation, real).statistic)
        rho = float(scipy.stats.spearmanr(simulation, real).statistic)
    return {
        "policies": len(rates),
        "pearson_r": r,
        "spearman_rho": rho,
        "mmrv": float(violations.max(axis=1).mean()),
        **_episode_intervals(rates, r is not None, bootstrap, reasons),
        "pearson_r_interval_over_policies": _fisher(r, len(rates), bootstrap.confidence, reasons),
        "mean_difference": float((simulation - real).mean()),  # above 0: simulation flatters
        "confidence": bootstrap.confidence,
        "draws": bootstrap.draws,
        "seed": bootstrap.seed,
        "reasons": reasons,
        "rows": [
            {
                **vars(row),
                "worst_violation": float(violations[i, worst[i]]),
                "violated_with": rates[worst[i]].policy if violations[i, worst[i]] > 0 else None,
            }
            for i, row in enumerate(rates)
        ],
    }


def _check(rates: Sequence[PolicyRates]) -> None:
    names = [row.policy for row in rates]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RatesError(f"policy: expected every name once, got {', '.join(twice)} more than once")
    if len(rates) < MIN_POLICIES:
        raise RatesError(
            f"policies: expected {MIN_POLICIES} or more, got {len(rates)}; "
            "a line goes through any two points"
        )


def _episode_intervals(
    rates: Sequence[PolicyRates], defined: bool, bootstrap: Bootstrap, reasons: dict[str, str]
) -> dict[str, list[float] | None]:
    """Percentile intervals over draws of binomial counts for every policy in both worlds."""
    names = ("pearson_r", "spearman_rho", "mmrv")
    intervals: dict[str, list[float] | None] = {f"{name}_interval": None for name in names}
    unknown = [row.policy for row in rates if None in (row.simulation_episodes, row.real_episodes)]
    if unknown:
        reason = f"the number of episodes is unknown for {', '.join(unknown)}"
        reasons |= {f"{name}_interval": reason for name in names}
        return intervals
    draws = dict(zip(names, _draw(rates, bootstrap), strict=True))
    tail = 50 * (1 - bootstrap.confidence)
    for name, values in draws.items():
        if name != "mmrv" and not defined:
            reasons[f"{name}_interval"] = reasons[name]
            continue
        undefined = float(np.mean(~np.isfinite(values)))
        if undefined > MAX_UNDEFINED_SHARE:
            reasons[f"{name}_interval"] = (
                f"{undefined:.0%} of the draws have constant rates: too few episodes or policies"
            )
            continue
        low, high = np.percentile(values[np.isfinite(values)], [tail, 100 - tail])
        intervals[f"{name}_interval"] = [float(low), float(high)]
    return intervals


def _draw(
    rates: Sequence[PolicyRates], bootstrap: Bootstrap
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """r, rho and MMRV (draws,) of each draw; not finite where a correlation is undefined."""
    rng = np.random.default_rng(bootstrap.seed)
    worlds = []
    for world in ("simulation", "real"):
        counts = np.array([getattr(row, f"{world}_episodes") for row in rates])
        share = np.array([getattr(row, world) for row in rates])
        # Episodes drawn with replacement from k successes among n are binomial.
        worlds.append(rng.binomial(counts, share, (bootstrap.draws, len(rates))) / counts)
    simulation, real = worlds  # (draws, n)
    r = _correlations(simulation, real)
    rho = _correlations(
        scipy.stats.rankdata(simulation, axis=1), scipy.stats.rankdata(real, axis=1)
    )
    mmrv = np.concatenate(
        [
            rank_violations(
                simulation=simulation[start : start + BLOCK_DRAWS],
                real=real[start : start + BLOCK_DRAWS],
            ).max(axis=-1).mean(axis=-1)
            for start in range(0, bootstrap.draws, BLOCK_DRAWS)
        ]
    )  # fmt: skip
    return r, rho, mmrv


def _correlations(first: NDArray, second: NDArray) -> NDArray[np.float64]:
    """Pearson's r (draws,) of each row of (draws, n) pairs; nan where one is constant."""
    first = first - first.mean(axis=1, keepdims=True)
    second = second - second.mean(axis=1, keepdims=True)
    scale = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = np.where(scale > 1e-12, (first * second).sum(axis=1) / scale, np.nan)
    return np.clip(r, -1.0, 1.0)  # rounding goes beyond by a last digit


def _fisher(
    r: float | None, count: int, confidence: float, reasons: dict[str, str]
) -> list[float] | None:
    name = "pearson_r_interval_over_policies"
    if r is None:
        reasons[name] = reasons["pearson_r"]
    elif count < 4:
        reasons[name] = f"Fisher's interval needs 4 policies or more, got {count}"
    elif abs(r) > 1 - 1e-12:
        reasons[name] = "Fisher's interval is undefined at |r| = 1"
    else:
        z = scipy.stats.norm.ppf(0.5 + confidence / 2) / np.sqrt(count - 3)
        return [float(np.tanh(np.arctanh(r) - z)), float(np.tanh(np.arctanh(r) + z))]
    return None
