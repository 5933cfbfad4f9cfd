"""What domain randomization costs: milliseconds for a reset, a step, and a step with an image.

python benchmarks/randomization.py --json randomization.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np

from sim.env import TabletopEnv
from sim.randomization import AXES, PRESETS

SEEDS = range(1000, 1012)
STEPS = 8
STILL = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])


def measure(preset: str) -> dict[str, float]:
    """Medians [ms] over SEEDS. Resets are without images: a renderer of its own costs the same."""
    env = TabletopEnv("PickPlace", cameras=(), randomization=preset)
    seeing = TabletopEnv("PickPlace", cameras=("front",), randomization=preset)
    times_ms: dict[str, list[float]] = {"reset": [], "step": [], "step_with_image": []}

    def timed(name: str, work, *arguments, **options) -> None:
        begin = time.process_time()
        work(*arguments, **options)
        times_ms[name].append(1e3 * (time.process_time() - begin))

    for seed in SEEDS:
        timed("reset", env.reset, seed=seed)
        seeing.reset(seed=seed)
        for _ in range(STEPS):
            timed("step", env.step, STILL)
            timed("step_with_image", seeing.step, STILL)
    env.close()
    seeing.close()
    return {name: round(statistics.median(values), 2) for name, values in times_ms.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", action="append", choices=sorted(PRESETS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = {}
    for preset in arguments.preset or ["nominal", "train", "hard", *AXES]:
        rows[preset] = measure(preset)
        print(f"{preset:12}", *(f"{name} {value:7.2f} ms" for name, value in rows[preset].items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
