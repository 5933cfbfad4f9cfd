"""One picture of what `vla-ros world-model evaluate` measured, as PNG bytes.

Horizons beside their baselines, how far predicted success can be believed, and what each way to
decode costs and gives. Panels for which there are no figures are left out.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

DPI = 130
PANEL_IN = (4.4, 3.3)
COLUMNS = 3
# As in Okabe and Ito's palette: told apart by readers who do not see all colors.
MODEL, REPEATED, SHUFFLED, OTHER = "#0072b2", "#d55e00", "#009e73", "#7f7f7f"

Panel = Callable[[Axes], None]


def draw_evaluation(result: dict[str, Any]) -> bytes:
    """`result` is `evaluate_world_model`'s, with `decodings` where they were compared."""
    panels = [*_horizons(result), *_reliability(result), *_decodings(result)]
    rows = -(-len(panels) // COLUMNS)
    columns = min(COLUMNS, len(panels))
    figure = Figure((PANEL_IN[0] * columns, PANEL_IN[1] * rows), dpi=DPI, layout="constrained")
    for index, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, index + 1)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#ddd", linewidth=0.6)
        axes.set_axisbelow(True)
        panel(axes)
        axes.legend(frameon=False, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def pareto_front(costs: Sequence[float], gains: Sequence[float]) -> list[int]:
    """Indices, by rising cost, of what nothing beats that costs as little and gives as much."""
    order = sorted(range(len(costs)), key=lambda index: (costs[index], -gains[index]))
    front: list[int] = []
    for index in order:
        if not front or gains[index] > gains[front[-1]]:
            front.append(index)
    return front


def _horizons(result: dict[str, Any]) -> list[Panel]:
    rows = result["horizons"]
    baselines = (
        ("", "imagined", MODEL),
        ("_first_frame_repeated", "first frame repeated", REPEATED),
        ("_shuffled_actions", "others' actions", SHUFFLED),
    )

    def panel(name: str, label: str, factor: float, constants: dict[str, float | None]) -> Panel:
        def paint(axes: Axes) -> None:
            for suffix, text, color in baselines:
                points = [
                    (row["frames_ahead"], factor * row[name + suffix])
                    for row in rows
                    if row.get(name + suffix) is not None
                ]
                if points:
                    axes.plot(*zip(*points, strict=True), marker=".", color=color, label=text)
            for (text, value), style in zip(constants.items(), (":", "-."), strict=False):
                if value is not None:
                    axes.axhline(factor * value, color=OTHER, linestyle=style, label=text)
            axes.set_xlabel("frames ahead")
            axes.set_ylabel(label)

        return paint

    probe = result.get("probe") or {}
    item = {
        "probe on real frames": probe.get("mean_error_m"),
        "a constant": probe.get("mean_error_m_constant"),
    }
    wanted: list[tuple[str, str, float, dict[str, float | None]]] = [
        ("psnr_db", "PSNR [dB]", 1.0, {}),
        ("ssim", "SSIM", 1.0, {}),
        ("tower_distance", "tower distance (not LPIPS)", 1.0, {}),
        ("item_error_m", "item error [cm]", 100.0, item),
        ("tool_error_m", "tool error [cm]", 100.0, {}),
    ]
    return [panel(*each) for each in wanted if any(row.get(each[0]) is not None for row in rows)]


def _reliability(result: dict[str, Any]) -> list[Panel]:
    bins = result["success"].get("reliability") or []
    if not bins:
        return []

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=OTHER, linestyle=":", label="perfect")
        predicted, came_true = ([each[name] for each in bins] for name in ("predicted", "true"))
        ece = result["success"]["ece"]
        axes.plot(predicted, came_true, marker="o", color=MODEL, label=f"ECE {ece:.3f}")
        for each in bins:
            axes.annotate(
                str(each["count"]), (each["predicted"], each["true"]), fontsize=7,
                xytext=(3, 4), textcoords="offset points",
            )  # fmt: skip
        axes.set_xlabel("predicted probability of success")
        axes.set_ylabel("came true (with number of steps)")

    return [paint]


def _decodings(result: dict[str, Any]) -> list[Panel]:
    rows = [row for row in result.get("decodings") or [] if row.get("psnr_db") is not None]
    if not rows:
        return []
    sizes = [
        int(name.split("_")[1])
        for name in rows[0]
        if name.startswith("batch_") and name.endswith("_p50_ms")
    ]

    def panel(size: int) -> Panel:
        def paint(axes: Axes) -> None:
            costs = [row[f"batch_{size}_p50_ms"] for row in rows]
            slow = [row[f"batch_{size}_p95_ms"] for row in rows]
            gains = [row["psnr_db"] for row in rows]
            front = pareto_front(costs, gains)
            axes.plot(
                [costs[index] for index in front], [gains[index] for index in front],
                color=OTHER, linestyle="--", linewidth=1, label="nothing is better",
            )  # fmt: skip
            for mode, color, marker in (
                ("parallel", MODEL, "o"),
                ("autoregressive", REPEATED, "s"),
            ):
                chosen = [index for index, row in enumerate(rows) if row["mode"] == mode]
                if not chosen:
                    continue
                x, y = np.array(costs)[chosen], np.array(gains)[chosen]
                late = np.maximum(np.array(slow)[chosen] - x, 0.0)
                axes.errorbar(
                    x, y, xerr=np.stack([np.zeros(len(x)), late]), linestyle="none", marker=marker,
                    color=color, capsize=2, label=f"{mode}, p50 to p95",
                )  # fmt: skip
            for row, cost, gain in zip(rows, costs, gains, strict=True):
                axes.annotate(
                    str(row["steps"]), (cost, gain), fontsize=8,
                    xytext=(4, 4), textcoords="offset points",
                )  # fmt: skip
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel(f"one frame, batch {size}, {rows[0]['tokens']} tokens [ms]")
            axes.set_ylabel("PSNR of a roll-out [dB]")

        return paint

    return [panel(size) for size in sizes]
