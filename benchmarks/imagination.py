"""How fast a world model imagines, and whether a minute of it stays the same world.

    python benchmarks/imagination.py --model runs/wm --json imagination.json

Speed: frames a second (imagined and decoded to a picture) at batch 1 for every way to decode, on
`--threads` threads; and for untrained models of 16, 64 and 256 tokens, whose speed is that of
trained ones, how many times as fast as token by token each number of parallel steps is.

Drift: from resets of our environments `--seconds` of holding still and of slow motion in the air
are imagined, and simulated with the same actions. A linear probe on the model's tokens, fitted on
labelled views (`--views`, made if need be), says which items are there and where.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from policies.interface import ACTION_DIM
from policies.openvla.preprocess import resize
from sim import CORE_ENV_IDS, task_name
from sim.env import TabletopEnv, to_observation
from sim.files import write_json
from sim.pretraining import CLASS_NAMES
from sim.views import load_views, make_views
from world_models.checkpoint import load_world_model
from world_models.config import PRESETS, Scales, TokenizerConfig, WorldModelConfig
from world_models.drift import Reference, measure_drift
from world_models.dynamics import Decoding
from world_models.identity import Labelled, fit_identity, labels_of
from world_models.interface import Context
from world_models.model import ImaginationModel
from world_models.state import context_of
from world_models.timing import decodings, frame_rate

SECTIONS = ("speed", "tokens", "drift")
MOTIONS = ("hold", "slow")
SLOW_M = (0.04, 0.06, 0.04)  # how far slow motion goes along x, y and up
SLOW_PERIODS_S = (12.0, 9.0, 7.0)
CHANNELS = {16: (32, 64, 96, 96), 64: (32, 64, 96), 256: (32, 64)}  # of 64 px frames


def speed(model: ImaginationModel, repeats: int) -> list[dict[str, Any]]:
    """Frames a second at batch 1, per way to decode."""
    rows = []
    for decoding in decodings(model):
        figures = frame_rate(model, noise(model), decoding, repeats)
        rows.append({"mode": decoding.mode, "steps": decoding.steps, **figures})
        print(
            f"  {decoding.mode} in {decoding.steps}: {figures['frames_per_s']:.1f} frames/s "
            f"(p95 {figures['frame_ms_p95']:.1f} ms)"
        )
    return rows


def by_tokens(repeats: int) -> list[dict[str, Any]]:
    """The same for untrained models, with the speed-up over token by token."""
    rows = []
    for tokens, channels in CHANNELS.items():
        preset = PRESETS["two-core"]
        scales = Scales((0.0,) * 7, (1.0,) * 7, (0.0,) * 14, (1.0,) * 14)
        config = WorldModelConfig(
            TokenizerConfig(channels=channels), preset.dynamics, scales, ("go",), "front", 10.0, "-"
        )
        torch.manual_seed(0)
        print(f"{tokens} tokens, untrained")
        found = speed(ImaginationModel(config).eval(), repeats)
        slow = next(row for row in found if row["mode"] == "autoregressive")
        for row in found:
            rows.append(
                {
                    "tokens": tokens,
                    **row,
                    "speedup": row["frames_per_s"] / slow["frames_per_s"],
                }
            )
    return rows


def noise(model: ImaginationModel) -> Context:
    """One frame of nothing in particular: speed does not depend on it."""
    size, words = model.config.tokenizer.image_size_px, model.config.words
    rng = np.random.default_rng(0)
    return Context(
        images=rng.integers(0, 255, (1, 1, size, size, 3), dtype=np.uint8),
        states=np.array(model.config.scales.state_mean)[None, None],
        actions=np.zeros((1, 0, model.actions_per_frame, ACTION_DIM)),
        instructions=(words[0],),
    )


def motion_actions(motion: str, steps: int, rate_hz: float, opening: float) -> np.ndarray:
    """(steps, 7): nothing at all, or slow waves that begin and end where the tool is."""
    actions = np.zeros((steps, ACTION_DIM))
    actions[:, 6] = opening
    if motion == "slow":
        seconds = np.arange(steps + 1)[:, None] / rate_hz
        phase = 2 * np.pi * seconds / np.array(SLOW_PERIODS_S)
        path = np.array(SLOW_M) * np.sin(phase)
        path[:, 2] = SLOW_M[2] * (1 - np.cos(phase[:, 2])) / 2  # never below the start
        actions[:, :3] = np.diff(path, axis=0)
    return actions


def reference(
    model: ImaginationModel, motion: str, starts: int, seconds: float, every_s: float, seed: int
) -> Reference:
    """Resets of the three tasks by turns, and what MuJoCo makes of the motion."""
    stride, size = model.actions_per_frame, model.config.tokenizer.image_size_px
    frames = round(seconds * model.config.rate_hz / stride)
    every = max(1, round(every_s * model.config.rate_hz / stride))
    instants = np.arange(0, frames + 1, every)
    images, positions, contexts, actions = [], [], [], []
    for start in range(starts):
        name = task_name(CORE_ENV_IDS[start % len(CORE_ENV_IDS)])
        env = TabletopEnv(name, cameras=(model.config.camera,))
        values, info = env.reset(seed=seed + start)
        observation = to_observation(values)
        opening = round(observation.gripper_opening)
        chosen = motion_actions(motion, frames * stride, model.config.rate_hz, opening)
        contexts.append(context_of([observation], [], model.config.camera, size))
        actions.append(chosen.reshape(frames, stride, ACTION_DIM))
        seen, places = [], []
        for step in range(frames * stride + 1):
            if step % (every * stride) == 0:
                world, _ = env.running()
                seen.append(resize(env.observe()[0][model.config.camera], size))
                places.append(
                    [world.item_position(item) - world.base_position for item in info["items"]]
                )
            if step < frames * stride:
                env.move(chosen[step])
        env.close()
        images.append(np.stack(seen))
        positions.append(labels_of([info["items"]] * len(places), places, CLASS_NAMES))
        print(f"  simulated {start + 1} of {starts} ({motion})", flush=True)
    context = Context(
        np.concatenate([each.images for each in contexts]),
        np.concatenate([each.states for each in contexts]),
        np.zeros((starts, 0, stride, ACTION_DIM)),
        [text for each in contexts for text in each.instructions],
    )
    return Reference(instants, np.stack(images), np.stack(positions), context, np.stack(actions))


def labelled_views(folder: Path, count: int, size_px: int, seed: int) -> Labelled:
    """Views with all their items; made first where the folder has none."""
    if not any(folder.glob("views-*.npz")):
        print(f"making {count} labelled views in {folder}")
        for done in make_views(folder, count, seed, size_px, workers=1):
            print(f"  {done} of {count}", flush=True)
    views = load_views(folder)
    images = np.stack([resize(image, size_px) for image in views["image"][:count]])
    classes, places = views["item_classes"][:count], views["item_positions"][:count]
    names = [[CLASS_NAMES[index] for index in row[row >= 0]] for row in classes]
    there = [where[row >= 0] for where, row in zip(places, classes, strict=True)]
    return Labelled(images, labels_of(names, there, CLASS_NAMES))


def drift(model: ImaginationModel, chosen: argparse.Namespace) -> dict[str, Any]:
    """Curves for each motion."""
    size = model.config.tokenizer.image_size_px
    probe = fit_identity(model, labelled_views(chosen.views, chosen.view_count, size, 0))
    result = {}
    for motion in MOTIONS:
        ahead = reference(model, motion, chosen.starts, chosen.seconds, chosen.every_s, chosen.seed)
        begin = time.perf_counter()
        found = measure_drift(model, ahead, probe, Decoding(chosen.decode_steps), chosen.seed)
        result[motion] = found
        print(
            f"{motion}, {found['seconds']:.0f} s, {found['starts']} starts: items known (F1) "
            f"{found['identity_f1_at_start']:.2f} at the start, "
            f"{found['identity_f1_at_end']:.2f} at the end "
            f"(real frames {found['identity_f1_real_at_end']:.2f}); "
            f"imagined in {time.perf_counter() - begin:.0f} s"
        )
        for row in found["curve"]:
            print(
                f"  {row['seconds']:5.1f} s: F1 {row['identity_f1_imagined']:.2f} "
                f"(real {row['identity_f1_real']:.2f}), item error "
                f"{_cm(row['item_error_m_imagined'])} cm (real {_cm(row['item_error_m_real'])}), "
                f"PSNR {row['psnr_db']:.1f} dB (first frame repeated "
                f"{row['psnr_db_first_frame_repeated']:.1f})"
            )
    return result


def _cm(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a world model's folder; not for --only tokens")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="repeat it for several")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=60, help="frames that are timed")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--every-s", type=float, default=5.0, help="between points of the curves")
    parser.add_argument("--starts", type=int, default=9)
    parser.add_argument("--views", type=Path, default=Path("outputs/imagination_views"))
    parser.add_argument("--view-count", type=int, default=3000)
    parser.add_argument("--decode-steps", type=int, default=Decoding.steps)
    parser.add_argument("--seed", type=int, default=5000, help="of the resets")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    wanted = chosen.only or list(SECTIONS)
    torch.set_num_threads(chosen.threads)
    result: dict[str, Any] = {"threads": chosen.threads, "decode_steps": chosen.decode_steps}
    if "tokens" in wanted:
        result["tokens"] = by_tokens(chosen.repeats)
    if set(wanted) - {"tokens"}:
        if chosen.model is None:
            parser.error("--model: expected a world model's folder")
        model = load_world_model(chosen.model)
        if "speed" in wanted:
            print(f"{chosen.model}")
            result["speed"] = speed(model, chosen.repeats)
        if "drift" in wanted:
            result["drift"] = drift(model, chosen)
    if chosen.json is not None:
        write_json(chosen.json, result)
        print(f"wrote {chosen.json}")


if __name__ == "__main__":
    main()
