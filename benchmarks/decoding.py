"""How many actions a second each way of decoding gives, as ratios measured in one run.

    python benchmarks/decoding.py [--policy openvla-mini] [--chunk-policy FOLDER] [--json FILE]

The first row is the original's way: one prompt at a time, token by token, with a cache that grows.
All rows take turns, round by round, so that a busy machine slows them alike; the figures are
medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from policies.factory import load_policy
from policies.interface import Observation
from policies.openvla.decoding import GreedyDecoder
from policies.openvla.policy import OpenVLAPolicy

INSTRUCTION = "put the red cube into the blue bowl"


def observe(index: int) -> Observation:
    """A noise image: decoding takes as long whatever is seen."""
    rng = np.random.default_rng(index)
    return Observation(
        images={"front": rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)},
        joint_positions=np.zeros(7),
        gripper_opening=1.0,
        ee_position=np.array([0.5, 0.0, 0.2]),
        ee_quaternion=np.array([0.0, 1.0, 0.0, 0.0]),
        instruction=INSTRUCTION,
        stamp_ns=0,
    )


class GrowingCacheDecoder:
    """The original's way, for comparison: `transformers`' own cache, which grows by a token."""

    def __init__(self, policy: OpenVLAPolicy) -> None:
        self._model = policy.model
        self._count = policy.config.grounded_numbers + 7

    @torch.inference_mode()
    def decode(self, context: torch.Tensor, prompts: list[list[int]]) -> torch.Tensor:
        language_model = self._model.language_model
        embeddings = self._model.splice(context, torch.as_tensor(prompts, device=context.device))
        cache, chosen = None, []
        for _ in range(self._count):
            output = language_model.model(
                inputs_embeds=embeddings, past_key_values=cache, use_cache=True
            )
            cache = output.past_key_values
            token = language_model.lm_head(output.last_hidden_state[:, -1]).argmax(-1)
            chosen.append(token)
            embeddings = language_model.get_input_embeddings()(token[:, None])
        return torch.stack(chosen, dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", default="openvla-mini", help="decodes token by token")
    parser.add_argument("--chunk-policy", help="a checkpoint with a chunk head")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    on_gpu = options.device.startswith("cuda")

    def load(name: str, decoder: Callable[[OpenVLAPolicy], object] | None) -> OpenVLAPolicy:
        policy = load_policy(name, options.device)
        assert isinstance(policy, OpenVLAPolicy)
        if decoder is not None:
            policy._decoder = decoder(policy)  # type: ignore[assignment]
        return policy

    def compiled(policy: OpenVLAPolicy) -> GreedyDecoder:
        return GreedyDecoder(policy.model, policy.config.grounded_numbers + 7, compiled=True)

    rows: dict[str, tuple[OpenVLAPolicy, int]] = {
        "token by token, growing cache": (load(options.policy, GrowingCacheDecoder), 1),
        "token by token, static cache": (load(options.policy, None), 1),
        "the same, compiled": (load(options.policy, compiled), 1),
        f"static cache, batch of {options.batch}": (load(options.policy, None), options.batch),
    }
    if options.chunk_policy:
        rows["chunk head"] = (load(options.chunk_policy, None), 1)
        rows[f"chunk head, batch of {options.batch}"] = (
            load(options.chunk_policy, None),
            options.batch,
        )
    times_ms: dict[str, list[float]] = {name: [] for name in rows}
    actions: dict[str, int] = {}
    for round_index in range(-2, options.rounds):  # two rounds to warm up
        for name, (policy, batch) in rows.items():
            observations = [observe(index) for index in range(batch)]
            if on_gpu:
                torch.cuda.synchronize()
            begin = time.perf_counter()
            chunks = policy.predict_chunks(observations)
            duration_ms = 1e3 * (time.perf_counter() - begin)
            actions[name] = sum(len(chunk.actions) for chunk in chunks)
            if round_index >= 0:
                times_ms[name].append(duration_ms)
    results = []
    first = statistics.median(times_ms[next(iter(rows))])
    print(
        f"{platform.processor() or platform.machine()}, {options.device}, torch {torch.__version__}"
    )
    print(f"{'':36s} {'ms a call':>10s} {'ms an action':>13s} {'throughput':>11s}")
    for name in rows:
        call_ms = statistics.median(times_ms[name])
        action_ms = call_ms / actions[name]
        ratio = first / action_ms
        results.append({"name": name, "call_ms": call_ms, "action_ms": action_ms, "ratio": ratio})
        print(f"{name:36s} {call_ms:10.1f} {action_ms:13.2f} {ratio:10.1f}x")
    if options.json:
        options.json.write_text(json.dumps({"device": options.device, "rows": results}, indent=1))


if __name__ == "__main__":
    main()
