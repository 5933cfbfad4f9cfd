"""Writes what a checkpoint computes now as its expectations, in `golden/`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.interface import ACTION_DIM
from policies.openvla.checkpoint import load_model, to_original
from policies.openvla.config import CheckpointError
from policies.openvla.expectations import EXPECTED, write_files
from policies.openvla.model import OpenVLA
from policies.openvla.stages import IGNORED, Stages, exact_arithmetic, run_stages, training_loss
from policies.openvla.statistics import ActionStatistics
from policies.openvla.text import EOS_ID, UNKNOWN_ID, check_tokenizer, encode_prompt, load_tokenizer
from policies.openvla.tokens import ActionTokenizer

PIXEL_STRIDE = 4
PATCH_STRIDE = 16
TRAINED_ROWS = 2  # images in the batch whose loss and gradients are written
LEAST_MARGIN = 5e-5  # of the largest logit: a token chosen by less may differ elsewhere
GRADIENTS = (
    "vision_backbone.featurizer.patch_embed.proj.weight",
    "vision_backbone.fused_featurizer.patch_embed.proj.weight",
    "projector.fc1.weight",
    "language_model.model.layers.0.self_attn.q_proj.weight",
    "language_model.lm_head.weight",
)


class NearTieError(CheckpointError):
    """A token that was chosen by so little that another machine may choose another."""

    def __init__(self, index: int, token: int, margin: float) -> None:
        super().__init__(
            f"image {index}: token {token} is nearly a tie (margin {margin:.2g}), so another "
            "machine may choose otherwise; take another image"
        )
        self.index = index  # of the image


def write_expectations(
    folder: Path,
    images: Sequence[NDArray[np.uint8]],
    instructions: Sequence[str],
    states: Sequence[NDArray] | None = None,
    device: str = "cpu",
) -> Path:
    """Write `folder/golden/`: these images, and what the checkpoint computes from them in float32.

    `images` are (h, w, 3) uint8 RGB of any size, `instructions` one each; `states` (n,) in [-1, 1]
    for models with a state token, default zeros. Returns the folder written.

    Raises `CheckpointError` for a folder that does not load or has a reference beside its weights,
    and `NearTieError`, naming the image, for one that decides too little to be compared.
    """
    if (folder / EXPECTED).exists():
        raise CheckpointError(f"{folder}: has its own {EXPECTED} beside the weights; not replaced")
    if not images or len(images) != len(instructions):
        raise CheckpointError(
            f"images: expected some, each with an instruction, got {len(images)} images and "
            f"{len(instructions)} instructions"
        )
    model = load_model(folder, device=device)
    tokenizer = load_tokenizer(folder)
    check_tokenizer(tokenizer, model.config, str(folder))
    if states is None:
        proprio = model.config.proprio
        states = [np.zeros(proprio.dim if proprio else 0)] * len(images)
    prompts = [np.array(encode_prompt(tokenizer, text)) for text in instructions]
    tensors: dict[str, NDArray] = {}
    about: dict[str, Any] = {"cases": []}
    with exact_arithmetic():
        for index, (image, ids, state) in enumerate(zip(images, prompts, states, strict=True)):
            stages = run_stages(model, image, ids, state, model.config.numbers_per_action)
            tensors |= {
                f"{index}.{name}": value
                for name, value in _case(model, stages, ids, state, index).items()
            }
            case: dict[str, Any] = {
                "image": f"image_{index}.png",
                "instruction": instructions[index],
                "n_input_ids": len(ids),
            }
            if model.chunk_head is None:
                case["first_token_margin"] = float(_margins(stages.logits)[0])
            about["cases"].append(case)
        if model.chunk_head is None:
            batch = _batch(model, prompts[:TRAINED_ROWS])
            loss, norms = training_loss(
                model,
                images[:TRAINED_ROWS],
                states[:TRAINED_ROWS],
                batch["input_ids"],
                batch["labels"],
                _gradients_of(model),
            )
            tensors |= {f"train.{name}": value for name, value in batch.items()}
            tensors["train.loss"] = np.array([loss], np.float32)
            about["train"] = {"loss": loss, "grad_norm": norms}
    tensors |= {f"tokenizer.{name}": value for name, value in _token_table(model).items()}
    about["params"] = sum(weight.numel() for weight in model.parameters())
    return write_files(folder, tensors, about, images)


def _case(
    model: OpenVLA, stages: Stages, ids: NDArray, state: NDArray, index: int
) -> dict[str, NDArray]:
    case: dict[str, NDArray] = {
        "input_ids": ids,
        f"pixel_values_stride{PIXEL_STRIDE}": stages.pixel_values[
            :, ::PIXEL_STRIDE, ::PIXEL_STRIDE
        ],
        "patch_features": stages.patch_features[::PATCH_STRIDE],
        "projected": stages.projected[::PATCH_STRIDE],
    }
    if model.config.proprio is not None:
        case["state"] = np.asarray(state, np.float64)
    if model.chunk_head is not None:
        return {**case, "numbers": stages.numbers}
    margins = _margins(stages.logits)
    if margins.min() < LEAST_MARGIN * np.abs(stages.logits).max():
        raise NearTieError(index, int(margins.argmin()), float(margins.min()))
    case |= {"last_logits": stages.logits[0], "generated_ids": stages.generated_ids}
    numbers = ActionTokenizer(model.config.tokenizer_vocab_size, model.config.n_action_bins)
    values = numbers.decode(stages.generated_ids[-ACTION_DIM:])
    for key in model.config.norm_stats:
        statistics = ActionStatistics.from_norm_stats(model.config.norm_stats, key, ACTION_DIM)
        case[f"action.{key}"] = statistics.unnormalize(values)
    return case


def _margins(logits: NDArray) -> NDArray:
    """(count, vocab) -> (count,), by how much each token was chosen."""
    best = np.sort(logits, axis=1)[:, -2:]
    return best[:, 1] - best[:, 0]


def _gradients_of(model: OpenVLA) -> list[str]:
    """Those of `GRADIENTS` that this model has: connectors name their weights differently."""
    names = {to_original(name) for name, _ in model.named_parameters()}
    return [name for name in GRADIENTS if name in names]


def _batch(model: OpenVLA, prompts: Sequence[NDArray]) -> dict[str, NDArray]:
    """Prompts, numbers over all of [-1, 1] and the end token, padded on the right."""
    numbers = ActionTokenizer(model.config.tokenizer_vocab_size, model.config.n_action_bins)
    count = model.config.numbers_per_action
    values = np.linspace(-0.9, 0.9, len(prompts) * count).reshape(len(prompts), count)
    rows = [
        np.concatenate([ids, numbers.encode(row), [EOS_ID]])
        for ids, row in zip(prompts, values, strict=True)
    ]
    length = max(map(len, rows))
    input_ids = np.full((len(rows), length), UNKNOWN_ID, np.int64)
    labels = np.full((len(rows), length), IGNORED, np.int64)
    mask = np.zeros((len(rows), length), np.uint8)
    for index, (row, ids) in enumerate(zip(rows, prompts, strict=True)):
        input_ids[index, : len(row)] = row
        labels[index, len(ids) : len(row)] = row[len(ids) :]
        mask[index, : len(row)] = 1
    return {"input_ids": input_ids, "labels": labels, "attention_mask": mask}


def _token_table(model: OpenVLA) -> dict[str, NDArray]:
    numbers = ActionTokenizer(model.config.tokenizer_vocab_size, model.config.n_action_bins)
    values = np.linspace(-1.2, 1.2, 97)
    ids = numbers.encode(values)
    return {"actions": values, "token_ids": ids, "decoded": numbers.decode(ids)}
