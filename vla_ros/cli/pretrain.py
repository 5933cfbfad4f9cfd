"""`vla-ros pretrain`: labelled views of random scenes, and a model that learns to see from them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import Progress

from policies.openvla.config import ConnectorConfig
from policies.training.loop import LoopConfig
from policies.training.pretrain import VALIDATION_VIEWS, pretrain, views_as_examples
from sim.pretraining import CLASS_NAMES
from sim.randomization import NOMINAL, PRESETS, load_domain
from sim.views import SHARD_VIEWS, load_views, make_views
from vla_ros.cli._output import check_folder
from vla_ros.cli._training import (
    BatchSize,
    Connector,
    Device,
    Pool,
    Precision,
    Processes,
    SaveEvery,
    Steps,
    connector_config,
    learn,
)
from vla_ros.errors import UserError

IMAGE_SIZE_PX = 112


def command(
    output: Annotated[Path, typer.Option(help="Folder of the new checkpoint.")],
    views: Annotated[
        Path | None,
        typer.Option(help="Folder of the labelled views.", show_default="OUTPUT/views"),
    ] = None,
    count: Annotated[int, typer.Option(help="Views to make; those that exist are kept.")] = 30000,
    view_actions: Annotated[
        int, typer.Option(min=1, help="Actions in each view's labels, for train --chunk.")
    ] = 1,
    randomize: Annotated[
        str,
        typer.Option(
            help=f"Draw the views' world anew: one of {', '.join(PRESETS)}, or a .yaml file."
        ),
    ] = NOMINAL,
    connector: Connector = None,
    pool: Pool = 1,
    steps: Steps = 3000,
    batch_size: BatchSize = 64,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Peak of the schedule.")] = 8e-4,
    save_every: SaveEvery = 150,
    seed: Annotated[int, typer.Option(help="Of the views, the weights and the batches.")] = 7,
    device: Device = "cpu",
    precision: Precision = "auto",
    processes: Processes = 1,
    workers: Annotated[
        int, typer.Option(help="Processes that render views.", show_default="CPU cores")
    ] = os.cpu_count() or 1,
) -> None:
    """Make labelled views in simulation and train a fresh openvla-mini on them.

    The model learns what is where (class and position per patch, image-text contrast), where the
    named things are, and what the expert would do. Interrupted runs go on where they stopped.
    """
    if count <= VALIDATION_VIEWS:
        raise UserError(f"count: expected more than {VALIDATION_VIEWS}, got {count}")
    chosen = connector_config(connector, pool)
    load_domain(randomize)  # before anything is written
    check_folder(output)  # before the views are made
    folder = views or output / "views"
    made = make_views(folder, count, seed, IMAGE_SIZE_PX, workers, view_actions, randomize)
    total = -(-count // SHARD_VIEWS) * SHARD_VIEWS
    with Progress(*Progress.get_default_columns(), console=Console(stderr=True)) as progress:
        task = progress.add_task("rendering views", total=total)
        for done in made:
            progress.update(task, completed=done)
    config = LoopConfig(
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        save_every_steps=save_every,
        seed=seed,
        precision=precision,
    )
    learn(processes, _pretrain, output, config, device, folder, chosen)
    typer.echo(f"wrote {output}; go on with: vla-ros train --initial {output} --views {folder} ...")


def _pretrain(
    report,
    validated,
    output: Path,
    config: LoopConfig,
    device: str,
    views: Path,
    connector: ConnectorConfig | None,
) -> None:
    """What each process does."""
    training, validation = views_as_examples(load_views(views), CLASS_NAMES)
    pretrain(
        training,
        validation,
        output,
        config,
        torch.device(device),
        report,
        validated,
        connector=connector,
    )
