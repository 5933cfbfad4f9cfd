"""Breaks the running graph in simulation, fault after fault, and looks at every command meanwhile.

    python benchmarks/fault_campaign.py --seed 0 --faults 300 --json FILE

Real ROS 2 processes, as `vla-ros demo` starts them, with a policy that needs no computing power;
all streams pass through this process, which spoils them (`vla_ros/faults/`, docs/faults.md).
Prints a table by kind. Ends with status 1 when a command passed a limit, or the arm did not hold or
did not recover.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vla_ros.cli._output import check_writable, write_result
from vla_ros.errors import UserError
from vla_ros.faults.campaign import run_campaign
from vla_ros.faults.kinds import KINDS, schedule
from vla_ros.faults.report import Row, summarize, table


def choose(names: list[str]) -> tuple:
    """The kinds of these names; all without any. Raises `UserError`."""
    known = {kind.name: kind for kind in KINDS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(f"kind: expected some of {', '.join(known)}, got {unknown}")
    return tuple(known[name] for name in names) or KINDS


def main(
    faults: Annotated[int, typer.Option(min=1, help="How many.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Draws the order and every fault.")] = 0,
    kind: Annotated[list[str], typer.Option(help="Only this one; give several times.")] = [],  # noqa: B006
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write it.")] = None,
    log: Annotated[Path | None, typer.Option(help="Where to write what the nodes print.")] = None,
) -> None:
    """Run the campaign."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        check_writable(json_file)
        check_writable(log, "log")
        chosen = schedule(seed, faults, choose(kind))
    except UserError as error:
        console.print(f"error: {error}", style="red", markup=False)
        sys.exit(2)
    started_s = time.monotonic()
    rows: list[Row] = []

    def show(row: Row) -> None:
        rows.append(row)
        mark = "[red]✗[/red]" if row.failures else "[green]✓[/green]"
        hold = "" if row.hold_ms is None else f"hold {row.hold_ms:.0f} ms  "
        back = "" if row.recovery_s is None else f"back after {row.recovery_s:.1f} s  "
        why = "; ".join(filter(None, (*row.failures, row.worst, *row.notes)))
        console.print(f"{mark} {row.index + 1:3d} {row.kind:<34} {hold}{back}{why}")

    lines = log.open("w", buffering=1) if log else None

    def on_line(name: str, line: str) -> None:
        if lines is not None:
            lines.write(f"{time.monotonic() - started_s:8.2f} [{name}] {line}\n")

    interrupted = False
    try:
        run_campaign(chosen, seed, show, on_line)
    except KeyboardInterrupt:  # what was done is reported
        interrupted = True
    summary = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "duration_s": time.monotonic() - started_s,
        **summarize(rows, seed),
    }
    console.print(table(rows))
    console.print(
        f"{summary['faults']} faults of {summary['kinds']} kinds, {summary['commands']} commands: "
        f"{summary['violations']} beyond a limit; hold {summary['hold_ms_p99'] or 0:.0f} ms (p99), "
        f"{summary['holds_within_goal']} of {summary['holds']} within "
        f"{summary['hold_goal_ms']:.0f} ms; "
        f"{summary['not_held']} did not hold, {summary['not_recovered']} did not recover"
    )
    write_result(json_file, summary)
    if interrupted or any(row.failures for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
