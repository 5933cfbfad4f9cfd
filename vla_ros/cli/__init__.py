"""The `vla-ros` command: one file per subcommand, imported only when that subcommand runs.

Convention: `vla_ros/cli/<name>.py` (dashes become underscores) has a function `command` whose
parameters are annotated with `typer.Option` / `typer.Argument`, or, where it has subcommands of its
own, a `typer.Typer` of that name; its line in `COMMANDS` below is its one-line help. The module is
imported only when its command is chosen, so it may import what it likes at its top;
`vla-ros --help` imports none of them.

What the user can mend is raised as `vla_ros.errors.UserError` (or any `ValueError` or `OSError`):
it is printed as one red line and the exit status is 2. `typer.Exit(code)` ends with another status.
`VLA_ROS_TRACEBACK=1` shows the traceback instead.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import typer

from vla_ros.errors import UserError

COMMANDS = {
    "demo": "Run the whole graph over ROS 2 and watch the arm follow instructions.",
    "doctor": "Check ROS, rendering, cameras, torch and the checkpoint, each with its mend.",
    "watch": "Show on a local page what a running graph does; with a token, stop it.",
    "evaluate": "Measure a policy's success rate in simulation, without ROS.",
    "compare": "Compare two evaluations of the same episodes, paired.",
    "serve": "Offer a policy to robots elsewhere, over a websocket.",
    "verify-checkpoint": "Replay a checkpoint's expected outputs, each figure with its tolerance.",
    "scene": "Check a scene file: what it says, whether it fits, what it looks like.",
    "collect": "Record a task's expert as a LeRobotDataset.",
    "record": "Record episodes of a running robot as a LeRobotDataset.",
    "convert": "Convert a rosbag2 of any robot to a LeRobotDataset.",
    "pretrain": "Teach the vision towers to see in simulation.",
    "train": "Train a policy from a LeRobotDataset.",
    "finetune": "Adapt a policy to your own demonstrations, with LoRA or in full.",
    "merge": "Write an adapter and its base as one checkpoint.",
    "plan": "Break a long instruction into the tasks' own steps, and carry them out in simulation.",
    "sim2real": "Measure the gap to a robot: replay, identify, compare rates; record logs.",
    "world-model": "Train, measure and watch a model that imagines what actions lead to.",
}
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130  # the shell's convention: 128 + SIGINT


def build_app(chosen: str | None = None) -> typer.Typer:
    """The command line in which only the chosen command's module has been imported."""
    app = typer.Typer(
        name="vla-ros",
        help="Vision-language-action policies and world models on robot arms, over ROS 2.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(lambda: None)  # keeps subcommands even when there is only one
    for name, help_line in COMMANDS.items():
        command = load_command(name) if name == chosen else _not_loaded
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, help=help_line)
        else:
            app.command(name, help=None if name == chosen else help_line)(command)
    return app


def load_command(name: str) -> Callable[..., Any] | typer.Typer:
    """The `command` of a subcommand's module."""
    module_name = f"vla_ros.cli.{name.replace('-', '_')}"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name:
            raise UserError(
                f"{name} needs the Python module {error.name!r}, which is not installed; "
                "`make setup` installs everything"
            ) from error
        raise UserError(f"the command {name!r} is not part of this installation") from error
    return module.command


def _not_loaded() -> None:
    """Stands in for a command that was not chosen."""


def main() -> None:
    """Entry point of `vla-ros`."""
    chosen = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    try:
        build_app(chosen)()
    except (UserError, ValueError, OSError) as error:
        if os.environ.get("VLA_ROS_TRACEBACK"):
            raise
        fail(error)
    except SystemExit as end:
        if end.code == EXIT_INTERRUPTED:  # typer catches Ctrl-C itself and says nothing
            typer.secho("interrupted", fg=typer.colors.YELLOW, err=True)
        raise
    except KeyboardInterrupt:
        typer.secho("interrupted", fg=typer.colors.YELLOW, err=True)
        sys.exit(EXIT_INTERRUPTED)


def fail(error: Exception) -> None:
    """Print an error as one red line and exit."""
    text = " ".join(str(error).split()) or type(error).__name__
    typer.secho(f"error: {text}", fg=typer.colors.RED, err=True)
    sys.exit(EXIT_USER_ERROR)
