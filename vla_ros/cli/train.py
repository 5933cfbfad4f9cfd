"""`vla-ros train`: a policy from demonstrations in LeRobotDatasets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from policies.factory import policy_folder
from policies.openvla.config import ChunkConfig, DropConfig, read_config
from policies.training.demonstrations import load_demonstrations, open_dataset
from policies.training.loop import LoopConfig
from policies.training.pretrain import views_as_examples
from policies.training.processes import rank
from policies.training.train import TrainConfig, train
from sim.pretraining import CLASS_NAMES
from sim.views import load_views
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


def command(
    dataset: Annotated[
        list[Path], typer.Option(help="A LeRobotDataset folder; repeat it to mix several.")
    ],
    output: Annotated[Path, typer.Option(help="Folder of the new checkpoint.")],
    initial: Annotated[
        str | None,
        typer.Option(help="Checkpoint to begin from: a folder or a shipped policy's name."),
    ] = None,
    views: Annotated[
        Path | None, typer.Option(help="Labelled views of `vla-ros pretrain` to mix in.")
    ] = None,
    views_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Of the steps, with --views.")
    ] = TrainConfig.views_share,
    chunk: Annotated[
        int | None,
        typer.Option(
            min=1, max=100, help="Add OpenVLA-OFT's head: so many actions in one pass, by L1."
        ),
    ] = None,
    connector: Connector = None,
    pool: Pool = 1,
    drop_before: Annotated[
        list[int] | None,
        typer.Option(help="PyramidDrop: image tokens are dropped before this layer; repeatable."),
    ] = None,
    drop_keep: Annotated[
        float, typer.Option(help="With --drop-before: the share that goes on.")
    ] = 0.5,
    steps: Steps = 2500,
    batch_size: BatchSize = 64,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Peak of the schedule.")] = 5e-4,
    save_every: SaveEvery = 150,
    seed: Annotated[int, typer.Option(help="Of the weights and the batches.")] = 0,
    device: Device = "cpu",
    precision: Precision = "auto",
    processes: Processes = 1,
) -> None:
    """Train a policy from LeRobotDatasets. Interrupted runs go on where they stopped.

    Every validation prints the mean error per number beside a constant predictor's: while the two
    are equal the policy is blind, whatever its loss.
    """
    start = policy_folder(initial) if initial else None
    camera, size, chunk_length = "front", 112, chunk or 1
    if start is not None:
        model = read_config(start)
        camera, size = model.camera, model.image_sizes[0]
        chunk_length = model.chunk.length if model.chunk else chunk_length
    drop = DropConfig(tuple(drop_before), drop_keep) if drop_before else None
    if drop is not None and chunk_length == 1:
        raise UserError("drop-before: expected a model with a chunk head; add --chunk")
    if drop is not None and start is not None:  # layers that the model lacks
        replace(model, chunk=model.chunk or ChunkConfig(chunk_length), pyramid_drop=drop)
    for folder in dataset:  # what does not fit is said before anything starts
        open_dataset(folder, camera)
    config = LoopConfig(
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        save_every_steps=save_every,
        warmup_steps=50,
        seed=seed,
        precision=precision,
    )
    about = TrainConfig(
        views_share=views_share,
        connector=connector_config(connector, pool),
        pyramid_drop=drop,
        chunk_length=chunk,
    )
    reading = (camera, size, chunk_length)
    learn(processes, _train, output, config, device, dataset, start, views, reading, about)
    typer.echo(f"wrote {output}; measure it with: vla-ros evaluate --policy {output} --env ...")


def _train(
    report,
    validated,
    output: Path,
    config: LoopConfig,
    device: str,
    datasets: list[Path],
    initial: Path | None,
    views: Path | None,
    reading: tuple[str, int, int],
    about: TrainConfig,
) -> None:
    """What each process does; `reading`: camera, image size [px], actions in a chunk."""
    camera, size, chunk_length = reading
    console = Console(stderr=True)
    demonstrations = []
    for folder in datasets:
        if rank() == 0:
            console.print(f"reading {folder}")
        demonstrations.append(load_demonstrations(folder, camera, size, None, chunk_length))
    mixed_in = None
    if views is not None:
        mixed_in, _ = views_as_examples(load_views(views), CLASS_NAMES)
    train(
        demonstrations,
        output,
        config,
        torch.device(device),
        report,
        validated,
        initial=initial,
        views=mixed_in,
        config=about,
    )
