"""`vla-ros train`: a policy from demonstrations in LeRobotDatasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import Progress

from policies.factory import policy_folder
from policies.openvla.config import read_config
from policies.training.demonstrations import Demonstrations, load_demonstrations
from policies.training.loop import LoopConfig, TrainingError
from policies.training.pretrain import views_as_examples
from policies.training.train import TrainConfig, train
from vla_ros.cli._training import TrainingDisplay
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
    steps: Annotated[int, typer.Option(help="Training steps.")] = 2500,
    batch_size: Annotated[int, typer.Option(help="Frames per step.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Peak of the schedule.")] = 5e-4,
    save_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 150,
    seed: Annotated[int, typer.Option(help="Of the weights and the batches.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
) -> None:
    """Train a policy from LeRobotDatasets. Interrupted runs go on where they stopped.

    Every validation prints the mean error per number beside a constant predictor's: while the two
    are equal the policy is blind, whatever its loss.
    """
    start = policy_folder(initial) if initial else None
    camera, size = "front", 112
    if start is not None:
        config = read_config(start)
        camera, size = config.camera, config.image_sizes[0]
    demonstrations = [_load(folder, camera, size) for folder in dataset]
    mixed_in = None
    if views is not None:
        from sim.pretraining import CLASS_NAMES
        from sim.views import load_views

        mixed_in, _ = views_as_examples(load_views(views), CLASS_NAMES)
    loop = LoopConfig(
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        save_every_steps=save_every,
        seed=seed,
        precision=precision,
    )
    with TrainingDisplay("training", steps, output) as display:
        try:
            train(
                demonstrations,
                output,
                loop,
                torch.device(device),
                display.report,
                display.validation,
                initial=start,
                views=mixed_in,
                config=TrainConfig(),
            )
        except TrainingError as error:
            raise UserError(str(error)) from error
    typer.echo(f"wrote {output}; measure it with: vla-ros evaluate --policy {output} --env ...")


def _load(folder: Path, camera: str, size: int) -> Demonstrations:
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(f"reading {folder.name}", total=None)
        return load_demonstrations(
            folder,
            camera,
            size,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
