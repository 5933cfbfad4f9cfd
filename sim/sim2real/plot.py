"""A scatter plot of success rates in two worlds, one of which is to predict the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from sim.evaluation import wilson_interval
from sim.sim2real.correlation import PolicyRates

MARKERS = "os^vDPX*"


def plot_rates(
    path: Path,
    rates: Sequence[PolicyRates],
    result: dict[str, Any],
    places: tuple[str, str] = ("in simulation", "on the robot"),
) -> None:
    """Draw one point for each policy, with Wilson intervals where the episodes are known.

    `places`: what the axes call the world that predicts, and the one that is predicted.
    """
    from matplotlib.figure import Figure  # no global state, no display

    figure = Figure(figsize=(8.0, 5.0), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.8", zorder=0)
    for row, marker in zip(rates, cycle(MARKERS), strict=False):
        axes.errorbar(
            row.simulation,
            row.real,
            xerr=_spread(row.simulation, row.simulation_episodes),
            yerr=_spread(row.real, row.real_episodes),
            fmt=marker,
            capsize=2,
            label=row.policy,
        )
    figures = [
        f"{name} {result[key]:.2f}"
        for name, key in (("r", "pearson_r"), ("rho", "spearman_rho"), ("MMRV", "mmrv"))
        if result[key] is not None
    ]
    axes.set_title(", ".join(figures))
    axes.set_xlabel(f"success rate {places[0]}")
    axes.set_ylabel(f"success rate {places[1]}")
    axes.set_xlim(-0.05, 1.05)
    axes.set_ylim(-0.05, 1.05)
    axes.set_aspect("equal")
    figure.legend(loc="outside right upper", frameon=False)  # names in the plot would overlap
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, format="png")


def _spread(rate: float, episodes: int | None) -> list[list[float]] | None:
    """How far Wilson's interval reaches below and above: [[low], [high]]."""
    if episodes is None:
        return None
    low, high = wilson_interval(round(rate * episodes), episodes)
    return [[max(0.0, rate - low)], [max(0.0, high - rate)]]
