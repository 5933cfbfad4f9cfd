"""Checkpoint folders in the Hugging Face layout, safetensors only: read, check, write."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast

from policies.openvla.config import CheckpointError, OpenVLAConfig, read_config
from policies.openvla.model import OpenVLA
from policies.openvla.normalization import PREPROCESSOR, preprocessor_config
from policies.openvla.weights import WEIGHTS, find_weights, read_weight, weight_files

LM_HEAD = "language_model.lm_head.weight"  # not stored where it is tied to the embedding


def load_model(
    folder: Path, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
) -> OpenVLA:
    """Build the network of a checkpoint folder and fill it with its weights.

    Every file's names and shapes are checked before the first number is read. Then each weight
    goes to `device` as `dtype` by itself: the host holds one model for "cpu", and one weight for a
    GPU. Only safetensors are read; Python and pickled files beside them are ignored.

    Raises `CheckpointError` for a missing, truncated or pickled file and for weights that are
    unknown, missing, there twice or of another shape, naming them. An adapter's folder gives its
    base with the adapter on top.
    """
    if (folder / "adapter_config.json").is_file():
        from policies.openvla.adapter import load_adapter  # needs PEFT, which takes seconds

        return load_adapter(folder, dtype).model.to(device)
    model, found = plan_model(folder, dtype)
    for name, path in found.items():
        _place(model, from_original(name), read_weight(path, name, dtype, device))
    if model.language_model.config.tie_word_embeddings:
        model.language_model.lm_head.weight = model.language_model.model.embed_tokens.weight
    _rebuild_buffers(model, device)
    return model.eval()


def plan_model(folder: Path, dtype: torch.dtype = torch.float32) -> tuple[OpenVLA, dict[str, Path]]:
    """The network without its weights, and which file holds which of them, by original name.

    Reads the files' headers alone; raises what `load_model` raises for them.
    """
    config = read_config(folder)
    files = weight_files(folder)
    model = build_empty(config, dtype, str(folder / "config.json"))
    shapes = {to_original(name): value.shape for name, value in model.state_dict().items()}
    found = find_weights(files, shapes)
    tied = bool(model.language_model.config.tie_word_embeddings)
    missing = sorted(set(shapes) - set(found) - ({LM_HEAD} if tied else set()))
    if missing:
        raise CheckpointError(
            f"{folder}: {len(missing)} weights are missing: {', '.join(missing[:5])}"
        )
    return model, found


def build_empty(config: OpenVLAConfig, dtype: torch.dtype, source: str) -> OpenVLA:
    """The network without weights, on the meta device; sizes that cannot be are errors."""
    try:
        with torch.device("meta"):
            return OpenVLA(config).to(dtype)
    except Exception as error:  # whatever timm and transformers raise for odd sizes
        text = " ".join(str(error).split())
        raise CheckpointError(f"{source}: no network has these sizes: {text}") from error


def write_weights(weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write a safetensors file whole or not at all. Raises `OSError`, as for a full disk."""
    partial = path.with_name(path.name + ".partial")
    try:
        save_file(dict(weights), partial, metadata={"format": "pt"})
    except SafetensorError as error:  # safetensors' own name for what the system refused
        partial.unlink(missing_ok=True)
        raise OSError(f"cannot write {path}: {error}") from None
    os.replace(partial, path)


def save_checkpoint(
    folder: Path,
    model: OpenVLA,
    config: OpenVLAConfig,
    tokenizer: PreTrainedTokenizerFast,
    dtype: torch.dtype = torch.float32,
    files: Mapping[str, str] | None = None,
) -> None:
    """Write a checkpoint folder; `files` are further text files by name.

    Everything is written under other names and renamed, the configuration last: a folder without
    `config.json` is not finished.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        to_original(name): value.detach().to(dtype).contiguous()
        for name, value in model.state_dict().items()
    }
    if model.language_model.config.tie_word_embeddings:
        del weights[LM_HEAD]
    write_weights(weights, folder / WEIGHTS)
    write_text(folder / "tokenizer.json", tokenizer.backend_tokenizer.to_str(pretty=False))
    preprocessor = preprocessor_config(config.normalization, config.image_sizes)
    write_text(folder / PREPROCESSOR, json.dumps(preprocessor, indent=1))
    for name, text in (files or {}).items():
        write_text(folder / name, text)
    write_text(folder / "config.json", json.dumps(config.to_dict(), indent=1))


def write_text(path: Path, text: str) -> None:
    """Write a whole file or leave the old one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)


def to_original(name: str) -> str:
    """Our parameter name -> the original's, which calls LayerScale's weight `scale_factor`."""
    return name.replace(".ls1.gamma", ".ls1.scale_factor").replace(
        ".ls2.gamma", ".ls2.scale_factor"
    )


def from_original(name: str) -> str:
    return name.replace(".ls1.scale_factor", ".ls1.gamma").replace(
        ".ls2.scale_factor", ".ls2.gamma"
    )


def _place(model: OpenVLA, name: str, tensor: torch.Tensor) -> None:
    """Put a weight where the module still has one without numbers."""
    owner, _, leaf = name.rpartition(".")
    module = model.get_submodule(owner)
    if leaf in module._parameters:
        setattr(module, leaf, torch.nn.Parameter(tensor))
    else:
        setattr(module, leaf, tensor)


def _rebuild_buffers(model: OpenVLA, device: str | torch.device) -> None:
    """Buffers that are not stored were left on the meta device; compute them."""
    rotary = model.language_model.model.rotary_emb
    model.language_model.model.rotary_emb = type(rotary)(model.language_model.config).to(device)
    left = [
        name for name, value in [*model.named_buffers(), *model.named_parameters()] if value.is_meta
    ]
    if left:
        raise RuntimeError(f"values that nothing filled: {left}")
