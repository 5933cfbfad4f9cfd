"""How long several checkpoints take for a prediction, as ratios measured in one run, and the memory
of their weights.

    python benchmarks/latency.py POLICY ... [--quantize int8] [--rounds 40] [--json FILE]

With `--quantize` (repeatable) each is measured so too. All take turns, round by round, so that a
busy machine slows them alike; the figures are medians, the ratios are to the first.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from policies.factory import QUANTIZATIONS, load_policy
from policies.interface import Observation, Policy
from policies.openvla.policy import OpenVLAPolicy
from policies.openvla.quantization import weight_bytes

WARM_UP_ROUNDS = 3


def observe() -> Observation:
    """A noise image: a prediction takes as long whatever is seen."""
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    return Observation(
        images={"front": image},
        joint_positions=np.zeros(7),
        gripper_opening=1.0,
        ee_position=np.array([0.5, 0.0, 0.2]),
        ee_quaternion=np.array([0.0, 1.0, 0.0, 0.0]),
        instruction="put the red cube into the blue bowl",
        stamp_ns=0,
    )


def weights_mb(policy: Policy) -> float | None:
    """[MB]; None where the network is not one of ours."""
    return weight_bytes(policy.model) / 1e6 if isinstance(policy, OpenVLAPolicy) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("policies", nargs="+", help="names or folders; the first is the measure")
    parser.add_argument(
        "--quantize", action="append", choices=QUANTIZATIONS, default=[], help="each so too"
    )
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    policies = {
        name if kind is None else f"{name}, {kind}": load_policy(name, quantization=kind)
        for name in options.policies
        for kind in (None, *options.quantize)
    }
    times_ms: dict[str, list[float]] = {name: [] for name in policies}
    observation = observe()
    for round_index in range(-WARM_UP_ROUNDS, options.rounds):
        for name, policy in policies.items():
            begin = time.perf_counter()
            policy.predict_chunk(observation)
            if round_index >= 0:
                times_ms[name].append(1e3 * (time.perf_counter() - begin))
    medians = {name: statistics.median(times) for name, times in times_ms.items()}
    first = medians[options.policies[0]]
    rows = [
        {
            "policy": name,
            "call_ms": call_ms,
            "ratio": call_ms / first,
            "weights_mb": weights_mb(policies[name]),
        }
        for name, call_ms in medians.items()
    ]
    width = max(len(name) for name in medians)
    print(f"{'':{width}s} {'ms a call':>10s} {'to the first':>13s} {'MB of weights':>14s}")
    for row in rows:
        size = "-" if row["weights_mb"] is None else f"{row['weights_mb']:.1f}"
        print(f"{row['policy']:{width}s} {row['call_ms']:10.1f} {row['ratio']:13.2f} {size:>14s}")
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=1))


if __name__ == "__main__":
    main()
