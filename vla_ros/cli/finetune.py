"""`vla-ros finetune`: adapt a policy to demonstrations of another robot, camera or task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from policies.factory import policy_folder
from policies.finetuning.finetune import ADAPTER_FOLDER, check_base, check_shares, finetune
from policies.finetuning.settings import (
    FULL_LEARNING_RATE,
    LORA_LEARNING_RATE,
    FinetuneConfig,
    dataset_name,
)
from policies.openvla.adapter import BaseReference, LoraSettings
from policies.openvla.config import read_config
from policies.openvla.statistics import ActionStatistics
from policies.training.demonstrations import load_demonstrations, open_dataset
from policies.training.features import NONE, STATE, parse_map
from policies.training.loop import LoopConfig
from policies.training.processes import own_device, rank
from vla_ros.cli._training import BatchSize, Device, Precision, Processes, SaveEvery, Steps, learn
from vla_ros.errors import UserError


@dataclass(frozen=True)
class _Reading:
    """How the datasets are read."""

    folders: tuple[Path, ...]
    camera: str
    image_size_px: int
    chunk_length: int
    with_state: bool
    wanted: Mapping[str, str]
    gripper_range: tuple[float, float]


def command(
    policy: Annotated[
        str, typer.Option(help="Checkpoint to adapt: a folder or a shipped policy's name.")
    ],
    dataset: Annotated[
        list[Path], typer.Option(help="A LeRobotDataset folder; repeat it to mix several.")
    ],
    output: Annotated[Path, typer.Option(help="Folder of the new checkpoint.")],
    feature_map: Annotated[
        list[str],
        typer.Option(
            "--map",
            help="THEIRS=OURS: which of the dataset's features is the policy's camera, action or "
            "state (none=state: go without). What is unambiguous is found.",
        ),
    ] = [],  # noqa: B006 (typer copies it)
    gripper: Annotated[
        str, typer.Option(help="CLOSED,OPEN: what the dataset's actions call the two.")
    ] = "0,1",
    name: Annotated[
        str | None,
        typer.Option(help="Key of the new statistics.", show_default="the datasets' folder names"),
    ] = None,
    keep_statistics: Annotated[
        bool,
        typer.Option(
            "--keep-statistics",
            help="Scale actions and states as the base does: for data of the very same robot.",
        ),
    ] = False,
    unnorm_key: Annotated[
        str | None, typer.Option(help="Which of the base's statistics, with --keep-statistics.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Train all weights, no adapter.")] = False,
    lora_rank: Annotated[int, typer.Option(help="Of the adapter.")] = LoraSettings.rank,
    lora_alpha: Annotated[
        int | None,
        typer.Option(
            help="What is added is scaled by alpha / rank.", show_default="the rank, 16 at most"
        ),
    ] = LoraSettings.alpha,
    lora_dropout: Annotated[float, typer.Option(help="On the adapter's input.")] = (
        LoraSettings.dropout
    ),
    merge: Annotated[
        bool, typer.Option(help="Write base and adapter as one checkpoint too.")
    ] = True,
    merged_precision: Annotated[
        str, typer.Option(help="Of the whole checkpoint: fp32, or bf16: half the size, rounded.")
    ] = "fp32",
    steps: Steps = 300,
    batch_size: BatchSize = 32,
    gradient_accumulation: Annotated[
        int, typer.Option(min=1, help="Passes a batch is split into: less memory, same result.")
    ] = 1,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, a third slower.")
    ] = False,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Peak of the schedule.",
            show_default=f"{LORA_LEARNING_RATE:g}; {FULL_LEARNING_RATE:g} with --full",
        ),
    ] = None,
    save_every: SaveEvery = 50,
    seed: Annotated[int, typer.Option(help="Of the adapter and the batches.")] = 0,
    device: Device = "cpu",
    precision: Precision = "auto",
    processes: Processes = 1,
) -> None:
    """Adapt a policy to your own demonstrations. Interrupted runs go on where they stopped.

    Writes the adapter to OUTPUT/adapter and the merged checkpoint to OUTPUT; both are policies. The
    actions' statistics are computed from the datasets and stored inside. On several GPUs or
    machines: `accelerate launch ... -m vla_ros.cli finetune ...` with the same options.
    """
    start = policy_folder(policy)
    check_base(start)
    if merged_precision not in ("fp32", "bf16"):
        raise UserError(f"merged precision: expected fp32 or bf16, got {merged_precision!r}")
    model = read_config(start)
    wanted = parse_map(feature_map, model.camera)
    with_state = model.proprio is not None
    reading = _Reading(
        folders=tuple(dataset),
        camera=model.camera,
        image_size_px=model.image_sizes[0],
        chunk_length=model.chunk.length if model.chunk else 1,
        with_state=with_state,
        wanted=wanted,
        gripper_range=_two_numbers(gripper),
    )
    for folder in dataset:  # what does not fit is said before anything starts
        open_dataset(folder, model.camera, with_state, wanted)
    if keep_statistics:
        ActionStatistics.from_norm_stats(model.norm_stats, unnorm_key)
    elif unnorm_key is not None:
        raise UserError("unnorm key: only with --keep-statistics; else they are computed anew")
    config = FinetuneConfig(
        dataset_name=name or dataset_name(dataset),
        lora=None if full else LoraSettings(lora_rank, lora_alpha, lora_dropout),
        keep_statistics=keep_statistics,
        unnorm_key=unnorm_key,
        with_state=wanted.get(STATE) != NONE,
        gradient_checkpointing=gradient_checkpointing,
        merge=merge or full,
        merged_bf16=merged_precision == "bf16",
    )
    default_rate = FULL_LEARNING_RATE if full else LORA_LEARNING_RATE
    loop = LoopConfig(
        steps=steps,
        batch_size=batch_size,
        learning_rate=default_rate if learning_rate is None else learning_rate,
        save_every_steps=save_every,
        report_every_steps=10,
        warmup_steps=min(20, steps // 10),
        seed=seed,
        precision=precision,
        gradient_accumulation=gradient_accumulation,
    )
    base = BaseReference.of(policy, start)
    learn(processes, _finetune, output, loop, device, base, start, reading, config)


def _finetune(
    report,
    validated,
    output: Path,
    loop: LoopConfig,
    device: str,
    base: BaseReference,
    base_folder: Path,
    reading: _Reading,
    config: FinetuneConfig,
) -> None:
    """What each process does."""
    check_shares(loop)  # before the datasets are read
    console = Console(stderr=True)
    demonstrations = []
    for folder in reading.folders:
        if rank() == 0:
            console.print(f"reading {folder}")
        demonstrations.append(
            load_demonstrations(
                folder,
                reading.camera,
                reading.image_size_px,
                None,
                reading.chunk_length,
                reading.with_state,
                reading.wanted,
                reading.gripper_range,
            )
        )
    where = own_device(device)
    finetune(base, base_folder, demonstrations, output, loop, where, report, validated, config)
    if rank() == 0:
        made = output if config.merge else output / ADAPTER_FOLDER
        typer.echo(f"wrote {made}; measure it with: vla-ros evaluate --policy {made} --env ...")


def _two_numbers(text: str) -> tuple[float, float]:
    try:
        closed, opened = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"gripper: expected CLOSED,OPEN as in 0,1 or -1,1, got {text!r}") from None
    return closed, opened
