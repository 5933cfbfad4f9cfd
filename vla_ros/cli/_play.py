"""`vla-ros world-model play`: the imagined robot, driven by hand."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import gymnasium
import typer

import sim  # registers the environments to begin from
from policies.factory import check_device
from policies.openvla.errors import CheckpointError
from sim import video
from sim.files import write_bytes
from vla_ros.cli._output import check_folder, check_writable, write_result
from vla_ros.cli._training import Device
from vla_ros.cli._world_model import DecodeSteps, Model, with_bar
from vla_ros.errors import UserError
from vla_ros.graph import shared_environment
from vla_ros.planners import config_for_this_robot
from vla_ros.playing import Played, Script, Shown, Source, Speeds
from vla_ros.playing import play as play_session
from vla_ros.terminal import Keyboard, Screen
from world_models import IMAGINED_ENV_ID
from world_models.dynamics import Decoding
from world_models.env import ImaginedEnv

DEFAULT_ENV = "VlaRos/PickPlace-v0"


def play(
    model: Model,
    dataset: Annotated[
        list[Path] | None,
        typer.Option(help="Begin from a held-out episode of this LeRobotDataset; may be repeated."),
    ] = None,
    env: Annotated[
        str | None,
        typer.Option(help="Begin from a reset of this environment.", show_default=DEFAULT_ENV),
    ] = None,
    episode: Annotated[
        int | None, typer.Option(help="With --dataset: which of the held-out episodes.")
    ] = None,
    instruction: Annotated[
        str | None, typer.Option(help="What success means, instead of the start's own words.")
    ] = None,
    script: Annotated[
        Path | None,
        typer.Option(help="Keys from a file instead: lines such as `wd 10`, `space`, `. 5`."),
    ] = None,
    joy: Annotated[
        bool, typer.Option("--joy", help="A game controller on /joy instead (needs ROS).")
    ] = False,
    frames: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Frames a second, at most; 0: as fast as it can.",
            show_default="as time passes for the robot; with --script 0",
        ),
    ] = None,
    speed: Annotated[float, typer.Option(help="Of the tool [m/s].")] = Speeds.tool_m_s,
    decode_steps: DecodeSteps = Decoding.steps,
    seed: Annotated[int, typer.Option(help="Of the start and of what is drawn.")] = 0,
    record: Annotated[Path | None, typer.Option(help="Also write a video (.mp4).")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write frames a second and success to this file.")
    ] = None,
    device: Device = "cpu",
) -> None:
    """Drive the imagined robot: nothing is real but the first frame.

    w s: away from the camera and nearer, a d: left and right, e q: up and down, j l: turn, space:
    gripper, [ ]: light, r: another start, x: end. Works in any terminal with 24-bit colors.
    """
    check_device(device)
    check_writable(json_file, others=[("script", script), ("record", record)])
    if record is not None:
        if record.suffix != ".mp4" or record.is_dir():
            raise UserError(f"record: expected a file ending in .mp4, got {record}")
        check_folder(record.parent)
    if script is not None and joy:
        raise UserError("joy: expected either --script or --joy, got both")
    commands = None if script is None else Script(script)
    if commands is None and not joy and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError(
            "play: expected a terminal to read keys from and to draw on, there is none; "
            "give commands with --script FILE or --joy, and --record FILE.mp4 to see what came"
        )
    speeds = Speeds(tool_m_s=speed)
    imagined = _environment(model, dataset, env, decode_steps, device)
    options: dict[str, Any] = {"episode": episode, "instruction": instruction}
    options = {name: value for name, value in options.items() if value is not None}
    usual = 0.0 if commands is not None else imagined.frame_rate_hz
    film = _Film(record, imagined.frame_rate_hz)
    with ExitStack() as stack:
        stack.callback(imagined.close)
        source = commands or (_joystick(stack) if joy else _keyboard(stack))
        screen = None
        if sys.stdout.isatty():
            screen = stack.enter_context(Screen())

        def show(frame: Shown) -> None:
            film.add(frame)
            if screen is not None:
                screen.show(frame)

        rate_hz = usual if fps is None else fps
        played = play_session(imagined, source, show, seed, options, speeds, rate_hz, frames)
    film.finish()
    _report(played, record)
    write_result(json_file, {"model": str(model), "decode_steps": decode_steps, **played.figures()})


def _environment(
    model: Path, dataset: list[Path] | None, env: str | None, decode_steps: int, device: str
) -> ImaginedEnv:
    if dataset and env:
        raise UserError("env: expected either --dataset or --env to begin from, got both")
    if not dataset:
        env = env or DEFAULT_ENV
        if env not in sim.ENV_IDS:
            raise UserError(f"env: expected one of {', '.join(sim.ENV_IDS)}, got {env!r}")
        config_for_this_robot(str(model))
    try:
        made = gymnasium.make(
            IMAGINED_ENV_ID,
            disable_env_checker=True,
            model=model,
            dataset=dataset or None,
            env=env,
            decode_steps=decode_steps,
            device=device,
        )
    except CheckpointError as error:
        raise UserError(f"model: {error}") from error
    except TypeError as error:  # NotGenerativeError
        raise UserError(f"{model}: {error}") from error
    assert isinstance(made.unwrapped, ImaginedEnv)
    return made.unwrapped


def _keyboard(stack: ExitStack) -> Source:
    return stack.enter_context(Keyboard(sys.stdin.fileno()))


def _joystick(stack: ExitStack) -> Source:
    for name, value in shared_environment().items():  # before rclpy reads them
        os.environ.setdefault(name, value)
    from vla_ros.joystick import JoystickNode
    from vla_ros.runtime import command_session

    stack.enter_context(command_session([]))
    node = JoystickNode()
    stack.callback(node.destroy_node)
    return node


class _Film:
    """A video, written when it is whole."""

    def __init__(self, path: Path | None, rate_hz: float) -> None:
        self._path, self._rate_hz = path, max(1, round(rate_hz))
        self._encoder: video.Encoder | None = None

    def add(self, frame: Shown) -> None:
        if self._path is None:
            return
        picture = with_bar(frame.picture, frame.info["success_probability"])
        if self._encoder is None:
            settings = {"crf": str(video.QUALITY_CRF), "preset": video.PRESET}
            height, width = picture.shape[:2]
            self._encoder = video.Encoder(height, width, self._rate_hz, settings, "yuv420p")
        self._encoder.add(picture)

    def finish(self) -> None:
        if self._path is None or self._encoder is None:
            return
        write_bytes(self._path, self._encoder.finish())


def _report(played: Played, record: Path | None) -> None:
    figures = played.figures()
    rate = figures["frames_per_s"]
    text = f"{figures['frames']} frames imagined"
    if rate is not None:
        text += (
            f", {rate:.1f} a second as fast as this machine can "
            f"(p95 {figures['frame_ms_p95']:.0f} ms); "
            f"success predicted up to {100 * figures['success_probability_max']:.0f} %"
        )
    typer.echo(text)
    if record is not None:
        typer.echo(f"wrote {record}")
