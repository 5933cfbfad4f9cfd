"""How well success rates in simulated worlds predict those in a world that stands for a robot.

    python benchmarks/sim_to_real.py --output outputs/sim_to_real \
        --policy runs/a --policy runs/b ... --world nominal --world train \
        --world identified:arm.json --env VlaRos/Lift-v0 --episodes 50

Every policy runs the same seeds in every world and in `--real`. For each world it writes
`<world>.csv` for `vla-ros sim2real compare`, and at the end a table. What is done is kept in
`rates.json`: the same command goes on where it was stopped. A policy is what `vla-ros evaluate`
takes; `noisy:LEVEL:expert`, the scripted expert with noise of LEVEL cm on its actions, needs no
training.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from sim.evaluation import Evaluation, evaluate, write_json
from sim.sim2real.correlation import PolicyRates, compare
from sim.sim2real.rates_file import write_rates
from sim.variants import STANDARD, find_variant

WORLD_NAMES = {"nominal": STANDARD}  # others are variants' own names


def measure(policy: str, variant: str, options: argparse.Namespace) -> dict[str, Any]:
    """Successes and episodes of one policy in one world, over all environments."""
    summary = evaluate(
        Evaluation(
            policy=policy,
            env_ids=tuple(options.env),
            episodes=options.episodes,
            seed=options.seed,
            device=options.device,
            workers=options.workers,
            variant=variant,
        )
    )
    count = summary["episodes"]
    return {"successes": round(summary["success_rate"] * count), "episodes": count}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--policy", action="append", required=True, help="repeat it")
    parser.add_argument("--world", action="append", required=True, help="nominal or a variant")
    parser.add_argument("--real", default="stand-in", help="the variant that stands for a robot")
    parser.add_argument("--env", action="append", required=True, help="repeat it")
    parser.add_argument("--episodes", type=int, default=50, help="for each environment")
    parser.add_argument("--seed", type=int, default=7000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    worlds = {name: WORLD_NAMES.get(name, name) for name in [*options.world, options.real]}
    for variant in worlds.values():
        find_variant(variant)  # a wrong name ends here, not after an hour

    settings = {"env": options.env, "episodes": options.episodes, "seed": options.seed}
    file = options.output / "rates.json"
    done = json.loads(file.read_text()) if file.exists() else {"settings": settings, "rates": {}}
    if done["settings"] != settings:
        parser.error(f"{file} was made with {done['settings']}; choose another --output")
    for policy in options.policy:
        for world, variant in worlds.items():
            rates = done["rates"].setdefault(policy, {})
            if world not in rates:
                rates[world] = measure(policy, variant, options)
                write_json(file, done)
            row = rates[world]
            print(
                f"{policy:40s} {world:30s} {row['successes']:4d} of {row['episodes']}", flush=True
            )

    print(f"\n{'world':30s} {'r':>7s} {'rho':>7s} {'MMRV':>7s} {'difference':>11s}")
    for world in options.world:
        rows = [
            _row(policy, done["rates"][policy], world, options.real) for policy in options.policy
        ]
        write_rates(options.output / f"{re.sub(r'[^\w.-]+', '_', world)}.csv", rows)
        result = compare(rows)
        r, rho = (
            "-" if result[key] is None else f"{result[key]:.3f}"
            for key in ("pearson_r", "spearman_rho")
        )
        mmrv, difference = result["mmrv"], result["mean_difference"]
        print(f"{world:30s} {r:>7s} {rho:>7s} {mmrv:7.3f} {difference:+11.3f}")


def _row(policy: str, rates: dict[str, Any], world: str, real: str) -> PolicyRates:
    simulated, measured = rates[world], rates[real]
    return PolicyRates(
        policy,
        simulation=simulated["successes"] / simulated["episodes"],
        real=measured["successes"] / measured["episodes"],
        simulation_episodes=simulated["episodes"],
        real_episodes=measured["episodes"],
    )


if __name__ == "__main__":
    main()
