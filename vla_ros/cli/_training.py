"""What `pretrain` and `train` share: options, processes, and what they show while they run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from policies.factory import check_device
from policies.openvla.config import CONNECTORS, ConnectorConfig
from policies.training.loop import LoopConfig, TrainingError
from policies.training.processes import rank, run_in_processes
from policies.training.validation import Validation
from vla_ros.cli._output import check_folder
from vla_ros.errors import UserError

Steps = Annotated[int, typer.Option(min=1, help="Training steps.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Sequences per step, over all processes.")]
SaveEvery = Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, ...")]
Precision = Annotated[str, typer.Option(help="auto, fp32 or bf16.")]
Processes = Annotated[
    int, typer.Option(min=1, help="That train together; on a CPU one per core is fastest.")
]


Connector = Annotated[
    str | None,
    typer.Option(
        help=f"From patches to tokens: one of {', '.join(CONNECTORS)}.",
        show_default="the checkpoint's own",
    ),
]
Pool = Annotated[
    int, typer.Option(min=1, help="With --connector: patches along a side that share a token.")
]


def connector_config(connector: str | None, pool: int) -> ConnectorConfig | None:
    """The options `--connector` and `--pool`; None where the model's own stays."""
    if connector is None:
        if pool != 1:
            raise UserError("pool: expected a --connector with it, such as openvla")
        return None
    return ConnectorConfig(connector, pool=pool)


def learn(
    processes: int,
    work: Callable[..., None],
    output: Path,
    config: LoopConfig,
    device: str,
    *arguments: object,
) -> None:
    """Call `work(report, validated, output, config, device, *arguments)` in `processes`."""
    check_device(device)
    check_folder(output)
    try:
        run_in_processes(processes, _show, work, output, config, device, arguments)
    except TrainingError as error:
        raise UserError(str(error)) from error


def _show(work, output: Path, config: LoopConfig, device: str, arguments: tuple) -> None:
    """What each process does: the first one shows how it goes."""
    if rank() > 0:
        work(lambda *_: None, lambda *_: None, output, config, device, *arguments)
        return
    with TrainingDisplay(work.__name__.strip("_"), config.steps, output) as display:
        work(display.report, display.validation, output, config, device, *arguments)


class TrainingDisplay:
    """A progress bar, a table at every validation, and `metrics.jsonl` in the output folder."""

    def __init__(self, title: str, steps: int, output: Path) -> None:
        output.mkdir(parents=True, exist_ok=True)
        self._file = output / "metrics.jsonl"
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn(title),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._progress.add_task("", total=steps, figures="")

    def __enter__(self) -> TrainingDisplay:
        self._progress.start()
        return self

    def __exit__(self, *_) -> None:
        self._progress.stop()

    def report(self, step: int, figures: dict[str, float]) -> None:
        """Averages since the last report."""
        shown = ("loss", "action", "grounding", "placing", "samples_per_s")
        text = " ".join(f"{name} {figures[name]:.2f}" for name in shown if name in figures)
        self._progress.update(self._task, completed=step, figures=text)
        self._append({"step": step, **figures})

    def validation(self, step: int, result: Validation) -> None:
        """Bin errors beside those of a constant."""
        table = Table(title=f"step {step}: mean error in bins of 256, on held-out data")
        for heading in ("", "model", "constant"):
            table.add_column(heading, justify="right" if heading else "left")
        for name, model, constant in zip(
            result.names, result.model_bins, result.constant_bins, strict=True
        ):
            table.add_row(name, f"{model:.1f}", f"{constant:.1f}")
        self._console.print(table)
        self._append(
            {
                "step": step,
                "bins": dict(zip(result.names, result.model_bins.tolist(), strict=True)),
                "constant_bins": dict(
                    zip(result.names, result.constant_bins.tolist(), strict=True)
                ),
            }
        )

    def _append(self, values: dict) -> None:
        with self._file.open("a") as file:
            file.write(json.dumps(values) + "\n")
