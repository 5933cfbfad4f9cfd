"""Training: first the tokenizer, then the dynamics over its tokens, with the policies' own loop.

Both parts go on where they stopped. The one-latent kind has no tokenizer to train first: its
encoder learns together with its dynamics.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from policies.openvla.preprocess import to_unit_range
from policies.training.features import DatasetError
from policies.training.loop import Loop, LoopConfig
from policies.training.processes import rank
from world_models.checkpoint import save_world_model
from world_models.clips import Clip
from world_models.config import Preset, WorldModelConfig
from world_models.dynamics import Decoding
from world_models.fsq import to_index
from world_models.identity import Labelled
from world_models.metrics import psnr
from world_models.model import ImaginationModel
from world_models.places import PlaceReader
from world_models.recordings import Recordings
from world_models.sampling import ClipSampler, scales_of
from world_models.tokenizer import Tokenizer, Usual, motion_weights, reconstruction_loss
from world_models.words import vocabulary

VALIDATION_CLIPS = 128
VALIDATION_FRAMES = 256
USUAL_FRAMES = 1000  # that say what is usual
WRITING_BATCH = 128
ROLLOUT_DECODING = Decoding(steps=2)  # of the step before the one that is learned from


@dataclass(frozen=True)
class TrainConfig:
    """Beyond the loop's settings, which are those of both parts together."""

    preset: Preset
    tokenizer_share: float = 0.35  # of the steps
    tokenizer_learning_rate: float = 1e-3
    motion_emphasis: float = 8.0  # weight of a pixel that changes fully; a still, usual one has 1
    place_weight: float = 0.1  # of keeping what is where in the tokens, where views say it
    all_hidden_share: float = 0.15  # of the steps hide parts of every frame (if the kind can)
    causal_share: float = 0.2  # of the steps predict in reading order (if the kind can)
    full_context_share: float = 0.5  # of the steps show all context frames, the others 1 to all
    rollout_share: float = 0.15  # of the steps, the last ones: two-step roll-outs
    validation_share: float = WorldModelConfig.validation_share
    discount: float = WorldModelConfig.discount

    def __post_init__(self) -> None:
        for name in (
            "tokenizer_share",
            "all_hidden_share",
            "causal_share",
            "full_context_share",
            "rollout_share",
        ):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ValueError(f"{name}: expected a share from 0 to below 1, got {value}")
        if self.all_hidden_share + self.causal_share >= 1:
            raise ValueError(
                "all_hidden_share + causal_share: expected less than 1, got "
                f"{self.all_hidden_share + self.causal_share}"
            )
        if not self.motion_emphasis >= 0:
            raise ValueError(f"motion_emphasis: expected 0 or more, got {self.motion_emphasis}")
        if not 0 <= self.place_weight < math.inf:
            raise ValueError(f"place_weight: expected 0 or more, got {self.place_weight}")


Report = Callable[[int, dict[str, float]], None]


def train_world_model(
    training: Recordings,
    held_out: Recordings,
    camera: str,
    output: Path,
    loop_config: LoopConfig,
    device: torch.device,
    report: Report,
    config: TrainConfig,
    initial: ImaginationModel | None = None,
    tokenizer: Tokenizer | None = None,
    labelled: Labelled | None = None,
) -> ImaginationModel:
    """Train both parts and write a checkpoint folder; resumes what was begun in `output`.

    `report(step, figures)` counts the steps of both parts together; figures of held-out episodes
    are named `held_out_...`. `initial` is a model to go on from: its sizes, scales, words, camera
    and discount stay in place of those of `config`, `training` and `camera`. `tokenizer` is one
    that new dynamics are to learn on: its sizes and weights are taken. Of `labelled` views the
    tokenizer learns half of its time, to keep what is where; see `world_models.places`.

    Raises `ValueError` where neither can be; `DatasetError` for data of another rate or robot than
    `initial` knows, and `words.InstructionError` for words that it does not.
    """
    torch.manual_seed(loop_config.seed)
    if tokenizer is not None and (initial is not None or config.preset.dynamics.kind == "latent"):
        raise ValueError("tokenizer: expected none with a model to go on from, or of kind latent")
    if initial is None:
        about = WorldModelConfig(
            tokenizer=config.preset.tokenizer if tokenizer is None else tokenizer.config,
            dynamics=config.preset.dynamics,
            scales=scales_of(training),
            words=vocabulary((*training.instructions, *held_out.instructions)),
            camera=camera,
            rate_hz=training.rate_hz,
            robot=training.robot,
            discount=config.discount,
            validation_share=config.validation_share,
        )
        model = ImaginationModel(about)
        if tokenizer is not None:
            model.tokenizer.load_state_dict(tokenizer.state_dict())
    else:
        _check_alike(training, initial.config)
        about = replace(initial.config, validation_share=config.validation_share)
        model = ImaginationModel(about)
        model.load_state_dict(initial.state_dict())
    model.to(device)
    begun_with: dict[str, str | int] = {
        "world model": json.dumps(about.to_dict(), sort_keys=True),
        "frames": len(training.images),
    }
    if initial is not None:
        begun_with["initial weights"] = _fingerprint(initial)
    first = round(loop_config.steps * config.tokenizer_share) if model.generative else 0
    if tokenizer is not None:
        begun_with["tokenizer weights"] = _fingerprint(tokenizer)
    if not first and model.generative and initial is None and tokenizer is None:
        raise ValueError(
            "tokenizer_share: expected enough for a step of the tokenizer, "
            f"got {config.tokenizer_share:g} of {loop_config.steps}; only a model that is gone on "
            "from has one already"
        )
    if first and isinstance(model.tokenizer, Tokenizer):
        tokenizer_config = replace(
            loop_config, steps=first, learning_rate=config.tokenizer_learning_rate
        )
        _train_tokenizer(
            model.tokenizer,
            training,
            held_out,
            TokenizerSettings(
                output / "tokenizer",
                config.motion_emphasis,
                config.preset.dynamics.actions_per_frame,
                config.place_weight,
                labelled,
            ),
            tokenizer_config,
            device,
            report,
            begun_with,
        )
    dynamics_config = replace(loop_config, steps=loop_config.steps - first)
    _train_dynamics(
        model,
        training,
        held_out,
        output / "dynamics",
        dynamics_config,
        lambda step, figures: report(step + first, figures),
        {**begun_with, "tokenizer steps": first},
        config,
    )
    model.eval()
    if rank() == 0:
        save_world_model(output, model)
    return model


