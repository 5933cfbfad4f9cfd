"""`vla-ros demo`: the whole graph over ROS 2, episode after episode, with a video of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from policies.factory import DEFAULT_POLICY, check_name, policy_folder
from sim.scenes import find_task
from sim.tasks import CORE_TASKS, TASKS
from sim.variants import STANDARD
from vla_ros.cli._output import check_folder
from vla_ros.episodes import EpisodeRecord, summarize
from vla_ros.errors import UserError
from vla_ros.graph import describe
from vla_ros.processes import Processes, private_environment

NEEDED_MB = 100  # free in the output folder: the video takes 1 MB an episode
IMAGE_RATE_HZ = 10.0
EXIT_GRAPH_FAILED = 1
EXIT_TERMINATED = 143  # the shell's convention: 128 + SIGTERM


def command(
    episodes: Annotated[int, typer.Option(min=1, max=1000, help="How many episodes.")] = 9,
    policy: Annotated[str, typer.Option(help="A policy that ships here, or a folder.")] = (
        DEFAULT_POLICY
    ),
    task: Annotated[
        str,
        typer.Option(
            help=f"One of {', '.join(TASKS)}, a .yaml file of a scene, or all: the three that the "
            "shipped policies know, in turn."
        ),
    ] = "all",
    variant: Annotated[
        str, typer.Option(help="A changed world, as of `vla-ros evaluate --variant`.")
    ] = STANDARD,
    seed: Annotated[int, typer.Option(min=0, help="Of the first episode; then one up.")] = 1000,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:<index>.")] = "cpu",
    config: Annotated[str, typer.Option(help="YAML file that overrides nodes' parameters.")] = "",
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("outputs/demo"),
    verbose: Annotated[bool, typer.Option(help="Show what the nodes print.")] = False,
) -> None:
    """Run the whole graph over ROS 2 and watch the arm follow instructions.

    Writes demo.mp4, trajectories.png, summary.json and nodes.log.
    """
    tasks = choose_tasks(task)
    check_name(policy)  # a wrong name is said before anything starts
    plan = [(tasks[index % len(tasks)], seed + index) for index in range(episodes)]
    graph = describe(
        {
            "policy": policy,
            "device": device,
            "task": plan[0][0],
            "variant": variant,
            "announce": "false",
            "config": config,
        }
    )
    prepare(output)
    environment = private_environment()
    os.environ.update({**graph.environment, **environment})  # before rclpy reads it, here too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TERMINATED))
    console = Console()
    console.print(f"Starting {', '.join(node.name for node in graph.nodes)}", style="dim")
    log = (output / "nodes.log").open("w", buffering=1)

    def on_line(name: str, line: str) -> None:
        try:
            log.write(f"[{name}] {line}\n")
        except (OSError, ValueError):  # a full disk, or closed: not worth stopping the robot
            return
        if verbose:
            console.print(f"[{name}] {line}", style="dim", markup=False, highlight=False)

    with log, Processes(graph, on_line, environment, respawn=True) as processes:
        status = run(plan, policy, output, processes, console)
    if status:
        raise typer.Exit(status)


def choose_tasks(task: str) -> Sequence[str]:
    if task == "all":
        return tuple(CORE_TASKS)
    try:
        find_task(task)
    except ValueError as error:
        raise UserError(f"{error} (or all)") from error
    return (task,)


def prepare(output: Path) -> None:
    """Make the folder and see that it can be written to, before anything starts."""
    check_folder(output)
    free_mb = shutil.disk_usage(output).free / 1e6
    if free_mb < NEEDED_MB:
        raise UserError(
            f"output: expected {NEEDED_MB} MB free for {output}, got {free_mb:.0f} MB; "
            "free some space or choose another folder with --output"
        )


def run(
    plan: Sequence[tuple[str, int]],
    policy: str,
    output: Path,
    processes: Processes,
    console: Console,
) -> int:
    """Run the episodes on the started graph and write the results; returns the exit status."""
    import rclpy

    from vla_ros.operator_node import GraphError, OperatorNode
    from vla_ros.pictures import Video, plot

    rclpy.init(signal_handler_options=rclpy.SignalHandlerOptions.NO)  # Ctrl-C is ours
    operator = OperatorNode()
    operator.check = lambda: _check(processes)
    video = Video(output / "demo.mp4", IMAGE_RATE_HZ)
    records: list[EpisodeRecord] = []
    interrupted = False
    started_s = time.monotonic()
    try:
        operator.wait_until_ready()
        waited_s = time.monotonic() - started_s
        console.print(f"Ready after {waited_s:.0f} s: {policy}{decoding(policy)}", style="dim")
        with _progress(console) as progress:
            bar = progress.add_task("", total=len(plan))
            for index, (task, seed) in enumerate(plan, start=1):

                def show(record: EpisodeRecord) -> None:
                    progress.update(
                        bar, description=f"{record.instruction}  {record.duration_s:4.1f} s"
                    )

                record = operator.run_episode(task, seed, show)
                records.append(record)
                _print_episode(progress.console, record)
                video.add_episode(record, index, len(plan))
                record.frames.clear()
                progress.advance(bar)
    except GraphError as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return EXIT_GRAPH_FAILED
    except KeyboardInterrupt:
        interrupted = True
        console.print(f"\nafter {len(records)} of {len(plan)} episodes:", highlight=False)
        if not records:
            raise
    finally:
        operator.destroy_node()
        rclpy.try_shutdown()
        video.close()
    plot(records, output / "trajectories.png")
    summary = summarize(records, policy)
    _write(output / "summary.json", json.dumps(summary, indent=2) + "\n")
    video.check()
    status = _report(summary, output, console)
    if interrupted:  # what was done has been written
        raise KeyboardInterrupt
    return status


def _check(processes: Processes) -> None:
    from vla_ros.operator_node import GraphError

    for name, status in processes.ended().items():
        last = [line for line in processes.last_lines[name] if line.strip()][-1:]
        raise GraphError(f"{name} ended with status {status}: {' '.join(last) or 'no output'}")


def _progress(console: Console) -> Progress:
    return Progress(
        BarColumn(24),
        TextColumn("{task.completed} of {task.total}"),
        TimeElapsedColumn(),
        TextColumn("{task.description}", style="bold"),
        console=console,
        transient=True,
    )


def _print_episode(console: Console, record: EpisodeRecord) -> None:
    mark = "[green]✓[/green]" if record.success else "[red]✗[/red]"
    console.print(
        f"{mark} {record.task:<10} {record.duration_s:5.1f} s  {record.steps:3d} steps  "
        f"{record.instruction}",
        highlight=False,
        soft_wrap=True,
    )


def _report(summary: dict, output: Path, console: Console) -> int:
    latency = summary["loop_latency_ms"]
    successes = sum(episode["success"] for episode in summary["episodes"])
    if not summary["commands"]:
        console.print(
            f"error: the nodes ran, but no command reached the robot; see {output / 'nodes.log'}",
            style="red",
            highlight=False,
            soft_wrap=True,
        )
        return EXIT_GRAPH_FAILED
    console.print(
        f"\n[bold]{successes} of {len(summary['episodes'])} episodes succeeded[/bold]; "
        f"camera to command {latency['p50']} ms (p50), {latency['p99']} ms (p99) "
        f"at {summary['rate_hz']} Hz",
        highlight=False,
    )
    for name in ("demo.mp4", "trajectories.png", "summary.json", "nodes.log"):
        console.print(f"  {output / name}", highlight=False)
    return 0


def _write(path: Path, text: str) -> None:
    """All of it or nothing."""
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


def decoding(policy: str) -> str:
    """Which head a policy decodes with, in words; nothing for other kinds of policies."""
    from policies.openvla.config import CheckpointError, read_config

    try:
        chunk = read_config(policy_folder(policy)).chunk
    except CheckpointError:
        return ""
    return f", {chunk.length} actions at once" if chunk else ", token by token"
