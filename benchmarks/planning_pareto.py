"""What decoding with more steps, or token by token, brings a planner: success against time.

    python benchmarks/planning_pareto.py --policy openvla-mini --env VlaRos/PickPlace-v0 \
        --episodes 40 --json outputs/pareto.json --plot outputs/pareto.png

One planner without a deadline on the same seeds, each time decoding otherwise: success depends on
the seeds alone, the time of a decision on the machine. Killed, it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from sim.evaluation import Evaluation, evaluate_kept, write_json
from sim.evaluation.compare import compare
from sim.evaluation.journal import checkpoint_of
from sim.evaluation.provenance import fingerprint, machine, versions
from vla_ros.errors import UserError
from vla_ros.planners import PlannerChoice
from world_models.checkpoint import DEFAULT_WORLD_MODEL, world_model_folder
from world_models.planning.settings import MODES
from world_models.plots import pareto_front

ALONE, IN_TURN = "alone", "token by token"
STEPS = (1, 2, 4, 8, 16)


def evaluations(options: argparse.Namespace) -> dict[str, Evaluation]:
    """The policy alone, and the planner for every way to decode."""
    ways: dict[str, dict[str, Any]] = {
        f"K = {steps}": {"decode_steps": steps} for steps in options.steps or STEPS
    }
    ways[IN_TURN] = {"autoregressive": True}
    planners: dict[str, PlannerChoice | None] = {ALONE: None}
    for name, way in ways.items():
        planners[name] = PlannerChoice(
            options.planner,
            world_model=options.world_model,
            candidates=options.candidates,
            **way,
        )
    return {
        name: Evaluation(
            policy=options.policy,
            env_ids=tuple(options.env),
            episodes=options.episodes,
            seed=options.seed,
            workers=options.workers,
            planner=planner,
        )
        for name, planner in planners.items()
    }


def row_of(name: str, result: dict[str, Any], alone: dict[str, Any]) -> dict[str, Any]:
    """What is reported of one way to decode."""
    paired = None if name == ALONE else compare(alone, result)
    return {
        "decoding": name,
        **{key: result[key] for key in ("episodes", "success_rate", "wilson_low", "wilson_high")},
        "decision_ms": result.get("planning_ms", result["policy_latency_ms"]),
        **{
            key: None if paired is None else paired[key]
            for key in ("difference", "difference_low", "difference_high", "mcnemar_p")
        },
    }


def show(rows: list[dict[str, Any]]) -> None:
    table = Table(box=None, padding=(0, 1))
    table.add_column("decoding", no_wrap=True)
    for heading in ("n", "success (95 %)", "difference", "p", "decision p50, p99 [ms]"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        difference = p = "-"
        if row["difference"] is not None:
            low, high = 100 * row["difference_low"], 100 * row["difference_high"]
            difference = f"{100 * row['difference']:+.1f} ({low:+.0f} to {high:+.0f})"
            p = f"{row['mcnemar_p']:.2g}"
        low, high = 100 * row["wilson_low"], 100 * row["wilson_high"]
        table.add_row(
            row["decoding"], str(row["episodes"]),
            f"{row['success_rate']:.1%} ({low:.0f}-{high:.0f})", difference, p,
            f"{row['decision_ms']['p50']:.0f}, {row['decision_ms']['p99']:.0f}",
        )  # fmt: skip
    Console(width=100, highlight=False).print(table)


def draw(file: Path, rows: list[dict[str, Any]]) -> None:
    """Success with its interval against the time of a decision; a line along what nothing beats."""
    figure = Figure((5.2, 3.6), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    times = [row["decision_ms"]["p50"] for row in rows]
    rates = [100 * row["success_rate"] for row in rows]
    for row, time_ms, rate in zip(rows, times, rates, strict=True):
        low, high = 100 * row["wilson_low"], 100 * row["wilson_high"]
        axes.errorbar(
            [time_ms], [rate], [[rate - low], [high - rate]], fmt="o", capsize=3, color="#0072b2"
        )
        axes.annotate(
            row["decoding"], (time_ms, rate), (1, 6), textcoords="offset points", fontsize=8,
            rotation=35,
        )  # fmt: skip
    front = pareto_front(times, rates)
    axes.plot(
        [times[index] for index in front], [rates[index] for index in front], color="#7f7f7f", lw=1
    )
    axes.set(xscale="log", xlabel="time of a decision, p50 [ms]", ylabel="success [%]")
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(top=112)  # room for the names
    axes.set_yticks([tick for tick in axes.get_yticks() if tick <= 100])
    axes.grid(color="#ddd", linewidth=0.6)
    figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", required=True, help="name or folder of a checkpoint")
    parser.add_argument("--world-model", default=DEFAULT_WORLD_MODEL, help="a name or folder")
    parser.add_argument("--planner", choices=MODES, default="gate")
    parser.add_argument("--env", action="append", required=True, help="repeat it")
    parser.add_argument("--episodes", type=int, default=40, help="for each environment")
    parser.add_argument("--seed", type=int, default=Evaluation.seed)
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--steps", type=int, action="append", help="of decoding; repeat it")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path, required=True, help="file for the results")
    parser.add_argument("--plot", type=Path, help="a PNG")
    options = parser.parse_args()
    names = ("policy", "world_model", "planner", "env", "episodes", "seed", "candidates", "workers")
    file: Path = options.json
    try:
        planned = evaluations(options)
        settings = {
            **{name: getattr(options, name) for name in names},
            "checkpoint": checkpoint_of(options.policy),
            "model": fingerprint(str(world_model_folder(options.world_model))),
            "machine": machine(),
            "versions": versions(),
        }
    except (UserError, ValueError, OSError) as error:  # before anything runs
        parser.error(str(error))
    done: dict[str, Any] = (
        json.loads(file.read_text()) if file.exists() else {"settings": settings, "results": {}}
    )
    if done["settings"] != settings:
        others = {name: done["settings"].get(name) for name in settings}
        differ = [name for name, value in settings.items() if others[name] != value]
        told = "; ".join(f"{name} {others[name]}, not {settings[name]}" for name in differ)
        parser.error(f"{file} was made with {told or 'other settings'}; choose another --json")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, done)  # what is begun with other settings is refused from now on
    for name, evaluation in planned.items():
        if name in done["results"]:
            continue
        print(f"{name} ...", flush=True)
        part = file.with_name(f"{file.name}.{name.replace(' ', '')}")
        done["results"][name] = evaluate_kept(evaluation, part)
        write_json(file, done)
    results = {name: done["results"][name] for name in planned}
    rows = [row_of(name, result, results[ALONE]) for name, result in results.items()]
    write_json(file, {**done, "rows": rows})
    show(rows)
    if options.plot is not None:
        draw(options.plot, rows)


if __name__ == "__main__":
    main()
