"""`vla-ros convert`: a rosbag2 of any robot as a LeRobotDataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from sim.episode_files import DatasetError
from vla_ros.cli._output import check_outside, check_writable, write_result
from vla_ros.errors import UserError
from vla_ros.recording.convert import convert, find_bags
from vla_ros.recording.mapping import read_mapping


def command(
    bag: Annotated[Path, typer.Argument(help="rosbag2 (MCAP or sqlite3), or a folder of them.")],
    output: Annotated[Path, typer.Argument(help="Folder of the new dataset.")],
    mapping: Annotated[Path, typer.Option(help="YAML file: which topics are which features.")],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report to this file.")
    ] = None,
) -> None:
    """Convert a rosbag2 of any robot to a LeRobotDataset, at a fixed rate by header stamps.

    Measured numbers are interpolated, of images the newest is taken, never a later one. Prints gaps
    and skew, and what was left out and why. config/convert.yaml shows a mapping.
    """
    check_writable(json_file, others=[("mapping", mapping), ("BAG", bag), ("OUTPUT", output)])
    check_outside(output, "OUTPUT", [("BAG", bag)])
    wanted = read_mapping(mapping)
    bags = find_bags(bag)
    console = Console(highlight=False)
    try:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("converting", total=len(bags))
            report = convert(
                bags, output, wanted, lambda done, total: bar.update(task, completed=done)
            )
    except DatasetError as error:
        raise UserError(str(error)) from error
    for each in report["bags"]:
        console.print(_topics(each))
        console.print(_episodes(each))
        for topic, found in each["topics"].items():
            if (found["publishers"] or 1) > 1:
                console.print(
                    f"{each['name']}: {topic} had {found['publishers']} publishers, whose messages "
                    "are taken as one stream: were they meant to be one?",
                    style="yellow",
                    soft_wrap=True,
                )
    console.print(
        f"{output}: {report['episodes']} episodes, {report['frames']} frames", soft_wrap=True
    )
    write_result(json_file, report)


def _topics(report: dict[str, Any]) -> Table:
    table = Table(title=f"{report['name']}: topics", box=None, header_style="bold", pad_edge=False)
    table.add_column("topic", overflow="fold", min_width=14)
    for heading in ("messages", "Hz", "largest gap, ms", "gaps", "late", "delay, ms", "jitter, ms"):
        table.add_column(
            heading, justify="right", min_width=6, max_width=8
        )  # 80 columns are enough
    for topic, found in report["topics"].items():
        keys = (
            "messages", "rate_hz", "largest_gap_ms", "gaps", "late", "delay_ms", "jitter_ms",
        )  # fmt: skip
        table.add_row(topic, *("-" if found[key] is None else str(found[key]) for key in keys))
    return table


def _episodes(report: dict[str, Any]) -> Table:
    table = Table(title=f"{report['name']}: episodes")
    for heading in ("", "s", "rows", "trimmed", "repeated", "largest skew, ms", "success", "what"):
        table.add_column(heading)
    for episode in report["episodes"]:
        skews = {name: skew["max"] for name, skew in episode["skew_ms"].items()}
        worst = max(skews, key=lambda name: skews[name], default="")
        table.add_row(
            "-" if episode["episode_index"] is None else str(episode["episode_index"]),
            f"{episode['duration_s']:.1f}",
            str(episode["rows"]),
            str(episode["trimmed_rows"]),
            str(sum(episode["repeated_images"].values())),
            f"{skews[worst]:g} ({worst})" if worst else "-",
            "-" if episode["success"] is None else str(episode["success"]).lower(),
            f"left out: {episode['left_out']}" if episode["left_out"] else episode["task"],
        )
    return table
