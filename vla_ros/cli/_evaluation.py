"""What `evaluate` shows: a bar while it runs, a table at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from sim.evaluation import EpisodeResult
from sim.evaluation.episode import PLANNING
from sim.worlds.evaluation import WorldResult

CONDITION_COLUMNS = {"variant": "variant", "delay_ms": "delay", "late_chunks": "late"}


class EpisodeBar:
    """A progress bar on stderr with the success rate so far."""

    def __init__(self, total: int) -> None:
        self._bar = Progress(
            TextColumn("evaluating"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[success]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("", total=total, success="")
        self._done = self._succeeded = 0

    def __enter__(self) -> EpisodeBar:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def add(self, result: EpisodeResult | WorldResult) -> None:
        """One more episode is over."""
        self._done += 1
        self._succeeded += result.success
        success = f"success {self._succeeded / self._done:.0%}"
        self._bar.update(self._task, advance=1, success=success)


def result_table(policy: str, summary: dict[str, Any]) -> Table:
    """A row for each environment of each condition, with averages over several."""
    conditions = summary.get("by_condition", [summary])
    columns = {
        key: heading
        for key, heading in CONDITION_COLUMNS.items()
        if len({condition.get(key) for condition in conditions}) > 1
    }
    table = Table(title=f"policy {policy}", box=None, padding=(0, 1))  # fits 80 columns
    table.add_column("environment", no_wrap=True)
    for heading in columns.values():
        table.add_column(heading, overflow="fold")
    for heading in ("n", "success", "95 %", "1st touch", "p50/p99 ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    for condition in conditions:
        rows = [(row["env"], row) for row in condition.get("by_env", [condition])]
        if "by_env" in condition:
            rows.append(("average", condition))
        for name, row in rows:
            table.add_row(name, *(_text(row[key]) for key in columns), *_figures(row))
    return table


def planning_line(summary: dict[str, Any]) -> str:
    """What a planner did, in a line."""
    if "decisions" not in summary:
        return "planner: no decision was made"
    time_ms, count = summary["planning_ms"], summary["decisions"]
    parts = ", ".join(
        f"{name.replace('_', ' ')} {summary[name]} ({summary[name] / count:.1%})"
        for name in PLANNING.values()
    )
    return (
        f"planner: {count} decisions, p50 {time_ms['p50']:.0f} ms, p99 {time_ms['p99']:.0f} ms; "
        f"{parts}"
    )


def short_variant(variant: str) -> str:
    """`identified:/long/way/arm.json` -> `identified: arm.json`: numbers need the room."""
    kind, colon, file = variant.partition(":")
    return f"{kind}: {Path(file).name}" if colon else variant


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else short_variant(str(value))


def _figures(row: dict[str, Any]) -> tuple[str, ...]:
    latency_ms = row["policy_latency_ms"]
    return (
        str(row["episodes"]),
        f"{row['success_rate']:.1%}",
        f"{100 * row['wilson_low']:.0f}-{row['wilson_high']:.0%}",
        "-" if row["first_touch_rate"] is None else f"{row['first_touch_rate']:.1%}",
        f"{latency_ms['p50']:.1f}/{latency_ms['p99']:.1f}",
    )
