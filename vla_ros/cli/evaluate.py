"""`vla-ros evaluate`: a policy's success rate in simulation, without ROS."""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from policies.factory import DTYPES, QUANTIZATIONS, check_device, check_policy
from policies.remote.settings import is_remote
from sim import ENV_IDS
from sim.evaluation import Evaluation, Timing, evaluate_all
from sim.evaluation.journal import Journal
from sim.evaluation.report import Report
from sim.evaluation.settings import BACKENDS
from sim.evaluation.summary import condition_label
from sim.evaluation.timing import LATE_CHUNKS
from sim.evaluation.work import Done
from sim.parallel import WorkerError
from sim.policies import NOISY, SCRIPTED, split_noise
from sim.variants import VARIANTS, variant_file
from vla_ros.cli._evaluation import EpisodeBar, planning_line, result_table
from vla_ros.cli._output import check_outside, check_writable, made_with, write_result
from vla_ros.cli._worlds import measure, refuse
from vla_ros.errors import UserError
from vla_ros.planners import LEARNED_GAIN, MUJOCO, PLANNERS, PlannerChoice, choose_planner
from world_models.checkpoint import DEFAULT_WORLD_MODEL


def command(
    policy: Annotated[
        str,
        typer.Option(
            help=f"Name or folder of a checkpoint; also: {', '.join(SCRIPTED)}; "
            f"{NOISY}LEVEL:POLICY shakes by LEVEL cm."
        ),
    ],
    env: Annotated[
        list[str],
        typer.Option(
            help=f"One of {', '.join(ENV_IDS)}, or a .yaml file of a scene; repeat it for an "
            "average."
        ),
    ] = [],  # noqa: B006  typer reads it and makes a new one
    world: Annotated[
        Path | None,
        typer.Option(help="Instead of --env: a YAML file of another environment, docs/worlds.md."),
    ] = None,
    episodes: Annotated[int, typer.Option(help="For each --env.")] = Evaluation.episodes,
    seed: Annotated[int, typer.Option(help="Of the first episode.")] = Evaluation.seed,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result to this file.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted --json run stopped.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Folder for a page with plots and videos of failures.")
    ] = None,
    workers: Annotated[
        int,
        typer.Option(help="Processes, each with the policy.", show_default="CPU cores, 4 at most"),
    ] = min(4, os.cpu_count() or 1),
    backend: Annotated[
        str, typer.Option(help=f"Where the workers are: {', '.join(BACKENDS)} (RAY_ADDRESS).")
    ] = Evaluation.backend,
    blackout: Annotated[bool, typer.Option("--blackout", help="All images black.")] = False,
    swap_instruction: Annotated[
        bool,
        typer.Option("--swap-instruction", help="Name another item of the scene; it must be used."),
    ] = False,
    execute_steps: Annotated[
        int | None,
        typer.Option(min=1, help="Actions of a chunk before looking again.", show_default="all"),
    ] = None,
    delay_ms: Annotated[
        list[float],
        typer.Option(help="Simulated time from an observation to its actions; repeat to sweep."),
    ] = [0.0],  # noqa: B006  typer reads it and makes a new one
    realtime: Annotated[
        bool, typer.Option("--realtime", help="The world moves on while the policy computes.")
    ] = False,
    late_chunks: Annotated[
        list[str],
        typer.Option(help=f"What a late chunk becomes: {', '.join(LATE_CHUNKS)}; repeat for both."),
    ] = ["align"],  # noqa: B006
    asynchronous: Annotated[
        bool, typer.Option("--asynchronous", help="Look again while a chunk is executed.")
    ] = False,
    device: Annotated[str, typer.Option(help="Of the policy: cpu or cuda.")] = Evaluation.device,
    dtype: Annotated[
        str, typer.Option(help=f"What the policy computes in: {', '.join(DTYPES)}.")
    ] = Evaluation.dtype,
    quantize: Annotated[
        str | None, typer.Option(help=f"The policy's weights: {', '.join(QUANTIZATIONS)}.")
    ] = None,
    unnorm_key: Annotated[
        str | None,
        typer.Option(help="Whose statistics un-normalize the actions.", show_default="the only"),
    ] = None,
    video: Annotated[Path | None, typer.Option(help="Folder for an mp4 of every episode.")] = None,
    planner: Annotated[
        str | None,
        typer.Option(help=f"Plan around the policy: {', '.join(PLANNERS)}, docs/planning.md."),
    ] = None,
    world_model: Annotated[
        str | None,
        typer.Option(
            help=f"What a planner imagines with: a name or folder, or {MUJOCO} itself.",
            show_default=DEFAULT_WORLD_MODEL,
        ),
    ] = None,
    deadline_ms: Annotated[
        float | None,
        typer.Option(help="Of a planner's decision, the policy's time included.", min=1.0),
    ] = None,
    horizon: Annotated[
        int | None,
        typer.Option(min=1, help="Actions a planner looks ahead.", show_default="the model's"),
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(help="Of a planner's round.", show_default=f"{PlannerChoice.candidates}"),
    ] = None,
    iterations: Annotated[
        int | None,
        typer.Option(help="Rounds of iCEM.", show_default=f"{PlannerChoice.iterations}"),
    ] = None,
    least_gain: Annotated[
        float | None,
        typer.Option(
            help="Share by which a planner's find must beat the policy's chunk.",
            show_default=f"{LEARNED_GAIN:g}, on {MUJOCO} 0",
        ),
    ] = None,
    patience_s: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="A policy without progress for so long is stuck, and a planner does something "
            "else; 0: never.",
            show_default=f"{PlannerChoice.patience_s:g}",
        ),
    ] = None,
    decode_steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Passes over each frame that a planner imagines.",
            show_default="1 in search, then 4",
        ),
    ] = None,
    autoregressive: Annotated[
        bool, typer.Option("--autoregressive", help="A planner imagines token by token instead.")
    ] = False,
    variant: Annotated[
        list[str], typer.Option(help=f"A changed world: {', '.join(VARIANTS)}; repeat to compare.")
    ] = [Evaluation.variant],  # noqa: B006
) -> None:
    """Measure a policy's success rate in simulation, without ROS.

    Episode i has seed SEED + i; results do not depend on the number of workers. The interval is
    Wilson's, at 95 %. `first_touch_rate` is the share of episodes in which the first item that the
    robot touched is the one named. Several values of --variant, --delay-ms or --late-chunks run all
    combinations on the same seeds. With --realtime or --deadline-ms the result depends on the
    machine.
    """
    others = [
        *(("env", name) for name in env),
        *(("variant", variant_file(name)) for name in variant),
        ("world", world),
        ("report", report),
        ("video", video),
    ]
    check_writable(json_file, others=others)
    for option, folder in (("report", report), ("video", video)):
        if folder is not None:
            check_outside(folder, option)
    chosen = choose_planner(
        planner,
        world_model=world_model,
        deadline_ms=deadline_ms,
        horizon=horizon,
        candidates=candidates,
        iterations=iterations,
        least_gain=least_gain,
        patience_s=patience_s,
        decode_steps=decode_steps,
        autoregressive=autoregressive or None,
        device=device,
    )
    if world is not None:
        begin_s = time.monotonic()
        refuse(
            {
                "env": bool(env),
                "report": report is not None,
                "resume": resume,
                "video": video is not None,
                "backend": backend != Evaluation.backend,
                "blackout": blackout,
                "swap-instruction": swap_instruction,
                "delay-ms": delay_ms != [0.0],
                "realtime": realtime,
                "late-chunks": late_chunks != ["align"],
                "asynchronous": asynchronous,
                "variant": variant != [Evaluation.variant],
                "planner": planner is not None,
            }
        )
        summary = measure(
            world,
            policy=policy,
            episodes=episodes,
            seed=seed,
            device=device,
            dtype=dtype,
            quantization=quantize,
            unnorm_key=unnorm_key,
            execute_steps=execute_steps,
            workers=workers,
        )
        summary["made_with"] = made_with(time.monotonic() - begin_s)
        Console().print(result_table(policy, summary))
        write_result(json_file, summary)
        return
    conditions = [
        (name, timing)
        for name, delay, late in product(variant, delay_ms, late_chunks)
        # Without a delay nothing is late: one way of executing it is enough.
        if not (timing := Timing(delay, realtime, late, asynchronous)).frozen  # type: ignore[arg-type]
        or late == late_chunks[0]
    ]
    if len(set(conditions)) < len(conditions):
        raise UserError("variant, delay-ms, late-chunks: expected each value once")
    evaluations = [
        Evaluation(
            policy=policy,
            env_ids=tuple(env),
            episodes=episodes,
            seed=seed,
            blackout=blackout,
            swap_instruction=swap_instruction,
            execute_steps=execute_steps,
            device=device,
            dtype=dtype,
            quantization=quantize,
            workers=workers,
            variant=name,
            unnorm_key=unnorm_key,
            timing=timing,
            backend=backend,
            planner=chosen,
        )
        for name, timing in conditions
    ]
    if video is not None:
        evaluations = [
            replace(each, video_folder=folder)
            for each, folder in zip(evaluations, _video_folders(video, evaluations), strict=True)
        ]
    if resume and json_file is None:
        raise UserError("resume: expected --json with it, beside which the journal lies")
    _, base = split_noise(policy)
    if base not in SCRIPTED:
        check_policy(base, unnorm_key, quantize, dtype)
        if backend == "processes" and not is_remote(base):
            check_device(device)
    page = None if report is None else Report.begin(report, evaluations, keep=resume)
    if (realtime or deadline_ms is not None) and workers > 1:
        typer.secho(
            f"note: {workers} workers share this machine and slow each other; --workers 1 measures "
            "what a robot's computer does",
            fg=typer.colors.YELLOW,
            err=True,
        )
    begin_s = time.monotonic()
    journal = None if json_file is None else Journal.begin(json_file, evaluations, resume)
    try:
        with EpisodeBar(len(evaluations) * len(env) * episodes) as bar:

            def show(done: Done) -> None:
                bar.add(done.result)
                if page is not None:
                    page.add(done)

            summary = evaluate_all(evaluations, show, journal, page is not None)
    except WorkerError as error:
        raise UserError(str(error)) from error
    finally:
        if journal is not None:
            journal.close()
    summary["made_with"] = made_with(time.monotonic() - begin_s)
    console = Console()
    console.print(result_table(policy, summary))
    if planner is not None:
        console.print(planning_line(summary))
    if realtime or deadline_ms is not None:
        console.print("timed: these figures depend on this machine and on what else it does")
    write_result(json_file, summary)
    if journal is not None:
        journal.remove()
    if page is not None:
        console.print(f"report: {page.write(summary)}", soft_wrap=True)


def _video_folders(video: Path, evaluations: list[Evaluation]) -> list[Path]:
    """A folder for each evaluation's videos: the one given, or one in it by condition."""
    if len(evaluations) == 1:
        return [video]
    labels = [condition_label(each) for each in evaluations]
    return [video / re.sub(r"[^\w.-]+", "-", label) for label in labels]
