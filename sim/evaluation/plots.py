"""Plots of an evaluation as PNG bytes: how long episodes took, how long the policy thought, delays.

Drawn with matplotlib's own objects, without its global state.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sim.env import CONTROL_RATE_HZ
from sim.evaluation.episode import EpisodeResult

DPI = 150
SIZE_IN = (6.4, 3.4)
GOOD, BAD, NEUTRAL = "#1f8a5b", "#c9513a", "#3d6fb4"
# As in OKABE and ITO's palette: told apart by readers who do not see all colours.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def steps(results: Sequence[EpisodeResult]) -> bytes:
    """How long episodes took, successes above failures."""
    figure, axes = _figure()
    longest = max(result.steps for result in results)
    edges = np.linspace(0, longest / CONTROL_RATE_HZ, 31)
    taken_s = [
        [result.steps / CONTROL_RATE_HZ for result in results if result.success is success]
        for success in (True, False)
    ]
    axes.hist(taken_s, bins=edges, stacked=True, color=[GOOD, BAD], label=["success", "failure"])
    axes.set_xlabel("simulated time until the end of the episode [s]")
    axes.set_ylabel("episodes")
    axes.legend(frameon=False)
    return _png(figure)


def latencies(results: Sequence[EpisodeResult]) -> bytes:
    """How long the policy's calls took, on a logarithmic axis."""
    figure, axes = _figure()
    values_ms = np.array([ms for result in results for ms in result.latencies_ms])
    low, high = values_ms.min() * 0.95, values_ms.max() * 1.05
    axes.hist(values_ms, bins=np.geomspace(low, high, 41), color=NEUTRAL)
    axes.set_xscale("log")
    for percent, style in ((50, "-"), (99, "--")):
        value = float(np.percentile(values_ms, percent))
        axes.axvline(
            value, color="#222", linestyle=style, linewidth=1, label=f"p{percent}: {value:.3g} ms"
        )
    axes.set_xlabel("one call of the policy [ms]")
    axes.set_ylabel("calls")
    axes.legend(frameon=False)
    return _png(figure)


def delays(summary: dict[str, Any]) -> bytes | None:
    """Success against delay with 95 % intervals, a line for each way of executing late chunks.

    None where fewer than two delays were measured.
    """
    parts = summary.get("by_condition", [summary])
    if len({part["delay_ms"] for part in parts}) < 2:
        return None
    figure, axes = _figure()
    variants = list(dict.fromkeys(part["variant"] for part in parts))
    ways = list(dict.fromkeys(part["late_chunks"] for part in parts if part["delay_ms"] > 0))
    for index, (variant, way) in enumerate((v, w) for v in variants for w in ways):
        # At no delay nothing is late: the point is common to all ways.
        line = sorted(
            (
                part
                for part in parts
                if part["variant"] == variant
                and (part["late_chunks"] == way or part["delay_ms"] == 0)
            ),
            key=lambda part: part["delay_ms"],
        )
        rates = np.array([100 * part["success_rate"] for part in line])
        bars = np.array(
            [
                [100 * (part["success_rate"] - part["wilson_low"]) for part in line],
                [100 * (part["wilson_high"] - part["success_rate"]) for part in line],
            ]
        )
        label = way if len(variants) == 1 else f"{variant}, {way}"
        shift_ms = 4.0 * index  # so that the intervals of two lines can both be seen
        axes.errorbar(
            [part["delay_ms"] + shift_ms for part in line],
            rates,
            np.maximum(bars, 0.0),
            marker="o",
            capsize=3,
            color=SERIES[index % len(SERIES)],
            label=label,
        )
    axes.set_ylim(-3, 103)
    axes.set_xlabel("delay from observation to action [ms]")
    axes.set_ylabel("success [%]")
    axes.legend(frameon=False, title="late chunks")
    return _png(figure)


def _figure() -> tuple[Figure, Any]:
    figure = Figure(SIZE_IN, dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#ddd", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
