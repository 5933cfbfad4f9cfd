"""Weights in fewer bits through torchao: less memory, and on memory-bound machines less time.

Linear layers only; the embedding and the output head stay. Activations stay as they are ("weight
only"), but for int8-dynamic. int4 leaves the vision towers alone: SigLIP's widths have no groups.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from policies.factory import QUANTIZATIONS
from policies.openvla.config import CheckpointError
from policies.openvla.model import OpenVLA

INT4_GROUP_SIZES = (128, 64, 32)  # weights that share a scale


def quantize(model: OpenVLA, kind: str) -> OpenVLA:
    """Quantize in place.

    "int8": a scale per output channel. "int8-dynamic": activations too, each row as it comes.
    "int4": groups of up to 128 weights, bf16 activations, on CUDA only. Raises `CheckpointError`
    for a kind or a device that cannot be had.
    """
    if kind not in QUANTIZATIONS:
        raise CheckpointError(f"quantize: expected one of {', '.join(QUANTIZATIONS)}, got {kind!r}")
    device = next(model.parameters()).device
    if kind == "int4" and device.type != "cuda":
        raise CheckpointError(f"quantize: int4 needs a CUDA device, got {device}")
    try:
        from torchao.quantization import quantize_
    except ImportError as error:
        raise CheckpointError(
            f"quantize: {kind} needs torchao ({error}); pip install torchao -c constraints.txt"
        ) from None
    if kind == "int4":
        model.to(torch.bfloat16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torchao's about its own defaults
        for part in (model.projector, model.language_model.model):
            quantize_(part, _config(kind, part))
        if kind != "int4":
            quantize_(model.vision_backbone, _config(kind, model.vision_backbone))
    model.quantization = kind
    return model


def weight_bytes(model: nn.Module) -> int:
    """[byte]: memory of all parameters and buffers, the quantized ones as they are held."""
    total = 0
    for tensor in (*model.parameters(), *model.buffers()):
        parts = _parts(tensor)
        total += sum(part.numel() * part.element_size() for part in parts)
    return total


def _parts(tensor: Any) -> list[torch.Tensor]:
    """The plain tensors that a tensor of torchao's is made of; otherwise itself."""
    if not hasattr(tensor, "__tensor_flatten__"):
        return [tensor]
    names, _ = tensor.__tensor_flatten__()
    return [part for name in names for part in _parts(getattr(tensor, name))]


def _config(kind: str, part: nn.Module):
    from torchao.quantization import (
        Int4WeightOnlyConfig,
        Int8DynamicActivationInt8WeightConfig,
        Int8WeightOnlyConfig,
    )

    if kind == "int8":
        return Int8WeightOnlyConfig(version=2)
    if kind == "int8-dynamic":
        return Int8DynamicActivationInt8WeightConfig(version=2)
    widths = {layer.in_features for layer in part.modules() if isinstance(layer, nn.Linear)}
    sizes = [size for size in INT4_GROUP_SIZES if all(width % size == 0 for width in widths)]
    if not sizes:
        raise CheckpointError(
            f"quantize: int4 needs layers whose widths are multiples of {INT4_GROUP_SIZES[-1]}, "
            f"got {sorted(widths)}"
        )
    return Int4WeightOnlyConfig(group_size=sizes[0], int4_packing_format="tile_packed_to_4d")
