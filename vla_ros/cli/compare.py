"""`vla-ros compare`: two evaluations of the same episodes, paired."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sim.evaluation.compare import compare, read_result
from vla_ros.cli._output import check_writable, write_result


def command(
    a: Annotated[Path, typer.Argument(help="A result of `vla-ros evaluate --json`.")],
    b: Annotated[Path, typer.Argument(help="Another, of the same episodes.")],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the comparison to this file.")
    ] = None,
) -> None:
    """Compare two policies (or settings) on the same seeds.

    The difference is B's success rate less A's, with Newcombe's interval for paired rates (1998,
    method 10) at 95 %; p is McNemar's, exact, of the two doing equally well. Over several variants
    both go by scenes, since the variants share them: a bootstrap, and sign flips.
    """
    check_writable(json_file, others=[("A", a), ("B", b)])
    result = compare(read_result(a), read_result(b))
    console = Console()
    for name in result["differs_in"]:
        console.print(f"{name}: A {result['a'][name]}, B {result['b'][name]}", highlight=False)
    if not result["differs_in"]:
        console.print("A and B have the same settings")
    console.print(_table(result))
    write_result(json_file, result)


def _table(result: dict[str, Any]) -> Table:
    table = Table(title="B against A", box=None, padding=(0, 1, 0, 0))  # fits 80 columns
    table.add_column("env", overflow="fold")  # a long one goes on in the next line
    table.add_column("variant", no_wrap=True)
    for heading in ("n", "A %", "B %", "only A", "only B", "B - A", "95 %", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = [(_short(row["env"]), row["variant"], row) for row in result["by_group"]]
    variants = result["by_variant"]
    if 1 < len(variants) < len(rows):  # otherwise they would say the rows or the total again
        rows += [("all", row["variant"], row) for row in variants]
    if len(rows) > 1:
        rows.append(("all", "", result))
    for env, variant, row in rows:
        table.add_row(
            env,
            variant,
            str(row["episodes"]),
            f"{100 * row['a_success']['success_rate']:.1f}",
            f"{100 * row['b_success']['success_rate']:.1f}",
            str(row["only_a"]),
            str(row["only_b"]),
            f"{100 * row['difference']:+.1f}",
            f"{100 * row['difference_low']:+.0f} to {100 * row['difference_high']:+.0f}",
            f"{row.get('sign_flip_p', row['mcnemar_p']):.2g}",
        )
    return table


def _short(env: str) -> str:
    return env.removeprefix("VlaRos/").removesuffix("-v0")
