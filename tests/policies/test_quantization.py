"""Quantized weights: a quarter of the memory, nearly the same numbers, clear refusals."""

from __future__ import annotations

import copy

import pytest
import torch

from policies.factory import QUANTIZATIONS
from policies.openvla.config import CheckpointError
from policies.openvla.quantization import quantize, weight_bytes


@torch.inference_mode()
def logits(model) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(2, 6, 28, 28, generator=generator)
    ids = torch.tensor([[1, 300, 301], [1, 310, 320]])
    state = torch.randn(2, 7, generator=generator)
    return model.language_model.lm_head(model(pixels, ids, state))


@pytest.mark.parametrize("kind", ["int8", "int8-dynamic"])
def test_int8_is_close_and_small(tiny_model, kind):
    plain = logits(tiny_model)
    parts = (tiny_model.vision_backbone, tiny_model.projector, tiny_model.language_model.model)
    linear = sum(
        module.weight.numel() * 4
        for part in parts
        for module in part.modules()
        if isinstance(module, torch.nn.Linear)
    )
    model = quantize(copy.deepcopy(tiny_model), kind)
    saved = weight_bytes(tiny_model) - weight_bytes(model)
    assert saved == pytest.approx(0.75 * linear, rel=0.1)  # but for the scales
    error = (logits(model) - plain).abs().max() / plain.abs().max()
    assert 0 < error < 0.05


def test_what_cannot_be_had_is_refused(tiny_model):
    before = logits(tiny_model)
    with pytest.raises(CheckpointError, match="expected one of int8, int8-dynamic, int4, got 'b1'"):
        quantize(tiny_model, "b1")
    with pytest.raises(CheckpointError, match="int4 needs a CUDA device, got cpu"):
        quantize(tiny_model, "int4")
    assert torch.equal(logits(tiny_model), before)
    assert set(QUANTIZATIONS) == {"int8", "int8-dynamic", "int4"}
