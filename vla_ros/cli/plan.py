"""`vla-ros plan`: a long instruction as steps, shown or carried out in simulation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from policies.factory import load_policy
from sim import check_env_ids, task_name
from sim.env import TabletopEnv
from vla_ros.cli._output import check_writable, write_result
from vla_ros.errors import UserError
from vla_ros.task_planning.choose import API_KEY, choose_task_planner
from vla_ros.task_planning.executive import Executive, ExecutiveSettings
from vla_ros.task_planning.simulated import carry_out, expert_of, scene_names
from vla_ros.task_planning.step import Step


def command(
    instruction: Annotated[str, typer.Argument(help="What to do, in one or more sentences.")],
    scene: Annotated[
        list[str], typer.Option(help="A thing on the table, like 'red cube'; repeat it.")
    ] = [],  # noqa: B006
    env: Annotated[
        str | None, typer.Option(help="Instead of --scene: the things of this environment.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the --env's episode.")] = 0,
    language_model: Annotated[
        str, typer.Option(help=f"http(s)://.../v1 (key: {API_KEY}) or a transformers folder.")
    ] = "",
    model: Annotated[str, typer.Option(help="Name of the server's model.")] = "",
    timeout_s: Annotated[float, typer.Option(help="Of the server's answer.", min=0.1)] = 60.0,
    policy: Annotated[
        str | None,
        typer.Option(help="Carry the steps out in --env with this policy; also: expert."),
    ] = None,
    step_timeout_s: Annotated[
        float, typer.Option(help="Simulated; a step that takes longer has failed.")
    ] = ExecutiveSettings.step_timeout_s,
    attempts: Annotated[int, typer.Option(help="Of a step.")] = ExecutiveSettings.attempts,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write steps and progress to this file.")
    ] = None,
) -> None:
    """Break a long instruction into the tasks' own steps; with --policy, do them in simulation.

    Without --language-model a grammar does it, offline: the tasks' phrases joined by "then", "all",
    "it", "clear the table". What a language model says is read by the same grammar, or refused.
    """
    check_writable(json_file, others=[("env", env)])
    if policy is not None and env is None:
        raise UserError("policy: expected --env with it, in which to act")
    if env is not None and scene:
        raise UserError("scene: expected --scene or --env, got both")
    settings = ExecutiveSettings(step_timeout_s, attempts)
    planner = choose_task_planner(language_model, model, timeout_s)
    acting = None if policy in (None, "expert") else load_policy(policy)
    world = None
    if env is not None:
        check_env_ids((env,))
        cameras = () if acting is None else tuple(acting.cameras)
        world = TabletopEnv(task_name(env), cameras=cameras)
        world.reset(seed=seed)
    names = tuple(scene) if world is None else scene_names(world)
    steps = planner.plan(instruction, names)
    console = Console(highlight=False)
    _show(console, steps)
    result: dict[str, Any] = {
        "instruction": instruction,
        "scene": list(names),
        "steps": [step.described() for step in steps],
    }
    if world is not None and policy is not None:
        executive = carry_out(
            world, steps, acting or expert_of(world), settings, lambda now: _tell(console, now)
        )
        world.close()
        result["progress"] = executive.progress()
    write_result(json_file, result)
    if result.get("progress", {}).get("status") == "failed":
        raise typer.Exit(1)


def _show(console: Console, steps: tuple[Step, ...]) -> None:
    for number, step in enumerate(steps, start=1):
        console.print(f"{number}. {step.instruction}  [dim]({step.task})[/dim]")


def _tell(console: Console, executive: Executive) -> None:
    about = f"step {executive.index + 1} of {len(executive.steps)}, attempt {executive.attempt}"
    why = f": {executive.reason}" if executive.reason else ""
    console.print(f"{executive.status}: {about}{why}")
