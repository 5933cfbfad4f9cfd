"""Does the graph stay the same for long? Memory of every process and camera-to-command latency.

    python benchmarks/soak.py --minutes 30 --rate-hz 30 --json FILE

The graph of the fault campaign without faults (docs/faults.md): the arm moves all the time, every
command is looked at. A line is fitted to each figure after the first fifth of the time; "flat"
means that its whole 95 % interval is within what may be gained in an hour. Twice a second a fixed
piece of work is timed (processor time): a shared machine has slow minutes, and latency is compared
at equal speed of the machine; the line without that is shown too. Ends with status 1 unless all are
flat, the rate was kept and no command passed a limit.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from vla_ros.cli._output import check_writable, write_result
from vla_ros.errors import UserError
from vla_ros.faults.campaign import running_graph
from vla_ros.faults.rig import Rig
from vla_ros.faults.trend import FLAT, Trend, fit
from vla_ros.processes import Processes

SAMPLE_S = 0.5
FLAT_MB_PER_HOUR = 20.0  # of each process
FLAT_MS_PER_HOUR = 10.0  # of the latency's median
LEAST_RATE = 0.9  # of the rate that was asked for
REFERENCE_STEPS = 300
LATENCY = "camera to command [ms]"


@dataclass
class Record:
    """Everything that was measured."""

    times_s: list[float] = field(default_factory=list)
    memory_mb: dict[str, list[float]] = field(default_factory=dict)  # process -> at each time
    reference_ms: list[float] = field(default_factory=list)  # what a fixed piece of work took
    latency_times_s: list[float] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    commands: int = 0
    violations: list[str] = field(default_factory=list)


def resident_mb(pid: int) -> float:
    """Memory of a process (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def reference_ms() -> float:
    """Processor time of a fixed piece of work like the nodes': small arrays, many calls."""
    begun_ns = time.thread_time_ns()
    turned, turn = np.eye(4), np.array([[0.8, -0.6], [0.6, 0.8]])
    for _ in range(REFERENCE_STEPS):
        turned[:2, :2] = turn @ turned[:2, :2]
        np.linalg.norm(turned, axis=1)
    return (time.thread_time_ns() - begun_ns) / 1e6


def watch(rig: Rig, processes: Processes, duration_s: float, console: Console) -> Record:
    """Let it run, and note what it takes."""
    record = Record()
    pids = {**processes.pids, "this process": os.getpid()}
    rig.take_watch()
    begun_s = time.monotonic()
    next_report_s = 60.0
    while (passed_s := time.monotonic() - begun_s) < duration_s:
        rig.spin(SAMPLE_S)
        seen = rig.take_watch()
        record.times_s.append(passed_s)
        record.reference_ms.append(reference_ms())
        for name, pid in pids.items():
            record.memory_mb.setdefault(name, []).append(resident_mb(pid))
        record.latency_times_s += [passed_s] * len(seen.latencies_ms)
        record.latencies_ms += seen.latencies_ms
        record.commands += seen.commands
        record.violations += [str(each) for each in seen.beyond]
        if passed_s >= next_report_s:
            next_report_s += 60.0
            console.print(
                f"{passed_s / 60:.0f} min, {len(record.latencies_ms)} motions", style="dim"
            )
    return record


def summarize(record: Record, minutes: float, rate_hz: float, restarts: int) -> dict[str, Any]:
    """Figures, trends and whether all is as it should be."""
    trends: dict[str, Trend] = {
        f"memory of {name} [MB]": fit(record.times_s, values, FLAT_MB_PER_HOUR)
        for name, values in record.memory_mb.items()
    }
    machine = (record.times_s, record.reference_ms)
    trends[LATENCY] = fit(record.latency_times_s, record.latencies_ms, FLAT_MS_PER_HOUR, machine)
    as_it_came = fit(record.latency_times_s, record.latencies_ms, FLAT_MS_PER_HOUR)
    achieved_hz = len(record.latencies_ms) / (minutes * 60)
    failures = [f"{name}: {each.verdict}" for name, each in trends.items() if each.verdict != FLAT]
    if achieved_hz < LEAST_RATE * rate_hz:
        failures.append(f"{achieved_hz:.1f} motions a second, {rate_hz:g} wanted")
    if record.violations:
        failures.append(f"{len(record.violations)} commands beyond a limit")
    if restarts:
        failures.append(f"{restarts} processes died")
    percentiles = {f"p{p}": float(np.percentile(record.latencies_ms, p)) for p in (50, 95, 99)}
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "minutes": minutes,
        "rate_hz": rate_hz,
        "motions_per_s": achieved_hz,
        "latency_ms": percentiles,
        "commands": record.commands,
        "violations": len(record.violations),
        "trends": {name: asdict(each) | {"verdict": each.verdict} for name, each in trends.items()},
        "latency_as_it_came": asdict(as_it_came) | {"verdict": as_it_came.verdict},
        "reference_ms": {
            f"p{p}": float(np.percentile(record.reference_ms, p)) for p in (5, 50, 95)
        },
        "flat": all(each.verdict == FLAT for each in trends.values()),
        "failures": failures,
        "record": asdict(record),
    }


def show(summary: dict[str, Any], console: Console) -> None:
    table = Table(box=None, header_style="bold")
    for name in ("", "median", "largest", "an hour", "95 % interval", "allowed", "verdict"):
        table.add_column(name, justify="left" if name in ("", "verdict") else "right")
    for name, each in summary["trends"].items():
        table.add_row(
            name,
            f"{each['median']:.1f}",
            f"{each['largest']:.1f}",
            f"{each['per_hour']:+.1f}",
            f"{each['low']:+.1f} to {each['high']:+.1f}",
            f"{each['tolerance']:g}",
            each["verdict"],
            style=None if each["verdict"] == FLAT else "red",
        )
    console.print(table)
    as_it_came, reference = summary["latency_as_it_came"], summary["reference_ms"]
    console.print(
        f"the machine's own speed: {reference['p50']:.2f} ms ({reference['p5']:.2f} to "
        f"{reference['p95']:.2f}, p5 to p95) for a fixed piece of work; without regard to it the "
        f"latency changes {as_it_came['per_hour']:+.1f} ms an hour ({as_it_came['low']:+.1f} to "
        f"{as_it_came['high']:+.1f})"
    )
    latency = summary["latency_ms"]
    console.print(
        f"{summary['motions_per_s']:.1f} motions a second of {summary['rate_hz']:g}; camera to "
        f"command {latency['p50']:.0f} ms (p50), {latency['p99']:.0f} ms (p99); "
        f"{summary['violations']} of {summary['commands']} commands beyond a limit"
    )
    for failure in summary["failures"]:
        console.print(f"failed: {failure}", style="red", markup=False)


def main(
    minutes: Annotated[float, typer.Option(min=0.5, help="How long.")] = 30.0,
    rate_hz: Annotated[float, typer.Option(min=1.0, max=60.0, help="Images a second.")] = 30.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write it.")] = None,
) -> None:
    """Run the graph."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        check_writable(json_file)
    except UserError as error:
        console.print(f"error: {error}", style="red", markup=False)
        sys.exit(2)
    with running_graph(rate_hz) as (rig, processes):
        record = watch(rig, processes, minutes * 60, console)
        restarts = sum(processes.restarts.values())
    summary = summarize(record, minutes, rate_hz, restarts)
    show(summary, console)
    write_result(json_file, summary)
    if summary["failures"]:
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
