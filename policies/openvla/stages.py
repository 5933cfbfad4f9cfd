"""What the network computes on the way from an image to its numbers, stage by stage.

Used to write a checkpoint's expectations (`policies.openvla.expectations`) and to compare with them
(`policies.openvla.verify`), in the very code that runs on the robot.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policies.openvla.checkpoint import from_original
from policies.openvla.config import CheckpointError
from policies.openvla.decoding import GreedyDecoder
from policies.openvla.model import OpenVLA
from policies.openvla.preprocess import pixel_values

IGNORED = -100  # the label of a token that is not learned


@dataclass(frozen=True)
class Stages:
    """Everything float32, without the batch dimension."""

    pixel_values: NDArray[np.float32]  # (6, size, size)
    patch_features: NDArray[np.float32]  # (patches, width of both towers)
    projected: NDArray[np.float32]  # (patches, llm_dim)
    logits: NDArray[np.float32]  # (count, vocab_size), each greedy token's; with a chunk head none
    generated_ids: NDArray[np.int64]  # (count,); with a chunk head none
    numbers: NDArray[np.float32]  # (grounded + 7 k,), a chunk head's; else none


@contextlib.contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Float32 that is float32: GPUs round convolutions to 10 bits unless told not to."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def model_pixels(model: OpenVLA, image: NDArray[np.uint8]) -> Tensor:
    """(h, w, 3) uint8 RGB -> (1, 6, size, size), where and in what the model computes."""
    config = model.config
    values = pixel_values(image, config.image_sizes[0], config.normalization)
    return values.to(model.device, model.dtype)


def model_state(model: OpenVLA, state: NDArray | None) -> Tensor | None:
    """(n,) numbers in [-1, 1] -> (1, n); None for a model without a state token."""
    proprio = model.config.proprio
    if proprio is None:
        return None
    if state is None or np.shape(state) != (proprio.dim,):
        got = "none" if state is None else f"shape {np.shape(state)}"
        raise CheckpointError(f"state: expected {proprio.dim} numbers for this model, got {got}")
    return torch.as_tensor(state, dtype=model.dtype, device=model.device)[None]


@torch.inference_mode()
def run_stages(
    model: OpenVLA,
    image: NDArray[np.uint8],
    input_ids: NDArray[np.int64],
    state: NDArray | None,
    count: int,
) -> Stages:
    """Look at an image (h, w, 3), read a prompt (n,) and choose `count` tokens greedily.

    A model with a chunk head gives its numbers instead.
    """
    pixels = model_pixels(model, image)
    features = model.vision_backbone(pixels)
    projected = model.projector(features)
    context = model.append_state(projected, model_state(model, state))
    prompts = [np.asarray(input_ids).tolist()]
    logits: list[Tensor] = []
    generated = torch.zeros(1, 0, dtype=torch.int64)
    numbers = torch.zeros(1, 0)
    if model.chunk_head is None:
        decoder = GreedyDecoder(model, count)
        generated = decoder.decode(context, prompts, lambda step: logits.append(step[0].clone()))
    else:
        numbers = model.predict_numbers(context, prompts)
    return Stages(
        _numbers(pixels[0]),
        _numbers(features[0]),
        _numbers(projected[0]),
        _numbers(torch.stack(logits)) if logits else np.zeros((0, 0), np.float32),
        generated[0].cpu().numpy(),
        _numbers(numbers[0]),
    )


def training_loss(
    model: OpenVLA,
    images: Sequence[NDArray[np.uint8]],
    states: Sequence[NDArray | None],
    input_ids: NDArray[np.int64],
    labels: NDArray[np.int64],
    gradients_of: Sequence[str] = (),
) -> tuple[float, dict[str, float]]:
    """Mean cross-entropy of a right-padded batch, and the gradients' norms by original name.

    `input_ids` and `labels` (b, n): labels are `IGNORED` where nothing is learned, and shift by
    one; the patches behind the first token have none.
    """
    pixels = torch.cat([model_pixels(model, image) for image in images])
    rows = [model_state(model, state) for state in states]
    state = None if model.config.proprio is None else torch.cat([r for r in rows if r is not None])
    ids = torch.as_tensor(input_ids, device=model.device)
    wanted = torch.as_tensor(labels, device=model.device)
    logits = model.language_model.lm_head(model(pixels, ids, state))  # (b, n + context, vocab)
    none = wanted.new_full((len(wanted), logits.shape[1] - wanted.shape[1]), IGNORED)
    spliced = torch.cat([wanted[:, :1], none, wanted[:, 1:]], dim=1)
    loss = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), spliced[:, 1:].flatten(), ignore_index=IGNORED
    )
    parameters = dict(model.named_parameters())
    unknown = [name for name in gradients_of if from_original(name) not in parameters]
    if unknown:
        raise CheckpointError(f"gradients: this model has no weight {unknown[0]!r}")
    gradients = torch.autograd.grad(
        loss, [parameters[from_original(name)] for name in gradients_of] or [logits]
    )
    norms = {
        name: float(gradient.norm())
        for name, gradient in zip(gradients_of, gradients, strict=False)
    }
    return float(loss.detach()), norms


def _numbers(values: Tensor) -> NDArray[np.float32]:
    return values.float().cpu().numpy()
