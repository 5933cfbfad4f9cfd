"""How long a training step of a world model takes, on clips of noise.

    python benchmarks/world_model_step.py [--preset two-core] [--kind masked] [--steps 5]

Prints seconds of wall time and of processor time, the median over the steps after a first one:
the latter says what a machine would take that does nothing else.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from policies.interface import ACTION_DIM
from policies.training.loop import bf16_is_fast
from world_models.clips import Clip
from world_models.conditioning import OutcomeTargets
from world_models.config import KINDS, PRESETS, Scales, WorldModelConfig
from world_models.dynamics import Dynamics
from world_models.model import build_dynamics

WORDS = tuple(f"word{index}" for index in range(60))


def noise_clip(dynamics: Dynamics, rows: int, generator: torch.Generator) -> Clip:
    """Full context and the frame to predict; training takes as long whatever is seen."""
    sizes = dynamics.config
    frames = sizes.context_frames + 1
    contents = torch.rand(rows, frames, dynamics.places, dynamics.content_dim, generator=generator)
    if sizes.kind == "masked":
        contents = (contents * 5).long()
    executed = torch.ones(rows, frames, sizes.actions_per_frame, dtype=torch.bool)
    executed[:, 0] = False
    zeros = torch.zeros(rows)
    return Clip(
        contents=contents,
        last_known=torch.ones(rows, dtype=torch.bool),
        actions=torch.zeros(rows, frames, sizes.actions_per_frame, ACTION_DIM),
        executed=executed,
        states=torch.zeros(rows, frames, sizes.state_dim),
        words=torch.ones(rows, 8, dtype=torch.long),
        places=torch.full((rows, frames, 6), torch.nan),
        targets=OutcomeTargets(zeros, zeros, zeros, zeros, torch.zeros(rows, sizes.state_dim)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=PRESETS, default="two-core")
    parser.add_argument("--kind", choices=KINDS, default="masked")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    device = torch.device(chosen.device)
    preset = PRESETS[chosen.preset].with_kind(chosen.kind)
    scales = Scales((0.0,) * 7, (1.0,) * 7, (0.0,) * 14, (1.0,) * 14)
    config = WorldModelConfig(
        preset.tokenizer, preset.dynamics, scales, WORDS, "front", 10.0, "none"
    )
    dynamics = build_dynamics(config).to(device)
    optimizer = torch.optim.AdamW(dynamics.parameters(), lr=1e-4, fused=True)
    bf16 = chosen.precision == "bf16" or (chosen.precision == "auto" and bf16_is_fast(device))
    generator = torch.Generator().manual_seed(0)
    clip = noise_clip(dynamics, chosen.batch_size, generator)
    walls, processors = [], []
    for _ in range(chosen.steps + 1):
        wall, processor = time.perf_counter(), time.process_time()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss, _ = dynamics.loss(clip, "prefix", generator)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    parameters = sum(value.numel() for value in dynamics.parameters())
    print(
        f"{chosen.preset} {chosen.kind}: {parameters / 1e6:.1f} M parameters, "
        f"{'bf16' if bf16 else 'fp32'}, batch {chosen.batch_size}: "
        f"{statistics.median(walls[1:]):.2f} s a step, "
        f"{statistics.median(processors[1:]):.2f} s of processor time"
    )


if __name__ == "__main__":
    main()
