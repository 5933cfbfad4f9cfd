"""`vla-ros scene`: look at a scene file before anything is run in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml
from gymnasium.utils import seeding
from rich.console import Console
from rich.table import Table

from sim.env import TabletopEnv
from sim.scenes import DescribedTask, read_description
from sim.scenes.reach import shortfall
from vla_ros.cli._output import check_writable
from vla_ros.errors import UserError

PICTURE_SIZE_PX = 448
command = typer.Typer(no_args_is_help=True)


@command.callback()
def about() -> None:
    """Scene files describe objects, where they are and what is to be done; see docs/scenes.md."""


@command.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml")],
    seed: Annotated[int, typer.Option(min=0, help="Of the episode that is shown.")] = 0,
    draws: Annotated[int, typer.Option(min=1, help="Episodes that must fit, from --seed on.")] = 20,
    picture: Annotated[
        Path | None, typer.Option(help="PNG file for the front camera's image of it.")
    ] = None,
) -> None:
    """Print what a scene file says with every default, and whether its layouts fit.

    A layout that overlaps or that the arm cannot reach is refused with the reason.
    """
    if picture is not None and picture.suffix.lower() != ".png":
        raise UserError(f"picture: expected a .png file, got {picture}")
    check_writable(picture, "picture", [("FILE.yaml", file)])
    task = DescribedTask(read_description(file))
    console = Console(highlight=False)
    content = yaml.safe_dump(
        dict(task.description.plain), sort_keys=False, width=100, default_flow_style=None
    )
    console.print(content, markup=False, soft_wrap=True)
    for each in range(seed, seed + draws):
        task.sample(seeding.np_random(each)[0])
    env = TabletopEnv(str(file), cameras=(), image_size_px=PICTURE_SIZE_PX)
    try:
        env.reset(seed=seed)
        console.print(_places(env, task, seed))
        console.print(f"{draws} of {draws} seeds draw a layout that fits")
        for path in task.without_expert:
            console.print(f"{path}: this predicate has no expert", style="yellow")
        if picture is not None:
            _draw(env, picture)
    finally:
        env.close()


def _places(env: TabletopEnv, task: DescribedTask, seed: int) -> Table:
    """Where the tool has to get in this episode, and by how much the arm stays away."""
    world, episode = env.running()
    table = Table(title=f"seed {seed}: {episode.instruction}", box=None, padding=(0, 1))
    for heading in ("the fingers at", "x, m", "y", "z", "short, mm", "tilt, deg"):
        table.add_column(heading, justify="left" if heading == "the fingers at" else "right")
    for words, name, position in task.places(world, episode):
        short_m, tilt_rad = shortfall(env.kinematics, position)
        spot = (f"{value:.3f}" for value in position)
        table.add_row(words + name, *spot, f"{1e3 * short_m:.1f}", f"{57.3 * tilt_rad:.1f}")
    return table


def _draw(env: TabletopEnv, path: Path) -> None:
    from PIL import Image

    world, _ = env.running()
    image = world.render("front", PICTURE_SIZE_PX, PICTURE_SIZE_PX)
    Image.fromarray(image).save(path)
    typer.echo(f"picture: {path}")
