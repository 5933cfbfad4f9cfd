"""`vla-ros compare`: two evaluations of the same episodes, paired."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sim.evaluation.compare import compare, read_result
from vla_ros.cli._evaluation import short_variant
from vla_ros.cli._output import check_writable, write_result

MAX_WORD = 17  # characters of a variant that are not broken: stand-in-filament


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
    words = (word for row in result["by_group"] for word in short_variant(row["variant"]).split())
    longest = max((len(word) for word in words), default=0)
    table.add_column("variant", overflow="fold", min_width=min(longest, MAX_WORD))
    for heading in ("n", "A %", "B %", "only A/B", "B - A", "95 %", "p"):
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
            short_variant(variant),
            str(row["episodes"]),
            f"{100 * row['a_success']['success_rate']:.1f}",
            f"{100 * row['b_success']['success_rate']:.1f}",
            f"{row['only_a']}/{row['only_b']}",
            f"{100 * row['difference']:+.1f}",
            f"{100 * row['difference_low']:+.0f}..{100 * row['difference_high']:+.0f}",
            _probability(row.get("sign_flip_p", row["mcnemar_p"])),
        )
    return table


def _short(env: str) -> str:
    """`VlaRos/Lift-v0` -> `Lift`, `config/scenes/bowl.yaml` -> `bowl.yaml`."""
    return env.removeprefix("VlaRos/").removesuffix("-v0").rpartition("/")[2]


def _probability(p: float) -> str:
    """As it is printed; `--json` has it in full."""
    return f"{p:.3f}" if p >= 0.001 else "<0.001"
