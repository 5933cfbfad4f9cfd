"""Adds a ranking up: what `vla-ros world-model evaluate-policies --json` writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from sim.evaluation import wilson_interval
from sim.sim2real.correlation import MIN_POLICIES, Bootstrap, PolicyRates, compare
from vla_ros.ranking.settings import Ranking
from vla_ros.ranking.truth import Truth
from vla_ros.ranking.work import Episode
from world_models.metrics import area_under_roc, calibration_error
from world_models.novelty import Usual

FIGURES = ("pearson_r", "spearman_rho", "mmrv")
INTERVALS = (
    *(f"{name}_interval" for name in FIGURES),
    "pearson_r_interval_over_policies",
)
WORLDS = ("imagined", "MuJoCo's")


class Judged:
    """An episode with its end in MuJoCo, and whether the model abstains from it."""

    def __init__(self, episode: Episode, truth: Truth, usual: Usual | None) -> None:
        self.episode = episode
        key = (episode.policy, episode.env_id, episode.seed)
        self.simulated = truth.get(key, episode.simulated_success)
        self.novelty = None if usual is None else usual.score(episode.signals)
        self.abstained = usual is not None and usual.unusual(episode.signals)

    def row(self) -> dict[str, Any]:
        return {
            **asdict(self.episode),
            "simulated_success": self.simulated,
            "novelty": self.novelty,
            "abstained": self.abstained,
        }


def summarize(
    ranking: Ranking, episodes: Sequence[Episode], truth: Truth, usual: Usual | None
) -> dict[str, Any]:
    """All figures as plain values. What is undefined is null, with a reason."""
    everything = [Judged(episode, truth, usual) for episode in episodes]
    judged = [each for each in everything if each.episode.variant == ranking.variant]
    by_policy = {
        contestant.label: [each for each in judged if each.episode.policy == contestant.label]
        for contestant in ranking.contestants
    }
    policies = [_policy(label, rows) for label, rows in by_policy.items()]
    answered = [each for each in judged if not each.abstained]
    return {
        **ranking.described(),
        **_agreement(policies, "success_rate", (*FIGURES, *INTERVALS)),
        "by_probability": _agreement(policies, "mean_probability", FIGURES),
        "calibration": _calibration(answered),
        "abstained": sum(each.abstained for each in judged),
        "abstention": _abstention(ranking, everything, usual),
        "policies": policies,
        "rows": [each.row() for each in everything],
    }


def policy_rates(policies: Sequence[dict[str, Any]], imagined: str) -> list[PolicyRates]:
    """Of the policies for which the model answered; imagination stands in the simulation's place
    and MuJoCo in the robot's.
    """
    counted = imagined == "success_rate"
    return [
        PolicyRates(
            row["policy"],
            simulation=row["imagined"][imagined],
            real=row["mujoco"]["success_rate"],
            simulation_episodes=row["imagined"]["episodes"] if counted else None,
            real_episodes=row["mujoco"]["episodes"],
        )
        for row in policies
        if row["imagined"] is not None
    ]


def _policy(label: str, judged: Sequence[Judged]) -> dict[str, Any]:
    answered = [each for each in judged if not each.abstained]
    return {
        "policy": label,
        "imagined": _imagined(answered),  # null: it abstains from every episode
        "imagined_all": _imagined(judged),  # had it not abstained
        "mujoco": _rate([bool(each.simulated) for each in judged]),
        "mujoco_answered": _rate([bool(each.simulated) for each in answered]),
        "abstained": len(judged) - len(answered),
    }


def _imagined(judged: Sequence[Judged]) -> dict[str, Any] | None:
    rate = _rate([each.episode.imagined_success for each in judged])
    if rate is None:
        return None
    mean = float(np.mean([each.episode.probability for each in judged]))
    return {**rate, "mean_probability": mean}


def _rate(successes: Sequence[bool]) -> dict[str, Any] | None:
    if not successes:
        return None
    low, high = wilson_interval(sum(successes), len(successes))
    return {
        "episodes": len(successes),
        "success_rate": sum(successes) / len(successes),
        "wilson_low": low,
        "wilson_high": high,
    }


def _agreement(
    policies: Sequence[dict[str, Any]], imagined: str, figures: Sequence[str]
) -> dict[str, Any]:
    """These figures of how well imagined rates predict MuJoCo's, over the policies."""
    rates = policy_rates(policies, imagined)
    if len(rates) < MIN_POLICIES:
        reason = (
            f"the model answers for {len(rates)} policies and abstains from all episodes of the "
            f"others; {MIN_POLICIES} are needed"
        )
        return {
            **dict.fromkeys((*figures, "mean_difference")),
            "reasons": dict.fromkeys(figures, reason),
        }
    found = compare(rates, Bootstrap(), WORLDS)
    reasons = {name: why for name, why in found["reasons"].items() if name in figures}
    kept = {name: found[name] for name in (*figures, "mean_difference")}
    return {**kept, "reasons": reasons}


def _calibration(judged: Sequence[Judged]) -> dict[str, Any]:
    """The imagined probability of success against the end of the same episode in MuJoCo."""
    said = np.array([each.episode.probability for each in judged])
    came = np.array([bool(each.simulated) for each in judged], dtype=float)
    agree = [each.episode.imagined_success == each.simulated for each in judged]
    return {
        "episodes": len(judged),
        "ece": _number(calibration_error(said, came)),
        "auroc": _number(area_under_roc(said, came)),
        "brier": float(((said - came) ** 2).mean()) if len(judged) else None,
        "brier_constant": float(came.var()) if len(judged) else None,
        "agreement": float(np.mean(agree)) if len(judged) else None,  # of yes and no
    }


def _abstention(
    ranking: Ranking, judged: Sequence[Judged], usual: Usual | None
) -> dict[str, Any] | None:
    """From how much it abstains in every world, by the first policy; null: from nothing."""
    if usual is None:
        return None
    first = ranking.contestants[0].label
    by_variant = {}
    for variant in (ranking.variant, *ranking.other_variants):
        rows = [
            each
            for each in judged
            if (each.episode.policy, each.episode.variant) == (first, variant)
        ]
        signals = {
            name: float(np.mean([(each.episode.signals[name] - mean) / std for each in rows]))
            for name, (mean, std) in usual.signals.items()
        }
        by_variant[variant] = {
            "episodes": len(rows),
            "abstained": sum(each.abstained for each in rows),
            "mean_deviations": signals,  # above the usual mean, in its standard deviations
        }
    return {"policy": first, **usual.to_dict(), "by_variant": by_variant}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
