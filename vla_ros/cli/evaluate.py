"""`vla-ros evaluate`: a policy's success rate in simulation, without ROS."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from policies.factory import QUANTIZATIONS
from sim import ENV_IDS
from sim.evaluation import EpisodeResult, Evaluation, evaluate
from sim.parallel import WorkerError
from sim.variants import VARIANTS
from vla_ros.cli._output import check_writable, write_result
from vla_ros.errors import UserError


def command(
    policy: Annotated[
        str, typer.Option(help="Name or folder of a checkpoint; also: expert, zero.")
    ],
    env: Annotated[
        list[str], typer.Option(help=f"One of {', '.join(ENV_IDS)}; repeat it for an average.")
    ],
    episodes: Annotated[int, typer.Option(help="For each --env.")] = Evaluation.episodes,
    seed: Annotated[int, typer.Option(help="Of the first episode.")] = Evaluation.seed,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result to this file.")
    ] = None,
    workers: Annotated[
        int,
        typer.Option(help="Processes, each with the policy.", show_default="CPU cores, 4 at most"),
    ] = min(4, os.cpu_count() or 1),
    blackout: Annotated[bool, typer.Option("--blackout", help="All images black.")] = False,
    swap_instruction: Annotated[
        bool,
        typer.Option("--swap-instruction", help="Name another item of the scene; it must be used."),
    ] = False,
    execute_steps: Annotated[
        int | None,
        typer.Option(min=1, help="Actions of a chunk before looking again.", show_default="all"),
    ] = None,
    device: Annotated[str, typer.Option(help="Of the policy: cpu or cuda.")] = Evaluation.device,
    quantize: Annotated[
        str | None, typer.Option(help=f"The policy's weights: {', '.join(QUANTIZATIONS)}.")
    ] = None,
    video: Annotated[Path | None, typer.Option(help="Folder for an mp4 of every episode.")] = None,
    variant: Annotated[
        str, typer.Option(help=f"A changed world: one of {', '.join(VARIANTS)}.")
    ] = Evaluation.variant,
) -> None:
    """Measure a policy's success rate in simulation, without ROS.

    Episode i has seed SEED + i; results do not depend on the number of workers. The interval is
    Wilson's, at 95 %. `first_touch_rate` is the share of episodes in which the first item that the
    robot touched is the one named.
    """
    evaluation = Evaluation(
        policy=policy,
        env_ids=tuple(env),
        episodes=episodes,
        seed=seed,
        blackout=blackout,
        swap_instruction=swap_instruction,
        execute_steps=execute_steps,
        device=device,
        quantization=quantize,
        workers=workers,
        video_folder=video,
        variant=variant,
    )
    check_writable(json_file)
    columns = (
        TextColumn("evaluating"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[success]}"),
        TimeRemainingColumn(),
    )
    done = succeeded = 0
    try:
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("", total=episodes * len(env), success="")

            def show(result: EpisodeResult) -> None:
                nonlocal done, succeeded
                done, succeeded = done + 1, succeeded + result.success
                bar.update(task, advance=1, success=f"success {succeeded / done:.0%}")

            summary = evaluate(evaluation, show)
    except WorkerError as error:
        raise UserError(str(error)) from error
    Console().print(_table(policy, summary))
    write_result(json_file, summary)


def _table(policy: str, summary: dict[str, Any]) -> Table:
    table = Table(title=f"policy {policy}")
    table.add_column("environment", no_wrap=True)
    for heading in ("episodes", "success", "95 %", "first touch", "p50/p99 ms"):
        table.add_column(heading, justify="right")
    rows = [(row["env"], row) for row in summary.get("by_env", [summary])]
    if "by_env" in summary:
        rows.append(("average", summary))
    for name, row in rows:
        latency_ms = row["policy_latency_ms"]
        table.add_row(
            name,
            str(row["episodes"]),
            f"{row['success_rate']:.1%}",
            f"{100 * row['wilson_low']:.0f}-{row['wilson_high']:.0%}",
            f"{row['first_touch_rate']:.1%}",
            f"{latency_ms['p50']:.1f}/{latency_ms['p99']:.1f}",
        )
    return table
