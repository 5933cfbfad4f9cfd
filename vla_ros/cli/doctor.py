"""`vla-ros doctor`: is everything there that the stack needs? Each failure comes with its mend."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from policies.factory import DEFAULT_POLICY
from vla_ros import health
from vla_ros.graph import shared_environment
from vla_ros.processes import private_domain
from vla_ros.robots import load_robot

EXIT_UNHEALTHY = 1


def command(
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the results to this file.")
    ] = None,
    policy: Annotated[str, typer.Option(help="The checkpoint to try.")] = DEFAULT_POLICY,
    device: Annotated[str, typer.Option(help="Where to try it.")] = "cpu",
    robot: Annotated[
        str, typer.Option(help="What it is to move: fr3, ur5e, so101 or FILE.yaml.")
    ] = health.DEFAULT_ROBOT,
    description: Annotated[
        str, typer.Option(help="A URDF in place of the one that the robot's file names.")
    ] = "",
) -> None:
    """Check ROS, rendering, cameras, torch and the checkpoint, each with its mend."""
    load_robot(robot, description)  # before the checks, which take seconds
    # The user's own choice of discovery is part of what is checked; only the domain is ours.
    os.environ.update(shared_environment() | {"ROS_DOMAIN_ID": str(private_domain())})
    checks: tuple[tuple[str, Callable[[], health.Result]], ...] = (
        ("ROS", health.check_ros),
        ("rendering", health.check_rendering),
        ("cameras", health.check_cameras),
        ("torch", health.check_torch),
        ("checkpoint", lambda: health.check_checkpoint(policy, device, robot, description)),
    )
    console = Console(highlight=False)
    report: dict[str, Any] = {}
    for name, check in checks:
        with console.status(f"checking {name}"):
            result = health.attempt(check)
        mark = "[green]OK  [/green]" if result.ok else "[red]FAIL[/red]"
        console.print(f"{mark} {name:<11}", end="")
        console.print(result.text, markup=False)
        if not result.ok:
            console.print(f"     mend: {result.mend}", markup=False, style="yellow")
        report[name] = {"ok": result.ok, "text": result.text, **result.figures}
    healthy = all(entry["ok"] for entry in report.values())
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps({"ok": healthy, "checks": report}, indent=2) + "\n")
    if not healthy:
        raise typer.Exit(EXIT_UNHEALTHY)
