"""`vla-ros merge`: an adapter and its base as one checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from policies.finetuning.finetune import ADAPTER_FOLDER
from policies.openvla.adapter import is_adapter, merge_adapter
from vla_ros.cli._output import check_folder
from vla_ros.errors import UserError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def command(
    adapter: Annotated[Path, typer.Option(help="An adapter's folder (`.../adapter`).")],
    output: Annotated[Path, typer.Option(help="Folder of the new checkpoint.")],
    base: Annotated[
        str | None,
        typer.Option(help="Where its base is now; left out: where it was when it was adapted."),
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32, or bf16: half the size, rounded.")] = "fp32",
) -> None:
    """Write an adapter and its base as one checkpoint in the usual layout.

    Both act the same; the merged one is faster. A base with other weights is refused.
    """
    if precision not in DTYPES:
        raise UserError(f"precision: expected one of {', '.join(DTYPES)}, got {precision!r}")
    if not is_adapter(adapter):
        inside = adapter / ADAPTER_FOLDER
        hint = f"; there is one in {inside}" if is_adapter(inside) else ""
        raise UserError(f"adapter: expected a folder with adapter_config.json, got {adapter}{hint}")
    if output.exists() and any(output.iterdir()):
        raise UserError(f"output {output} is not empty; choose another or remove it")
    check_folder(output)
    merge_adapter(adapter, output, DTYPES[precision], base)
    typer.echo(f"wrote {output}; measure it with: vla-ros evaluate --policy {output} --env ...")
