"""`vla-ros evaluate --world`: a policy in an environment of other people's making."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from sim.parallel import WorkerError
from sim.worlds import World, load_world
from sim.worlds.evaluation import WorldEvaluation, evaluate, summarize
from vla_ros.cli._evaluation import EpisodeBar
from vla_ros.errors import UserError

ELSEWHERE = "is for this project's own environments"


def refuse(options: dict[str, bool]) -> None:
    """Raise `UserError` for the first of the options given that means nothing in a world."""
    for name, given in options.items():
        if given:
            raise UserError(f"{name}: {ELSEWHERE}, and --world is another; give one of the two")


def measure(world: Path, **settings: Any) -> dict[str, Any]:
    """Run all episodes with a bar. `settings` are those of `WorldEvaluation`."""
    config = load_world(world)
    evaluation = WorldEvaluation(world=config, **settings)
    World(config).close()  # whatever is wrong with the file is said before a policy is loaded
    if config.action.dropped:
        typer.secho(
            f"note: {config.env} has no use for {', '.join(config.action.dropped)} of an action",
            fg=typer.colors.YELLOW,
            err=True,
        )
    results = []
    try:
        with EpisodeBar(evaluation.episodes) as bar:
            for result in evaluate(evaluation):
                bar.add(result)
                results.append(result)
    except WorkerError as error:
        raise UserError(str(error)) from error
    return {"world": str(world), **summarize(evaluation, results)}
