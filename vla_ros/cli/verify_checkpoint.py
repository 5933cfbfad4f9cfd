"""`vla-ros verify-checkpoint`: does a checkpoint compute what it is expected to?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from rich.console import Console
from rich.table import Table

from policies.factory import (
    DTYPES,
    QUANTIZATIONS,
    check_device,
    check_numbers,
    policy_folder,
)
from policies.openvla.verify import Figure, Report, verify
from vla_ros.cli._output import check_writable, write_result
from vla_ros.errors import UserError

EXIT_DIFFERENT = 1


def command(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="Checkpoint folder, or a shipped policy's name.")
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write every figure to this file.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu or cuda.")] = "cpu",
    dtype: Annotated[str, typer.Option(help=f"What to compute in: {', '.join(DTYPES)}.")] = DTYPES[
        0
    ],
    quantize: Annotated[
        str | None, typer.Option(help=f"The weights: {', '.join(QUANTIZATIONS)}.")
    ] = None,
    write: Annotated[
        bool,
        typer.Option(
            "--write",
            help="First write DIR/golden/ with what it computes now, from simulated scenes or "
            "from the pictures given.",
        ),
    ] = False,
    image: Annotated[
        list[Path] | None, typer.Option(help="With --write: a picture; repeat it.")
    ] = None,
    instruction: Annotated[
        list[str] | None, typer.Option(help="With --write: one for each --image.")
    ] = None,
) -> None:
    """Replay a checkpoint's expected outputs and print how far each figure is off.

    They are `expected.safetensors` (and `expected.json`, `image_<i>.png`) beside the weights or in
    `golden/`. In bfloat16 (half the memory) or with quantized weights they are compared as far as
    these reach; tokens, actions and training are left out. The status is 0 when all agree, 1 when
    one does not, 2 when nothing can be compared.
    """
    path = policy_folder(folder)
    check_device(device)
    check_numbers(path, dtype, quantize)
    check_writable(json_file, others=[("image", each) for each in image or []])
    if write:
        _write(path, image or [], instruction or [], device)
    elif image or instruction:
        raise UserError("--image and --instruction: expected together with --write")
    report = verify(path, device, dtype, quantize)
    console = Console(highlight=False)
    console.print(_table(path, report))
    for figure in report.failed:
        console.print(f"failed: {figure}", markup=False, style="red", soft_wrap=True)
    if report.not_checked:
        names = ", ".join(report.not_checked)
        console.print(f"not checked: {names}", markup=False, style="yellow", soft_wrap=True)
    if report.not_given:
        names = ", ".join(report.not_given)
        console.print(f"not among what is expected: {names}", markup=False, soft_wrap=True)
    write_result(json_file, as_json(path, device, report, dtype, quantize))
    if not report.ok:
        raise typer.Exit(EXIT_DIFFERENT)


def as_json(
    folder: Path,
    device: str,
    report: Report,
    dtype: str = DTYPES[0],
    quantization: str | None = None,
) -> dict[str, Any]:
    """The whole report in plain values; a deviation that is not finite is null."""
    return {
        "folder": str(folder),
        "device": device,
        "dtype": dtype,
        "quantization": quantization,
        "ok": report.ok,
        "figures": [
            {
                "name": figure.name,
                "where": figure.where,
                "deviation": figure.deviation if math.isfinite(figure.deviation) else None,
                "tolerance": figure.tolerance,
                "ok": figure.ok,
                "detail": figure.detail,
            }
            for figure in report.figures
        ],
        "not_checked": list(report.not_checked),
        "not_given": report.not_given,
    }


def _table(folder: Path, report: Report) -> Table:
    """The worst of each kind of figure; the JSON file has them all."""
    table = Table(title=f"checkpoint {folder.name}")
    table.add_column("figure", no_wrap=True)
    table.add_column("times", justify="right")
    table.add_column("deviation", justify="right")
    table.add_column("tolerance", justify="right")
    table.add_column("at", overflow="fold")
    table.add_column("")
    for figure in report.worst():
        table.add_row(
            figure.name,
            str(report.count(figure.name)),
            _number(figure.deviation),
            _number(figure.tolerance),
            figure.where,
            _verdict(figure),
        )
    return table


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}"


def _verdict(figure: Figure) -> str:
    return "[green]ok[/green]" if figure.ok else "[red]failed[/red]"


def _write(folder: Path, images: list[Path], instructions: list[str], device: str) -> None:
    from policies.openvla.golden import write_expectations
    from vla_ros.golden_scenes import write_from_simulation

    if not images and not instructions:
        write_from_simulation(folder, device)
        return
    write_expectations(folder, [_read(path) for path in images], instructions, device=device)


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        return np.asarray(Image.open(path).convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise UserError(f"--image: {path}: not an image ({error})") from error
