"""What planning brings on the suite: the policy alone, best-of-n, gate, iCEM and the oracle.

    python benchmarks/planners.py --policy openvla-mini --world-model runs/wm \
        --env VlaRos/PickPlace-v0 --env VlaRos/Push-v0 --episodes 50 --deadline-ms 200 \
        --json outputs/planners.json

Every planner runs the same seeds, as `vla-ros evaluate --planner` does. The oracle plans on MuJoCo
without a deadline: what a perfect model would give. What is done is kept in the file, and an
unfinished planner's episodes in a journal beside it: the same command goes on where it was stopped.
With a deadline or `--realtime` (the world moves on while policy and planner compute) the figures
depend on the machine: leave it alone meanwhile, with one worker.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sim.evaluation import Evaluation, evaluate_kept, write_json
from sim.evaluation.compare import compare
from sim.evaluation.journal import checkpoint_of
from sim.evaluation.provenance import fingerprint, machine, versions
from sim.evaluation.summary import groups
from sim.evaluation.timing import Timing
from vla_ros.errors import UserError
from vla_ros.planners import MUJOCO, ORACLE, PLANNERS, PlannerChoice
from world_models.checkpoint import DEFAULT_WORLD_MODEL, world_model_folder

ALONE = "alone"
CONDITIONS = (ALONE, *PLANNERS)


def evaluation_of(condition: str, options: argparse.Namespace) -> Evaluation:
    """The policy with this planner. Raises what is wrong with the options."""
    choice = None
    if condition != ALONE:
        simulated = condition == ORACLE
        choice = PlannerChoice(
            condition,
            world_model="" if simulated else options.world_model,
            deadline_ms=None if simulated else options.deadline_ms,
            candidates=options.candidates,
            iterations=options.iterations,
            least_gain=options.least_gain,
            patience_s=options.patience_s,
            decode_steps=None if simulated else options.decode_steps,
            autoregressive=options.autoregressive and not simulated,
            device=options.device,
        )
    return Evaluation(
        policy=options.policy,
        env_ids=tuple(options.env),
        episodes=options.episodes,
        seed=options.seed,
        device=options.device,
        workers=options.workers,
        variant=options.variant,
        planner=choice,
        timing=Timing(realtime=options.realtime),
    )


def rows_of(results: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """For every environment, and for all if there are several, a row for every planner."""
    alone = results[ALONE]
    rows = []
    for name, summary in results.items():
        paired = None if name == ALONE else compare(alone, summary)
        parts = [(part["env"], part) for part in groups(summary)]
        pairs = [None] * len(parts) if paired is None else paired["by_group"]
        rows += [
            _row(env, name, part, pair) for (env, part), pair in zip(parts, pairs, strict=True)
        ]
        if len(parts) > 1:
            rows.append(_row("all", name, summary, paired))
    order = {env: index for index, env in enumerate(dict.fromkeys(row["env"] for row in rows))}
    return sorted(rows, key=lambda row: order[row["env"]])  # stable: planners keep their order


def _row(env: str, name: str, part: dict[str, Any], pair: dict[str, Any] | None) -> dict[str, Any]:
    time_ms = part.get("planning_ms", part["policy_latency_ms"])
    decisions = part.get("decisions")
    counts = {key: part.get(key) for key in ("deadline_misses", "fallbacks", "holds", "recoveries")}
    rate = {key: part[key] for key in ("episodes", "success_rate", "wilson_low", "wilson_high")}
    keys = ("difference", "difference_low", "difference_high", "mcnemar_p")
    return {
        "env": env,
        "planner": name,
        **rate,
        **{key: None if pair is None else pair[key] for key in keys},
        # Alone, a decision is a call of the policy.
        "decisions_per_s": part.get("decisions_per_s", 1e3 / time_ms["p50"]),
        "decision_ms": time_ms,
        "decisions": decisions,
        **counts,
        "miss_share": counts["deadline_misses"] / decisions if decisions else None,
    }


def show(rows: list[dict[str, Any]]) -> None:
    table = Table(box=None, padding=(0, 1))
    for heading in ("environment", "planner"):
        table.add_column(heading, no_wrap=True)
    for heading in (
        "n", "success (95 %)", "difference", "p", "1/s", "p50/p99 ms", "misses", "fallbacks",
    ):  # fmt: skip
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        difference = p = misses = fallbacks = "-"
        if row["difference"] is not None:
            low, high = 100 * row["difference_low"], 100 * row["difference_high"]
            difference = f"{100 * row['difference']:+.1f} ({low:+.0f} to {high:+.0f})"
            p = f"{row['mcnemar_p']:.2g}"
        if row["decisions"]:
            misses = f"{row['miss_share']:.1%}"
            fallbacks = f"{row['fallbacks'] / row['decisions']:.1%}"
        low, high = 100 * row["wilson_low"], 100 * row["wilson_high"]
        table.add_row(
            row["env"], row["planner"], str(row["episodes"]),
            f"{row['success_rate']:.1%} ({low:.0f}-{high:.0f})", difference, p,
            f"{row['decisions_per_s']:.1f}",
            f"{row['decision_ms']['p50']:.0f}/{row['decision_ms']['p99']:.0f}", misses, fallbacks,
        )  # fmt: skip
    Console(width=130, highlight=False).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", required=True, help="name or folder of a checkpoint")
    parser.add_argument(
        "--world-model", default=DEFAULT_WORLD_MODEL, help=f"a name or folder, or {MUJOCO}"
    )
    parser.add_argument("--env", action="append", required=True, help="repeat it")
    parser.add_argument("--episodes", type=int, default=50, help="for each environment")
    parser.add_argument("--seed", type=int, default=Evaluation.seed)
    parser.add_argument("--variant", default=Evaluation.variant)
    parser.add_argument("--deadline-ms", type=float, help="of a decision; none: no deadline")
    parser.add_argument("--candidates", type=int, default=PlannerChoice.candidates)
    parser.add_argument("--iterations", type=int, default=PlannerChoice.iterations)
    parser.add_argument("--least-gain", type=float, help="none: the planner's own")
    parser.add_argument("--patience-s", type=float, default=PlannerChoice.patience_s)
    parser.add_argument("--decode-steps", type=int, help="none: 1 in search, then 4")
    parser.add_argument("--autoregressive", action="store_true", help="token by token instead")
    parser.add_argument("--planner", action="append", choices=PLANNERS, help="not all of them")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--realtime", action="store_true", help="the world moves on meanwhile")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path, required=True, help="file for the results")
    options = parser.parse_args()
    conditions = (ALONE, *(options.planner or PLANNERS))
    try:
        evaluations = {name: evaluation_of(name, options) for name in conditions}
        settings = _settings(options)
    except (UserError, ValueError, OSError) as error:  # before anything runs
        parser.error(str(error))

    file: Path = options.json
    file.parent.mkdir(parents=True, exist_ok=True)
    done: dict[str, Any] = (
        json.loads(file.read_text()) if file.exists() else {"settings": settings, "results": {}}
    )
    if done["settings"] != settings:
        others = {name: done["settings"].get(name) for name in settings}
        differ = [name for name, value in settings.items() if others[name] != value]
        told = "; ".join(f"{name} {others[name]}, not {settings[name]}" for name in differ)
        parser.error(f"{file} was made with {told or 'other settings'}; choose another --json")
    write_json(file, done)  # what is begun with other settings is refused from now on
    for name, evaluation in evaluations.items():
        if name not in done["results"]:
            print(f"{name} ...", flush=True)
            part = file.with_name(f"{file.name}.{name}")
            done["results"][name] = evaluate_kept(evaluation, part)
            done["results"] = {
                each: done["results"][each] for each in CONDITIONS if each in done["results"]
            }
            write_json(file, done)
    rows = rows_of(done["results"])
    write_json(file, {**done, "rows": rows})
    show(rows)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """What the results depend on, but for the planner."""
    names = (
        "policy", "world_model", "env", "episodes", "seed", "variant", "deadline_ms", "candidates",
        "iterations", "least_gain", "patience_s", "decode_steps", "autoregressive",
        "device", "workers", "realtime",
    )  # fmt: skip
    model = options.world_model
    return {
        **{name: getattr(options, name) for name in names},
        "checkpoint": checkpoint_of(options.policy),
        "model": None if model == MUJOCO else fingerprint(str(world_model_folder(model))),
        "machine": machine(),
        "versions": versions(),
    }


if __name__ == "__main__":
    main()
