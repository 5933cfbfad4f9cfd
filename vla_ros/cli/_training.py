"""What `pretrain` and `train` show while they run."""

from __future__ import annotations

import json
from pathlib import Path

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

from policies.training.pretrain import Validation


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
        shown = ("loss", "action", "grounding", "patch_accuracy", "samples_per_s")
        text = " ".join(f"{name} {figures[name]:.2f}" for name in shown if name in figures)
        self._progress.update(self._task, completed=step, figures=text)
        self._append({"step": step, **figures})

    def validation(self, step: int, result: Validation) -> None:
        """Bin errors beside those of a constant."""
        table = Table(title=f"step {step}: mean error in bins of 256, on held-out data")
        table.add_column("")
        for name in result.names:
            table.add_column(name, justify="right")
        table.add_row("model", *(f"{value:.1f}" for value in result.model_bins))
        table.add_row("constant", *(f"{value:.1f}" for value in result.constant_bins))
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
