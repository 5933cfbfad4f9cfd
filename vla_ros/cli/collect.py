"""`vla-ros collect`: demonstrations of a task's scripted expert as a LeRobotDataset."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sim import ENV_IDS, dataset
from sim.env import IMAGE_SIZE_PX
from sim.parallel import WorkerError
from sim.randomization import PRESETS
from sim.scene import CAMERAS
from sim.variants import VARIANTS
from vla_ros.cli._output import check_outside
from vla_ros.errors import UserError


def command(
    env: Annotated[
        list[str],
        typer.Option(
            help=f"One of {', '.join(ENV_IDS)}, or a .yaml file of a scene; repeat it to mix, "
            "episodes alternate."
        ),
    ],
    episodes: Annotated[int, typer.Option(help="Successful episodes to keep, over all --env.")],
    output: Annotated[Path, typer.Option(help="Folder of the new dataset.")],
    seed: Annotated[
        int, typer.Option(help="Of the first episode; keep away from what you evaluate on (1000+).")
    ] = dataset.Collection.seed,
    perturb: Annotated[
        float, typer.Option(help="Share of steps executed with noise; labels stay the expert's.")
    ] = dataset.Collection.perturb,
    cameras: Annotated[str, typer.Option(help="Separated by commas.")] = ",".join(CAMERAS),
    image_size: Annotated[int, typer.Option(help="Side of the square images in pixels.")] = (
        IMAGE_SIZE_PX
    ),
    policy: Annotated[
        str | None,
        typer.Option(
            help="Let this policy act, and the expert label what it gets into (DAgger): a name, a "
            "folder, zero, or noisy:LEVEL:POLICY for one whose hand shakes by LEVEL cm."
        ),
    ] = None,
    expert_share: Annotated[
        float,
        typer.Option(
            help="With --policy: share of a roll-out in which the expert acts, in short runs; "
            "0: what the policy does alone, failures and all."
        ),
    ] = dataset.Collection.expert_share,
    variant: Annotated[
        str, typer.Option(help=f"A changed world: one of {', '.join(VARIANTS)}.")
    ] = dataset.Collection.variant,
    randomize: Annotated[
        str,
        typer.Option(
            help=f"Draw the world anew for every episode: one of {', '.join(PRESETS)}, or a "
            ".yaml file of ranges."
        ),
    ] = dataset.Collection.randomization,
    workers: Annotated[
        int, typer.Option(help="Processes that simulate and render.", show_default="CPU cores")
    ] = os.cpu_count() or 1,
) -> None:
    """Record a task's expert as a LeRobotDataset.

    With --perturb what is executed departs from what was wanted now and then, in short runs of
    correlated noise, so that the data shows how to recover (DART). Column `action` is always what
    the expert would do, `executed_action` what was done; `observation.target_position` and
    `observation.goal_position` are the simulator's truth, for auxiliary losses only.
    """
    collection = dataset.Collection(
        env_ids=tuple(env),
        episodes=episodes,
        output=output,
        seed=seed,
        perturb=perturb,
        cameras=tuple(name.strip() for name in cameras.split(",") if name.strip()),
        image_size_px=image_size,
        workers=workers,
        policy=policy,
        expert_share=expert_share,
        variant=variant,
        randomization=randomize,
    )
    check_outside(output)
    console = Console(stderr=True)
    columns = (
        TextColumn("collecting"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[frames]} frames, {task.fields[failed]} failed"),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("", total=episodes, frames=0, failed=0)

            def show(progress: dataset.Progress) -> None:
                bar.update(
                    task,
                    completed=progress.kept,
                    frames=progress.frames,
                    failed=progress.failed,
                )

            progress = dataset.collect(collection, show)
    except KeyboardInterrupt:
        if output.exists():
            console.print(f"stopped early; {output} holds the episodes that were finished")
        raise
    except (dataset.DatasetError, WorkerError) as error:
        raise UserError(str(error)) from error
    print(
        f"{output}: {progress.kept} episodes, {progress.frames} frames"
        f" ({progress.failed} failed attempts left out)"
    )
