"""Checkpoint folders in the Hugging Face layout, safetensors only: read, check, write."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast

from policies.openvla.config import CheckpointError, OpenVLAConfig, read_config
from policies.openvla.model import OpenVLA

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def load_model(folder: Path, dtype: torch.dtype = torch.float32) -> OpenVLA:
    """Build the network of a checkpoint folder and fill it with its weights.

    Raises `CheckpointError` for a missing, truncated or pickled file and for weights that are
    unknown, missing or of another shape, naming them. An adapter's folder gives its base with the
    adapter on top.
    """
    if (folder / "adapter_config.json").is_file():
        from policies.openvla.adapter import load_adapter  # needs PEFT, which takes seconds

        return load_adapter(folder, dtype).model
    config = read_config(folder)
    files = _weight_files(folder)
    with torch.device("meta"):
        model = OpenVLA(config)
    model = model.to(dtype)
    expected = {to_original(name): value for name, value in model.state_dict().items()}
    loaded: dict[str, torch.Tensor] = {}
    for path in files:
        for name, tensor in _read(path):
            if name not in expected:
                raise CheckpointError(f"{path}: unknown weight {name!r}")
            if tensor.shape != expected[name].shape:
                raise CheckpointError(
                    f"{path}: {name!r}: expected shape {tuple(expected[name].shape)}, "
                    f"got {tuple(tensor.shape)}"
                )
            if not torch.isfinite(tensor).all():
                raise CheckpointError(f"{path}: {name!r} has numbers that are not finite")
            loaded[from_original(name)] = tensor.to(dtype)
    missing = sorted(set(expected) - {to_original(name) for name in loaded})
    if missing:
        raise CheckpointError(
            f"{folder}: {len(missing)} weights are missing: {', '.join(missing[:5])}"
        )
    # Not persistent, so not in the file: rotary frequencies; rebuilt by a fresh module.
    model.load_state_dict(loaded, assign=True)
    _rebuild_buffers(model, config)
    return model.eval()


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
    partial = folder / (WEIGHTS + ".partial")
    save_file(weights, partial, metadata={"format": "pt"})
    os.replace(partial, folder / WEIGHTS)
    write_text(folder / "tokenizer.json", tokenizer.backend_tokenizer.to_str(pretty=False))
    write_text(
        folder / "preprocessor_config.json", json.dumps(preprocessor_config(config), indent=1)
    )
    for name, text in (files or {}).items():
        write_text(folder / name, text)
    write_text(folder / "config.json", json.dumps(config.to_dict(), indent=1))


def write_text(path: Path, text: str) -> None:
    """Write a whole file or leave the old one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)


def preprocessor_config(config: OpenVLAConfig) -> dict:
    """The original's `preprocessor_config.json`."""
    from policies.openvla.preprocess import MEANS, STDS

    return {
        "image_processor_type": "PrismaticImageProcessor",
        "image_resize_strategy": "resize-naive",
        "input_sizes": [[3, size, size] for size in config.image_sizes],
        "interpolations": ["bicubic", "bicubic"],
        "means": [list(mean) for mean in MEANS],
        "stds": [list(std) for std in STDS],
        "use_fused_vision_backbone": True,
    }


def to_original(name: str) -> str:
    """Our parameter name -> the original's, which calls LayerScale's weight `scale_factor`."""
    return name.replace(".ls1.gamma", ".ls1.scale_factor").replace(
        ".ls2.gamma", ".ls2.scale_factor"
    )


def from_original(name: str) -> str:
    return name.replace(".ls1.scale_factor", ".ls1.gamma").replace(
        ".ls2.scale_factor", ".ls2.gamma"
    )


def _weight_files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        try:
            names = sorted(set(json.loads((folder / INDEX).read_text())["weight_map"].values()))
        except (json.JSONDecodeError, KeyError, AttributeError) as error:
            raise CheckpointError(f"{folder / INDEX}: not a weight index ({error})") from None
        paths = [folder / name for name in names]
        missing = [path.name for path in paths if not path.is_file()]
        if missing:
            raise CheckpointError(f"{folder}: missing shards {', '.join(missing)}")
        return paths
    pickled = [path.name for pattern in PICKLED for path in folder.glob(pattern)]
    if pickled:
        raise CheckpointError(
            f"{folder}: expected {WEIGHTS}, found only pickled weights ({pickled[0]}), which can "
            "run code and are never loaded; convert them to safetensors first"
        )
    raise CheckpointError(f"{folder}: expected {WEIGHTS} or {INDEX}, found neither")


def _read(path: Path):
    try:
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a dictionary)
                yield name, file.get_tensor(name)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error})") from None


def _rebuild_buffers(model: OpenVLA, config: OpenVLAConfig) -> None:
    """Buffers that are not stored were left on the meta device; compute them."""
    rotary = model.language_model.model.rotary_emb
    model.language_model.model.rotary_emb = type(rotary)(model.language_model.config)
    left = [name for name, buffer in model.named_buffers() if buffer.is_meta]
    if left:
        raise RuntimeError(f"buffers without values: {left}")
