"""`vla-ros sim2real`: how far simulation is from a robot, and whether its rates predict it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from sim import ENV_IDS, robot
from sim.randomization import PRESETS
from sim.scene import CAMERAS
from sim.sim2real import rosbag
from sim.sim2real.arm import ArmParameters, ArmSimulation
from sim.sim2real.correlation import Bootstrap
from sim.sim2real.correlation import compare as compare_rates
from sim.sim2real.gap import Gap, pooled, tracking_gap
from sim.sim2real.identification import Settings
from sim.sim2real.identification import identify as fit
from sim.sim2real.identified import read_parameters, write_ranges
from sim.sim2real.lerobot_logs import write_dataset
from sim.sim2real.logs import Log, outcomes
from sim.sim2real.rates_file import read_rates
from sim.sim2real.reading import read_logs
from sim.sim2real.recording import MOTIONS, Recording, record
from vla_ros.cli._output import check_outside, check_writable, write_result
from vla_ros.errors import UserError

command = typer.Typer(no_args_is_help=True)
FORMATS = (*rosbag.STORAGES, "lerobot")

Logs = Annotated[
    list[Path],
    typer.Argument(metavar="LOG...", help="rosbag2 (MCAP, sqlite3), LeRobotDataset, or a folder."),
]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the result to this file.")]
JointTopic = Annotated[str, typer.Option(help="Of the joint states, in a rosbag2.")]
CommandTopic = Annotated[str, typer.Option(help="Of the arm's JointTrajectory, in a rosbag2.")]


@command.command()
def replay(
    logs: Logs,
    identified: Annotated[
        Path | None, typer.Option(help="Parameters from `identify --json`; otherwise nominal.")
    ] = None,
    json_file: JsonFile = None,
    joint_topic: JointTopic = rosbag.BagTopics.joint_states,
    command_topic: CommandTopic = rosbag.BagTopics.command,
) -> None:
    """Replay the commands of logs in simulation: how far does the simulated arm go from the robot?

    RMSE and maximum for every joint [rad] and for the tool [m, rad]; the lag is how much later the
    robot moves than the simulated arm.
    """
    check_writable(json_file, others=[*_named("LOG", logs), ("identified", identified)])
    parameters = read_parameters(identified) if identified else ArmParameters.nominal()
    read = read_logs(logs, rosbag.BagTopics(joint_topic, command_topic))
    simulation = ArmSimulation()
    gaps = [tracking_gap(simulation, log, parameters) for log in read]
    console = Console(highlight=False)
    console.print(_gap_table({"all logs": pooled(gaps)}, "tracking gap"))
    per_log = Table(title="by log")
    for heading in ("log", "s", "joints, mrad", "tool, mm", "lag, ms", "success"):
        per_log.add_column(heading, justify="left" if heading == "log" else "right")
    for log, gap in zip(read, gaps, strict=True):
        outcome = "" if log.success is None else str(log.success).lower()
        per_log.add_row(
            log.name, f"{log.duration_s:.1f}", f"{1e3 * gap.rmse_rad:.2f}",
            f"{1e3 * gap.tool_rmse_m:.2f}", _milliseconds(gap.lag_s), outcome,
        )  # fmt: skip
    console.print(per_log)
    result = {
        "identified": None if identified is None else str(identified),
        **pooled(gaps).as_json(),
        "outcomes": outcomes(read),
        "logs": [
            {
                "name": log.name,
                "duration_s": log.duration_s,
                "instruction": log.instruction,
                "success": log.success,
                "images": {camera: len(stamps) for camera, stamps in log.image_stamps_s.items()},
                **gap.as_json(),
            }
            for log, gap in zip(read, gaps, strict=True)
        ],
    }
    write_result(json_file, result)


@command.command()
def identify(
    logs: Logs,
    held_out: Annotated[
        list[Path] | None,
        typer.Option("--held-out", help="Logs to validate on, not to fit to; repeat it."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="YAML file for the intervals, as randomization ranges.")
    ] = None,
    preset: Annotated[
        str, typer.Option(help="For --output: where everything else is drawn from, say train.")
    ] = "nominal",
    json_file: JsonFile = None,
    max_iterations: Annotated[int, typer.Option(help="Of each search.")] = Settings.max_iterations,
    joint_topic: JointTopic = rosbag.BagTopics.joint_states,
    command_topic: CommandTopic = rosbag.BagTopics.command,
) -> None:
    """Fit joint damping, dry friction, servo stiffness and command latency to logs of a robot.

    Give logs in which every joint moves, slowly and fast (`record --motion excitation` makes such
    ones). `--json` keeps the estimates, which `--variant identified:FILE.json` of other commands
    takes; `--output` keeps the intervals as ranges, with `--preset train` beside those of all that
    logs do not tell (light, surfaces, cameras, words, ...).
    """
    if preset not in PRESETS:
        raise UserError(f"preset: expected one of {', '.join(PRESETS)}, got {preset!r}")
    if preset != "nominal" and output is None:
        raise UserError(f"preset {preset}: nothing to write it to; give --output FILE.yaml")
    settings = Settings(max_iterations=max_iterations)
    given = [*_named("LOG", logs), *_named("held-out", held_out or [])]
    check_writable(json_file, others=[*given, ("output", output)])
    check_writable(output, "output", given)
    topics = rosbag.BagTopics(joint_topic, command_topic)
    read = read_logs(logs, topics)
    held = read_logs(held_out or [], topics)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("fitting", total=None)

        def show(number: int, rmse_rad: float) -> None:
            text = f"iteration {number}: {1e3 * rmse_rad:.2f} mrad"
            bar.update(task, description=text)

        result = fit(read, held, settings, show)
    console = Console(highlight=False)
    if not result.converged:
        console.print(
            f"not every search ended within {max_iterations} iterations: estimates and intervals "
            "are provisional; raise --max-iterations", style="yellow", soft_wrap=True,
        )  # fmt: skip
    console.print(_parameter_table(result.as_json()))
    gaps = {"fit, nominal": result.before, "fit, identified": result.after}
    if result.held_out_before is not None and result.held_out_after is not None:
        gaps |= {
            "held out, nominal": result.held_out_before,
            "held out, identified": result.held_out_after,
        }
    console.print(_gap_table(gaps, "tracking gap"))
    summary = {"logs": _names(read), "held_out_logs": _names(held), **result.as_json()}
    for kind in ("fit", "held_out"):
        if summary[kind]:
            closed = summary[kind]
            console.print(
                f"{kind.replace('_', ' ')}: {_percent(closed['closed_joints'])} of the joints' gap "
                f"and {_percent(closed['closed_tool'])} of the tool's are closed"
            )
    if output is not None:
        about = f"identified from {', '.join(_names(read)[:3])}{' ...' if len(read) > 3 else ''}"
        write_ranges(output, result, about, preset)
    write_result(json_file, summary)


@command.command()
def compare(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="One row for each policy.")],
    json_file: JsonFile = None,
    episodes: Annotated[
        int | None, typer.Option(help="Behind every rate for which the file gives no number.")
    ] = None,
    draws: Annotated[int, typer.Option(help="Of the bootstrap.")] = Bootstrap.draws,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = Bootstrap.seed,
    plot: Annotated[Path | None, typer.Option(help="PNG file for a scatter plot.")] = None,
) -> None:
    """Do success rates in simulation predict those on the robot? At least three policies.

    Columns, found by name: policy, simulation, real (rates from 0 to 1) and, for intervals,
    simulation_episodes and real_episodes. MMRV as in SIMPLER (arXiv 2405.05941): pairs that
    simulation ranks wrongly weigh as much as their *real* rates differ; 0 is best.
    """
    check_writable(json_file, others=[("FILE.csv", file), ("plot", plot)])
    check_writable(plot, "plot", [("FILE.csv", file)])
    rates = read_rates(file, episodes)
    result = compare_rates(rates, Bootstrap(draws, seed))
    console = Console(highlight=False)
    table = Table(title=f"{result['policies']} policies")
    for heading in ("figure", "value", f"{result['confidence']:.0%} interval"):
        table.add_column(heading, justify="left" if heading == "figure" else "right")
    for name, key in (("Pearson's r", "pearson_r"), ("Spearman's rho", "spearman_rho"),
                      ("MMRV", "mmrv")):  # fmt: skip
        table.add_row(name, _number(result[key]), _interval(result[f"{key}_interval"]))
    table.add_row(
        "r, over policies", _number(result["pearson_r"]),
        _interval(result["pearson_r_interval_over_policies"]),
    )  # fmt: skip
    console.print(table)
    for key, reason in result["reasons"].items():
        console.print(f"{key}: {reason}", markup=False, style="yellow", soft_wrap=True)
    if plot is not None:
        from sim.sim2real.plot import plot_rates

        plot_rates(plot, rates, result)
    write_result(json_file, result)


@command.command("record")
def record_logs(
    output: Annotated[Path, typer.Option(help="Folder; a rosbag2 for each log, or a dataset.")],
    logs: Annotated[int, typer.Option(min=1, help="How many.")] = 3,
    variant: Annotated[str, typer.Option(help="The world; `stand-in` stands for a robot.")] = (
        Recording.variant
    ),
    motion: Annotated[str, typer.Option(help=f"One of {', '.join(MOTIONS)}.")] = Recording.motion,
    env: Annotated[str, typer.Option(help=f"For the expert: {', '.join(ENV_IDS)}.")] = (
        Recording.env_id
    ),
    format_: Annotated[
        str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")
    ] = "mcap",
    seed: Annotated[int, typer.Option(help="Of the first log.")] = Recording.seed,
    duration_s: Annotated[float, typer.Option(help="Of an excitation.")] = Recording.duration_s,
    rate_hz: Annotated[float, typer.Option(help="Of the joint states.")] = Recording.rate_hz,
    camera: Annotated[
        list[str] | None,
        typer.Option(help=f"Record images at 10 Hz (rosbag2 only): {', '.join(CAMERAS)}."),
    ] = None,
) -> None:
    """Record logs of a simulated world in the formats a robot's come in."""
    if format_ not in FORMATS:
        raise UserError(f"format: expected one of {', '.join(FORMATS)}, got {format_!r}")
    if camera and format_ == "lerobot":
        raise UserError("camera: only rosbag2 logs have images; `vla-ros collect` writes datasets")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"output {output} already exists; choose another or remove it")
    check_outside(output)
    recording = Recording(
        variant=variant, motion=motion, env_id=env, seed=seed, duration_s=duration_s,  # type: ignore[arg-type]
        rate_hz=rate_hz, cameras=tuple(camera or ()),
    )  # fmt: skip
    incomplete = output.with_name(f".{output.name}.incomplete")
    shutil.rmtree(incomplete, ignore_errors=True)
    made: list[Log] = []
    try:
        with Progress(console=Console(stderr=True)) as bar:
            for index in bar.track(range(logs), description="recording"):
                log, images = record(recording, index)
                made.append(log)
                if format_ != "lerobot":
                    by_topic = {f"/{name}/image_raw": frames for name, frames in images.items()}
                    rosbag.write_bag(incomplete / log.name, log, format_, by_topic)  # type: ignore[arg-type]
        if format_ == "lerobot":
            write_dataset(incomplete, made, int(rate_hz))
        if output.exists():
            output.rmdir()  # empty, as checked above
        incomplete.rename(output)
    finally:
        shutil.rmtree(incomplete, ignore_errors=True)
    told = outcomes(made)
    text = f", {told['successes']} of {told['episodes']} succeeded" if told["episodes"] else ""
    Console().print(f"{len(made)} logs, {sum(log.duration_s for log in made):.0f} s{text}")