def _check_alike(recordings: Recordings, known: WorldModelConfig) -> None:
    for name in ("rate_hz", "robot"):
        expected, got = getattr(known, name), getattr(recordings, name)
        if got != expected:
            raise DatasetError(
                f"{name}: expected {expected!r}, as the model to go on from has, got {got!r}"
            )


def _fingerprint(model: nn.Module) -> str:
    """Of all weights."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


# --- the tokenizer --------------------------------------------------------------------------


@dataclass(frozen=True)
class TokenizerSettings:
    """Where it is kept, and what its loss looks at."""

    folder: Path
    motion_emphasis: float
    stride: int  # rows between a frame and the neighbor that shows what moves
    place_weight: float
    labelled: Labelled | None


def _train_tokenizer(
    tokenizer: Tokenizer,
    training: Recordings,
    held_out: Recordings,
    settings: TokenizerSettings,
    loop_config: LoopConfig,
    device: torch.device,
    report: Report,
    begun_with: dict[str, str | int],
) -> None:
    neighbors = neighbor_rows(training, settings.stride)
    some = training.images[:: max(1, len(training.images) // USUAL_FRAMES)]
    usual = Usual.of(to_unit_range(some).to(device))
    labelled, reader = settings.labelled, None
    trained: nn.Module = tokenizer
    if labelled is not None:
        reader = PlaceReader(tokenizer.config, labelled).to(device)
        trained = nn.ModuleDict({"tokenizer": tokenizer, "places": reader})
        begun_with = {**begun_with, "labelled views": len(labelled.images)}
        begun_with["place weight"] = repr(settings.place_weight)

    def loss(rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        count = loop.rows_per_step
        viewed = 0 if labelled is None else count // 2
        rows = rng.integers(len(training.images), size=count - viewed)
        seen, before = training.images[rows], training.images[neighbors[rows]]
        views: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        if labelled is not None:
            views = rng.integers(len(labelled.images), size=viewed)
            seen = np.concatenate([seen, labelled.images[views]])
            before = np.concatenate([before, labelled.images[views]])  # nothing moves in them
        images, beside = to_unit_range(seen).to(device), to_unit_range(before).to(device)
        codes, _ = tokenizer.encode(images)
        decoded = tokenizer.decode(codes)
        weights = motion_weights(images, beside, usual, settings.motion_emphasis)
        with torch.no_grad():
            error = (decoded.clamp(0, 1) - images).square().mean()
        figures = {"reconstruction_psnr": -10 * torch.log10(error + 1e-10).item()}
        total = reconstruction_loss(images, decoded.float(), weights)
        if reader is not None and labelled is not None and viewed:
            place, away_m = reader.loss(codes[-viewed:], labelled.positions[views])
            figures["place_error_cm"] = 100 * away_m.item()
            total = total + settings.place_weight * place
        return total, figures

    def validate(step: int) -> None:
        report(step, {f"held_out_{k}": v for k, v in check_tokenizer(tokenizer, held_out).items()})

    loop = Loop(trained, loss, loop_config, settings.folder, device, begun_with)
    loop.resume()
    loop.run(report, validate)


def neighbor_rows(recordings: Recordings, stride: int) -> NDArray[np.int64]:
    """(n,): the row `stride` before each in its episode, or after it where there is none before."""
    rows = np.arange(len(recordings.images))
    episode = recordings.episode_of_rows()
    first, last = recordings.starts[episode], recordings.starts[episode + 1] - 1
    before, after = rows - stride, np.minimum(rows + stride, last)
    return np.where(before >= first, before, after)


@torch.inference_mode()
def check_tokenizer(tokenizer: Tokenizer, recordings: Recordings) -> dict[str, float]:
    """Fidelity on frames of `recordings`, and how many of the tokens that can be are in use."""
    stride = max(1, len(recordings.images) // VALIDATION_FRAMES)
    frames = recordings.images[::stride]
    images = to_unit_range(frames).to(tokenizer.levels.device)
    tokens = tokenizer.tokens(images)
    decoded = tokenizer.decode_tokens(tokens)
    made = (decoded * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    used = len(torch.unique(to_index(tokens, tokenizer.levels)))
    return {
        "psnr_db": float(psnr(frames, made).mean()),
        "vocabulary_used": used / min(tokenizer.config.vocabulary, tokens.shape[:2].numel()),
    }


# --- the dynamics ---------------------------------------------------------------------------


@torch.inference_mode()
def write_down_all(model: ImaginationModel, recordings: Recordings) -> Tensor:
    """(n, s, d): contents of every frame, digits as bytes and latents in half precision."""
    parts = []
    for start in range(0, len(recordings.images), WRITING_BATCH):
        images = to_unit_range(recordings.images[start : start + WRITING_BATCH])
        contents = model.write_down(images.to(model.device)).cpu()
        parts.append(contents.half() if contents.is_floating_point() else contents.byte())
    return torch.cat(parts)


class ContentsOf:
    """Contents for rows of recordings, from memory or (one-latent kind) from the encoder."""

    def __init__(self, model: ImaginationModel, recordings: Recordings) -> None:
        self._model, self._recordings = model, recordings
        self._written = write_down_all(model, recordings) if model.generative else None

    def __call__(self, rows: NDArray[np.int64]) -> Tensor:
        """(b, t) rows -> (b, t, s, d)."""
        if self._written is None:
            flat = to_unit_range(self._recordings.images[rows.reshape(-1)])
            return self._model.write_down(flat.to(self._model.device)).unflatten(0, rows.shape)
        contents = self._written[torch.from_numpy(rows)].to(self._model.device)
        return contents.float() if contents.is_floating_point() else contents.long()


def _train_dynamics(
    model: ImaginationModel,
    training: Recordings,
    held_out: Recordings,
    folder: Path,
    loop_config: LoopConfig,
    report: Report,
    begun_with: dict[str, str | int],
    config: TrainConfig,
) -> None:
    device, dynamics = model.device, model.dynamics
    sampler = ClipSampler(training, model.config)
    contexts = sampler.contexts
    if not contexts:
        raise DatasetError("datasets: expected episodes with a frame or more")
    contents = ContentsOf(model, training)
    trained: nn.Module = dynamics if model.generative else model
    begin_rollouts = round(loop_config.steps * (1 - config.rollout_share))

    def loss(rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        # Drawn alike in all processes: they must train the same parameters.
        together = np.random.default_rng((loop_config.seed, loop.step, 0xC11B))
        mode = _mode(together, dynamics.modes, config)
        whole = together.random() < config.full_context_share
        context = contexts[-1] if whole else int(together.choice(contexts))
        clip = sampler.draw(rng, loop.rows_per_step, context, contents, device)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rolled = loop.step >= begin_rollouts and mode == "prefix" and context > 1
        if rolled:
            # A latent is imagined in one small pass: whole roll-outs cost hardly more than steps.
            frames = 1 if model.generative else int(together.integers(1, context))
            clip = dynamics.with_imagined_context(clip, ROLLOUT_DECODING, generator, frames)
        total, figures = dynamics.loss(clip, mode, generator)
        suffix = "_rolled" if rolled else "" if mode == "prefix" else f"_{mode}"
        return total, {f"{name}{suffix}": value for name, value in figures.items()}

    loop = Loop(trained, loss, loop_config, folder, device, begun_with)
    loop.resume()
    check = DynamicsCheck(model, held_out)

    def validate(step: int) -> None:
        report(step, {f"held_out_{name}": value for name, value in check().items()})

    loop.run(report, validate)


def _mode(rng: np.random.Generator, modes: tuple[str, ...], config: TrainConfig) -> str:
    draw = rng.random()
    if "all" in modes and draw < config.all_hidden_share:
        return "all"
    if "causal" in modes and draw > 1 - config.causal_share:
        return "causal"
    return "prefix"


class DynamicsCheck:
    """The loss on fixed clips of held-out episodes, with the last frame all or partly hidden."""

    def __init__(self, model: ImaginationModel, held_out: Recordings) -> None:
        self._model = model
        self._sampler = ClipSampler(held_out, model.config)
        self._contents = ContentsOf(model, held_out)

    @torch.no_grad()
    def __call__(self) -> dict[str, float]:
        rng = np.random.default_rng(0)
        clip: Clip = self._sampler.draw(
            rng, VALIDATION_CLIPS, self._sampler.contexts[-1], self._contents, self._model.device
        )
        generator = torch.Generator().manual_seed(0)
        total, figures = self._model.dynamics.loss(clip, "prefix", generator)
        return {"loss": total.item(), **figures}
