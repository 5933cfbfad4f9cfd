"""How fast a world model imagines, and whether a minute of it stays the same world.

    python benchmarks/imagination.py --model runs/wm --json imagination.json

Speed: frames a second (imagined and decoded to a picture) at batch 1 for every way to decode, on
`--threads` threads; and for untrained models of 16, 64 and 256 tokens, whose speed is that of
trained ones, how many times as fast as token by token each number of parallel steps is.

Drift: from resets of our environments `--seconds` of holding still and of slow motion in the air
are imagined, and simulated with the same actions. A linear probe on the model's tokens, fitted on
labelled views (`--views`, made if need be), says which items are there and where.

Events: in episodes of Push the item is hit, it and the table become slippery, or the light is
turned down (`sim.events`). The model is prompted with the frame half a second later, and what it
imagines of the expert's further actions is compared with what MuJoCo makes of them, with the event
and without. The light is also turned down in the picture alone, without the simulator's help.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from policies.interface import ACTION_DIM
from sim.events import DIM, EVENTS
from sim.files import write_json
from vla_ros.grounding import MOTIONS, event_branches, labelled_views, reference
from vla_ros.playing import brightened
from world_models.checkpoint import load_world_model
from world_models.config import PRESETS, Scales, TokenizerConfig, WorldModelConfig
from world_models.counterfactual import event_figures
from world_models.drift import imagine_on, measure_drift
from world_models.dynamics import Decoding
from world_models.identity import fit_identity
from world_models.interface import Context
from world_models.model import ImaginationModel
from world_models.timing import decodings, frame_rate

SECTIONS = ("speed", "tokens", "drift", "events")
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


def drift(model: ImaginationModel, chosen: argparse.Namespace) -> dict[str, Any]:
    """Curves for each motion."""
    size = model.config.tokenizer.image_size_px
    probe = fit_identity(model, labelled_views(chosen.views, chosen.view_count, size))
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
            f"(real frames {found['identity_f1_real_at_end']:.2f}, "
            f"naming all classes {found['identity_f1_constant']:.2f}); "
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


def events(model: ImaginationModel, chosen: argparse.Namespace) -> dict[str, Any]:
    """Rows per event, by frames behind it."""
    size = model.config.tokenizer.image_size_px
    probe = fit_identity(model, labelled_views(chosen.views, chosen.view_count, size))
    decoding = Decoding(chosen.decode_steps)
    result = {}
    for name in EVENTS:
        factual, counterfactual = event_branches(model, name, chosen.starts, chosen.seed)
        unprompted = imagine_on(model, factual, decoding, chosen.seed)
        prompts = {name: counterfactual}
        if name == "light":
            dimmed = replace(factual.context, images=brightened(factual.context.images, DIM))
            prompts["light in the picture"] = replace(counterfactual, context=dimmed)
        for label, prompt in prompts.items():
            prompted = imagine_on(model, prompt, decoding, chosen.seed)
            rows = event_figures(factual, counterfactual, unprompted, prompted, probe)
            result[label] = rows
            print(f"{label}, {chosen.starts} starts")
            for row in (rows[1], rows[len(rows) // 2], rows[-1]):
                print(
                    f"  {row['frames_ahead']:2d} frames on: PSNR to what came "
                    f"{row['psnr_db_prompted']:.1f} dB prompted, "
                    f"{row['psnr_db_unprompted']:.1f} not; item error "
                    f"{_cm(row['item_error_m_prompted'])} cm prompted, "
                    f"{_cm(row['item_error_m_unprompted'])} not (it moved "
                    f"{_cm(row['item_moved_m'])} cm); effect {row['effect_db']:.1f} dB, imagined "
                    f"{row['imagined_effect_db']:.1f}"
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
        if "events" in wanted:
            result["events"] = events(model, chosen)
    if chosen.json is not None:
        write_json(chosen.json, result)
        print(f"wrote {chosen.json}")


if __name__ == "__main__":
    main()