def _named(option: str, paths: Sequence[Path]) -> list[tuple[str, Path]]:
    return [(option, path) for path in paths]


def _names(logs: Sequence[Log]) -> list[str]:
    return [log.name for log in logs]


def _gap_table(gaps: dict[str, Gap], title: str) -> Table:
    table = Table(title=f"{title}: RMSE (maximum)")
    table.add_column("")
    for name in gaps:
        table.add_column(name, justify="right")
    for joint, name in enumerate(robot.JOINT_NAMES):
        table.add_row(f"{name}, mrad", *(
            f"{1e3 * gap.joint_rmse_rad[joint]:.2f} ({1e3 * gap.joint_max_rad[joint]:.1f})"
            for gap in gaps.values()
        ))  # fmt: skip
    table.add_row("all joints, mrad", *(f"{1e3 * gap.rmse_rad:.2f}" for gap in gaps.values()))
    table.add_row("tool, mm", *(
        f"{1e3 * gap.tool_rmse_m:.2f} ({1e3 * gap.tool_max_m:.1f})" for gap in gaps.values()
    ))  # fmt: skip
    table.add_row("tool, mrad", *(
        f"{1e3 * gap.tool_rmse_rad:.2f} ({1e3 * gap.tool_max_rad:.1f})" for gap in gaps.values()
    ))  # fmt: skip
    table.add_row("lag, ms", *(_milliseconds(gap.lag_s) for gap in gaps.values()))
    return table


def _parameter_table(result: dict[str, Any]) -> Table:
    table = Table(title="parameters; grey: the logs tell little, the prior speaks")
    for heading in ("parameter", "nominal", "estimate", f"{result['confidence']:.0%} interval"):
        table.add_column(heading, justify="left" if heading == "parameter" else "right")
    for row in result["parameters"]:
        table.add_row(
            row["name"].replace("[", r"\["), f"{row['nominal']:.4g}", f"{row['estimate']:.4g}",
            f"{row['low']:.4g} to {row['high']:.4g}", style="" if row["told_by_logs"] else "dim",
        )  # fmt: skip
    return table


def _milliseconds(value_s: float | None) -> str:
    return "-" if value_s is None else f"{1e3 * value_s:.0f}"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _interval(value: Sequence[float] | None) -> str:
    return "-" if value is None else f"{value[0]:.3f} to {value[1]:.3f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
