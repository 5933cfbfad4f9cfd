"""Does the graph stay the same for long? Memory of every process and camera-to-command latency.

    python benchmarks/soak.py --minutes 30 --rate-hz 30 --json FILE

The graph of the fault campaign without faults (docs/faults.md): the arm moves all the time, every
command is looked at. Memory: a line is fitted to each process's after the first fifth of the time;
"flat" means that its whole 95 % interval is within what may be gained in an hour. Latency: a shared
machine has slow minutes, and no line tells them from the graph's age. So in the end the aged graph
is compared with fresh ones (`--pairs`), one right after the other, while the other one is frozen or
not there; flat means that the whole interval of the difference is within the tolerance. Ends with
status 1 unless all are flat, the rate was kept and no command passed a limit.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from vla_ros.cli._output import check_writable, write_result
from vla_ros.errors import UserError
from vla_ros.faults.campaign import GraphError, get_moving, running_graph
from vla_ros.faults.rig import Rig
from vla_ros.faults.trend import FLAT, Trend, compare_pairs, fit
from vla_ros.processes import Processes

SAMPLE_S = 0.5
FLAT_MB_PER_HOUR = 20.0  # of each process
FLAT_MS = 5.0  # that its age may add to the latency's median
FLAT_MS_PER_HOUR = 10.0  # of the same as a line, which is shown beside it
LEAST_RATE = 0.9  # of the rate that was asked for
WINDOW_S = 20.0  # half a pair
WINDOW_TIMEOUT_S = 200.0
LEAST_PAIRS = 3  # to say anything at all
FRESH_STARTS = 2  # of one fresh graph; each that fails is told of in the end
ENVIRONMENT = dict(os.environ)  # before a graph adds to it: a fresh one makes its own choices
SETTLE_S = 4.0  # before it, after a start or a freeze
START_S = 120.0  # that a graph may take until the arm moves
LATENCY = "latency: aged - fresh [ms]"


@dataclass
class Record:
    """Everything that was measured."""

    times_s: list[float] = field(default_factory=list)
    memory_mb: dict[str, list[float]] = field(default_factory=dict)  # process -> at each time
    latency_times_s: list[float] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    commands: int = 0
    violations: list[str] = field(default_factory=list)
    aged_ms: list[float] = field(default_factory=list)  # median latency of each pair's halves
    fresh_ms: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)  # what ended the comparison early


def resident_mb(pid: int) -> float:
    """Memory of a process (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


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


# --- an aged graph beside fresh ones --------------------------------------------------------------


def latency_of(rig: Rig, processes: Processes) -> tuple[float, list[str]]:
    """The median [ms] over a window, after a while; and commands beyond a limit."""
    rig.spin(SETTLE_S)
    before = rig.take_watch()
    rig.spin(WINDOW_S)
    seen = rig.take_watch()
    if not seen.latencies_ms:
        raise GraphError(f"the arm did not move: {processes.last_lines}")
    return float(np.median(seen.latencies_ms)), [str(e) for e in (*before.beyond, *seen.beyond)]


def measure_fresh(rate_hz: float, failures: list[str]) -> tuple[float, list[str]]:
    """Of a graph that has just been started. A start that fails is noted, and tried once more."""
    for _ in range(FRESH_STARTS - 1):
        try:
            return start_fresh(rate_hz)
        except GraphError as error:
            failures.append(str(error))
    return start_fresh(rate_hz)


def start_fresh(rate_hz: float) -> tuple[float, list[str]]:
    """The median latency [ms] of a graph in a process of its own, and commands beyond a limit."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "window.json"
        words = ("--rate-hz", str(rate_hz), "--window", str(file))
        try:
            done = subprocess.run(
                [sys.executable, __file__, *words],
                capture_output=True,
                text=True,
                check=False,
                env=ENVIRONMENT,
                timeout=WINDOW_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise GraphError(f"a fresh graph hung for {WINDOW_TIMEOUT_S:.0f} s") from None
        if done.returncode:
            raise GraphError(f"a fresh graph failed: {done.stderr}")
        found = json.loads(file.read_text())
    return found["latency_ms"], found["violations"]


@contextmanager
def frozen(processes: Processes) -> Iterator[None]:
    """Every process of a graph stands still."""
    pids = list(processes.pids.values())
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def compare_with_fresh(
    rig: Rig, processes: Processes, record: Record, pairs: int, rate_hz: float, console: Console
) -> None:
    """Fresh, aged, aged, fresh, ...: what the machine does meanwhile falls on both alike."""
    for pair in range(pairs):
        for fresh in (True, False) if pair % 2 == 0 else (False, True):
            if fresh:
                with frozen(processes):
                    latency_ms, beyond = measure_fresh(rate_hz, record.failures)
                record.fresh_ms.append(latency_ms)
            else:
                get_moving(rig, processes, START_S)
                latency_ms, beyond = latency_of(rig, processes)
                record.aged_ms.append(latency_ms)
            record.violations += beyond
        console.print(
            f"pair {pair + 1}: aged {record.aged_ms[-1]:.1f}, fresh {record.fresh_ms[-1]:.1f} ms",
            style="dim",
        )


# --- what came of it ------------------------------------------------------------------------------


def summarize(record: Record, minutes: float, rate_hz: float, restarts: int) -> dict[str, Any]:
    """Figures, trends and whether all is as it should be."""
    trends: dict[str, Trend] = {
        f"memory of {name} [MB/h]": fit(record.times_s, values, FLAT_MB_PER_HOUR)
        for name, values in record.memory_mb.items()
    }
    whole = min(len(record.aged_ms), len(record.fresh_ms))
    if whole >= LEAST_PAIRS:
        trends[LATENCY] = compare_pairs(record.aged_ms[:whole], record.fresh_ms[:whole], FLAT_MS)
    as_it_came = fit(record.latency_times_s, record.latencies_ms, FLAT_MS_PER_HOUR)
    achieved_hz = len(record.latencies_ms) / (minutes * 60)
    failures = [f"{name}: {each.verdict}" for name, each in trends.items() if each.verdict != FLAT]
    if achieved_hz < LEAST_RATE * rate_hz:
        failures.append(f"{achieved_hz:.1f} motions a second, {rate_hz:g} wanted")
    if record.violations:
        failures.append(f"{len(record.violations)} commands beyond a limit")
    failures += record.failures
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
        "flat": all(each.verdict == FLAT for each in trends.values()),
        "failures": failures,
        "record": asdict(record),
    }


def show(summary: dict[str, Any], console: Console) -> None:
    table = Table(box=None, header_style="bold")
    for name in ("", "median", "largest", "change", "95 % interval", "allowed", "verdict"):
        table.add_column(name, justify="left" if name in ("", "verdict") else "right")
    for name, each in summary["trends"].items():
        table.add_row(
            name,
            f"{each['median']:.1f}",
            f"{each['largest']:.1f}",
            f"{each['change']:+.1f}",
            f"{each['low']:+.1f} to {each['high']:+.1f}",
            f"{each['tolerance']:g}",
            each["verdict"],
            style=None if each["verdict"] == FLAT else "red",
        )
    console.print(table)
    as_it_came = summary["latency_as_it_came"]
    console.print(
        f"the latency as it came, the machine's slow minutes included: {as_it_came['change']:+.1f} "
        f"ms an hour ({as_it_came['low']:+.1f} to {as_it_came['high']:+.1f})"
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
    pairs: Annotated[
        int, typer.Option(min=LEAST_PAIRS, help="Aged and fresh graphs in the end.")
    ] = 12,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write it.")] = None,
    window: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the graph."""
    console = Console(highlight=False, soft_wrap=True)
    if window is not None:  # half a pair: what `measure_fresh` asks for
        try:
            with running_graph(rate_hz) as (rig, processes):
                latency_ms, beyond = latency_of(rig, processes)
        except GraphError as error:
            sys.exit(str(error))
        window.write_text(json.dumps({"latency_ms": latency_ms, "violations": beyond}))
        return
    try:
        check_writable(json_file)
    except UserError as error:
        console.print(f"error: {error}", style="red", markup=False)
        sys.exit(2)
    with running_graph(rate_hz) as (rig, processes):
        record = watch(rig, processes, minutes * 60, console)
        try:
            compare_with_fresh(rig, processes, record, pairs, rate_hz, console)
        except GraphError as error:  # half an hour is not to be lost
            record.failures.append(str(error))
        restarts = sum(processes.restarts.values())
    summary = summarize(record, minutes, rate_hz, restarts)
    show(summary, console)
    write_result(json_file, summary)
    if summary["failures"]:
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
