"""`vla-ros record`: episodes of a running robot as a LeRobotDataset."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sim.scene import CAMERAS
from vla_ros.cli._output import check_folder
from vla_ros.graph import shared_environment
from vla_ros.processes import parameter_words
from vla_ros.recording.settings import Settings


def command(
    output: Annotated[Path, typer.Argument(help="Folder of the dataset; one there is continued.")],
    cameras: Annotated[
        str, typer.Option(help="Separated by commas; the first sets the instants of the rows.")
    ] = ",".join(CAMERAS),
    rate: Annotated[int, typer.Option(help="Rows a second.")] = Settings.rate_hz,
    episodes: Annotated[int, typer.Option(min=0, help="End after so many; 0: with Ctrl-C.")] = 0,
    max_gap: Annotated[
        float, typer.Option(help="Throw episodes away that lack a stream for longer [s].")
    ] = Settings.max_gap_s,
    robot_type: Annotated[str, typer.Option(help="What the dataset calls the robot.")] = "fr3",
) -> None:
    """Record the topics of a running robot, episode by episode, as a LeRobotDataset.

    An episode lasts from an /instruction that is not empty to the next, or to the empty one. Tell
    how it went on /episode/success (std_msgs/Bool) before it ends; then the same instruction is the
    next one, too. /recorder/discard (std_srvs/Trigger) and /emergency_stop throw it away. Finished
    episodes survive a kill and a full disk.
    """
    names = tuple(name.strip() for name in cameras.split(",") if name.strip())
    Settings(names, rate, max_gap)  # what is wrong is said before anything starts
    check_folder(output if output.exists() else output.parent, dataset=output.exists())
    for name, value in shared_environment().items():  # before rclpy reads them
        os.environ.setdefault(name, value)
    _run(output, names, rate, episodes, max_gap, robot_type)


def _run(
    output: Path,
    cameras: tuple[str, ...],
    rate_hz: int,
    episodes: int,
    max_gap_s: float,
    robot_type: str,
) -> None:
    from vla_ros.recorder_node import RecorderNode
    from vla_ros.runtime import command_session, spin_while

    console = Console(highlight=False, soft_wrap=True)
    parameters = {
        "output": str(output),
        "cameras": list(cameras),
        "rate_hz": rate_hz,
        "max_gap_s": float(max_gap_s),
        "robot_type": robot_type,
    }
    recorder = None
    with command_session(["--ros-args", *parameter_words(parameters)]):
        node = RecorderNode(on_event=lambda text: console.print(text, markup=False))
        recorder = node.recorder
        try:
            console.print(f"Recording {', '.join(cameras)} to {output}; Ctrl-C ends", style="dim")
            spin_while(node, lambda: not episodes or recorder.recorded < episodes)
        finally:
            node.destroy_node()
    if recorder is None:
        return
    thrown = f", {recorder.discarded} thrown away" if recorder.discarded else ""
    console.print(f"{output}: {recorder.recorded} episodes recorded{thrown}", markup=False)
