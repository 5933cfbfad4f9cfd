"""Ways to decode compared, speed and fidelity, with the same weights, tokens, data, cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from world_models.dynamics import Decoding
from world_models.interface import Context
from world_models.metrics import psnr, ssim
from world_models.model import ImaginationModel
from world_models.recordings import Recordings
from world_models.rollout import action_blocks, first_context, roll_out


def decodings(model: ImaginationModel) -> list[Decoding]:
    """Those that the model's kind can do, to be compared."""
    kind = model.config.dynamics.kind
    if kind == "masked":
        parallel = [Decoding(steps) for steps in (1, 2, 4, 8, 16)]
        return [*parallel, Decoding(model.dynamics.places, "autoregressive")]
    if kind == "flow":
        return [Decoding(steps) for steps in (1, 2, 4, 8)]
    return [Decoding(1)]


@dataclass(frozen=True)
class TimingConfig:
    """How to compare decodings."""

    batch_sizes: tuple[int, ...] = (1, 16)  # one robot; a planner's candidates
    repeats: int = 20
    quality_episodes: int = 16
    quality_horizon: int = 5  # frames


def compare_decodings(
    model: ImaginationModel,
    held_out: Recordings,
    config: TimingConfig,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> list[dict[str, Any]]:
    """Latency of one imagined frame and fidelity of a short roll-out, per decoding.

    Same weights, tokenizer, data and cache of past frames for all. The latency is that of `next`
    in the middle of a roll-out, without decoding to pixels.
    """
    stride = model.actions_per_frame
    count = min(config.quality_episodes, held_out.episodes)
    episodes = list(range(count))
    context = first_context(held_out, episodes, stride)
    lengths = np.diff(held_out.starts)[:count]
    horizon = min(config.quality_horizon, max(1, int(lengths.max() - 1) // stride))
    actions = action_blocks(held_out, episodes, horizon, stride)
    results = []
    for decoding in decodings(model):
        row: dict[str, Any] = {
            "mode": decoding.mode,
            "steps": decoding.steps,
            "tokens": model.dynamics.places,
        }
        if model.generative:
            row |= _fidelity(model, held_out, context, actions, decoding, seed)
        for size in config.batch_sizes:
            times_ms = _latencies_ms(model, context, actions, decoding, size, config.repeats, clock)
            row[f"batch_{size}_p50_ms"] = float(np.percentile(times_ms, 50))
            row[f"batch_{size}_p95_ms"] = float(np.percentile(times_ms, 95))
        results.append(row)
    _compare_speeds(results, config.batch_sizes)
    return results


def frame_rate(
    model: ImaginationModel,
    context: Context,
    decoding: Decoding,
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Frames a second of a roll-out from `context`, each imagined and decoded to a picture.

    The first ones, until the cache of past frames is full, are not counted.
    """
    latent = model.encode(context)
    block = np.zeros((len(latent), model.actions_per_frame, context.actions.shape[-1]))
    times_ms = []
    for frame in range(model.config.dynamics.context_frames + repeats):
        begin = clock()
        latent = model.next(latent, block, decoding)
        if model.generative:
            model.decode(latent)
        if frame >= model.config.dynamics.context_frames:
            times_ms.append((clock() - begin) * 1e3)
    return frame_figures(times_ms)


def frame_figures(times_ms: Sequence[float]) -> dict[str, float]:
    """Of the times [ms] that frames took, at least one: frames a second, p50 and p95."""
    return {
        "frames_per_s": float(1e3 / np.mean(times_ms)),
        "frame_ms_p50": float(np.percentile(times_ms, 50)),
        "frame_ms_p95": float(np.percentile(times_ms, 95)),
    }


def _compare_speeds(rows: list[dict[str, Any]], batch_sizes: tuple[int, ...]) -> None:
    """Add how many times as fast as token by token each way is, where there is that way."""
    in_order = [row for row in rows if row["mode"] == "autoregressive"]
    for row in rows if in_order else ():
        for size in batch_sizes:
            name = f"batch_{size}_p50_ms"
            row[f"batch_{size}_speedup"] = in_order[0][name] / row[name]


def _fidelity(model, held_out, context, actions, decoding, seed) -> dict[str, float]:
    """Mean PSNR and SSIM over the horizons of a roll-out, where there are real frames."""
    rollout = roll_out(model, context, actions, decoding, seed)
    values: dict[str, list[float]] = {"psnr_db": [], "ssim": []}
    count = len(context.images)
    for ahead, frames in enumerate(rollout.frames, start=1):
        rows = held_out.starts[:count] + ahead * model.actions_per_frame
        seen = rows < held_out.starts[1 : count + 1]
        if seen.any():
            truth = held_out.images[rows[seen]]
            values["psnr_db"].extend(psnr(truth, frames[seen]))
            values["ssim"].extend(ssim(truth, frames[seen]))
    return {name: float(np.mean(found)) for name, found in values.items()}


def _latencies_ms(model, context, actions, decoding, size, repeats, clock) -> list[float]:
    """[ms] of `next` from a situation that was itself imagined, `size` of them at once."""
    one = Context(
        context.images[:1], context.states[:1], context.actions[:1], context.instructions[:1]
    )
    latent = model.encode(one).repeat(size)
    block = np.repeat(actions[:1, 0], size, axis=0)
    for _ in range(model.config.dynamics.context_frames):  # the cache is full from here on
        latent = model.next(latent, block, Decoding(1))
    model.next(latent, block, decoding)
    times = []
    for _ in range(repeats):
        begin = clock()
        model.next(latent, block, decoding)
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        times.append((clock() - begin) * 1e3)
    return times
