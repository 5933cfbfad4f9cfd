"""LoRA adapters (arXiv 2106.09685) on an OpenVLA: add, save, load on their base, merge.

The file names and weight names are PEFT's. Beside them stand what the policy needs that the base
does not have (`config.json` with the new statistics, the tokenizer) and `adapter_base.json`, which
says by a hash whose weights the adapter was trained on: on others it would move the arm at random.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, LoraModel
from torch import nn
from transformers import PreTrainedTokenizerFast

from policies.openvla.checkpoint import load_model, save_checkpoint, write_text, write_weights
from policies.openvla.config import CheckpointError, OpenVLAConfig, read_config
from policies.openvla.model import OpenVLA
from policies.openvla.normalization import PREPROCESSOR, preprocessor_config
from policies.openvla.text import load_tokenizer
from policies.openvla.weights import stored_weights, weight_files

CONFIG, WEIGHTS, BASE = "adapter_config.json", "adapter_model.safetensors", "adapter_base.json"
PICKLED = "adapter_model.bin"
# Small, and nothing without what surrounds them: trained in full, as OpenVLA-OFT does
# (arXiv 2502.19645), and stored beside the adapter.
FULL_MODULES = ("chunk_head", "proprio_projector")
PREFIX, NAME = "base_model.model.", "default"  # PEFT's, of weights and of the one adapter
NOT_SUPPORTED = ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern", "layer_replication")
# Files of a published checkpoint that its original code reads and that adapting does not change.
KEPT_FILES = (
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "generation_config.json",
)  # fmt: skip


@dataclass(frozen=True)
class LoraSettings:
    """OpenVLA's own (`vla-scripts/finetune.py`), by default."""

    rank: int = 32
    alpha: int | None = None  # None: min(rank, 16); what is added is scaled by alpha / rank
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank: expected 1 or more, got {self.rank}")
        if self.alpha is not None and self.alpha < 1:
            raise ValueError(f"alpha: expected 1 or more, got {self.alpha}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout: expected 0 to 1, got {self.dropout}")

    @property
    def effective_alpha(self) -> int:
        return min(self.rank, 16) if self.alpha is None else self.alpha


@dataclass(frozen=True)
class BaseReference:
    """Which checkpoint an adapter belongs to."""

    policy: str  # a shipped policy's name or a folder
    weights_hash: str  # sha256, hexadecimal

    @classmethod
    def of(cls, policy: str, folder: Path) -> BaseReference:
        """`policy`: as the user named it; `folder`: where it is."""
        from policies.factory import shipped_policies

        name = policy if policy in shipped_policies() else str(folder.absolute())
        return cls(name, weights_hash(folder))


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter, not a whole checkpoint."""
    return (folder / CONFIG).is_file()


def weights_hash(folder: Path) -> str:
    """sha256 over a checkpoint's weights by name: the same however they are split into files."""
    digests: dict[str, str] = {}
    for path in weight_files(folder):
        for name, tensor in stored_weights(path):
            about = f"{name} {tensor.dtype} {tuple(tensor.shape)}"
            digest = hashlib.sha256(about.encode())
            digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
            digests[name] = digest.hexdigest()
    return hashlib.sha256(json.dumps(sorted(digests.items())).encode()).hexdigest()


def linear_layers(model: OpenVLA) -> list[str]:
    """Names of the layers that get an adapter: PEFT's "all-linear" without the output head."""
    left_out = (*FULL_MODULES, "language_model.lm_head")
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not name.startswith(left_out)
    ]


def add_adapter(model: OpenVLA, settings: LoraSettings, seed: int) -> LoraModel:
    """Freeze `model` and put a fresh adapter, which changes nothing yet, on its linear layers.

    What is returned can merge the two; `model` itself is changed in place.
    """
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.effective_alpha,
        lora_dropout=settings.dropout,
        target_modules=linear_layers(model),
        init_lora_weights="gaussian",
    )
    torch.manual_seed(seed)
    tuner = _inject(model, config)
    for name, parameter in model.named_parameters():
        trained = _is_adapters(name)
        parameter.requires_grad_(trained)
        if trained:  # small steps are lost in bf16
            parameter.data = parameter.data.float()
    return tuner


def save_adapter(
    folder: Path,
    tuner: LoraModel,
    base: BaseReference,
    config: OpenVLAConfig,
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    """Write an adapter folder; `config`: of the adapted policy. `adapter_config.json` comes last:
    without it the folder is not an adapter.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).unlink(missing_ok=True)
    tensors = {
        _stored_name(name): value.detach().float().cpu().contiguous()
        for name, value in tuner.model.named_parameters()
        if _is_adapters(name)
    }
    write_weights(tensors, folder / WEIGHTS)
    reference = {"policy": base.policy, "weights_sha256": base.weights_hash}
    write_text(folder / BASE, json.dumps(reference, indent=1))
    write_text(folder / "tokenizer.json", tokenizer.backend_tokenizer.to_str(pretty=False))
    preprocessor = preprocessor_config(config.normalization, config.image_sizes)
    write_text(folder / PREPROCESSOR, json.dumps(preprocessor, indent=1))
    write_text(folder / "config.json", json.dumps(config.to_dict(), indent=1))
    peft_config = tuner.peft_config[NAME]
    about = {
        "peft_type": "LORA",
        "base_model_name_or_path": base.policy,
        "r": peft_config.r,
        "lora_alpha": peft_config.lora_alpha,
        "lora_dropout": peft_config.lora_dropout,
        "target_modules": sorted(peft_config.target_modules),
        "modules_to_save": [
            name for name in FULL_MODULES if getattr(tuner.model, name) is not None
        ],
        "init_lora_weights": "gaussian",
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "task_type": None,
    }
    write_text(folder / CONFIG, json.dumps(about, indent=1))


def load_adapter(
    folder: Path, dtype: torch.dtype = torch.float32, base: str | None = None
) -> LoraModel:
    """The base with its adapter, not merged; `.model` is the network.

    `base`: where the base is now, if not where it was. Raises `CheckpointError` for a pickled,
    damaged or unsupported adapter, and for a base that it was not trained on.
    """
    config = read_config(folder)
    about, tensors = _read_adapter(folder)
    base_folder = _base_folder(folder, base)
    model = load_model(base_folder, dtype)
    if config.proprio is None:
        model.proprio_projector = None  # adapted to go without the robot's state
    model.config = config
    lora = LoraConfig(
        r=int(about["r"]),
        lora_alpha=int(about["lora_alpha"]),
        target_modules=about["target_modules"],
    )
    tuner = _inject(model, lora)
    parameters = {
        _stored_name(name): value for name, value in model.named_parameters() if _is_adapters(name)
    }
    _check_fits(folder / WEIGHTS, parameters, tensors)
    with torch.no_grad():
        for name, parameter in parameters.items():
            # An adapter's small numbers keep their digits; PEFT computes with both.
            parameter.data = tensors[name].to(torch.float32 if ".lora_" in name else dtype)
    model.requires_grad_(False)
    model.eval()
    return tuner


def merge_adapter(
    folder: Path,
    output: Path,
    dtype: torch.dtype = torch.float32,
    base: str | None = None,
    card: str | None = None,
) -> None:
    """Write base and adapter as one checkpoint in the usual layout.

    In bf16 it is half as large and rounded: what the adapter adds may be less than a digit.
    """
    tuner = load_adapter(folder, dtype, base)
    config = tuner.model.config
    model = tuner.merge_and_unload(safe_merge=True)
    files = extra_files(_base_folder(folder, base, check=False), config)
    if card is not None:
        files["README.md"] = card
    save_checkpoint(output, model, config, load_tokenizer(folder), dtype, files)


def extra_files(base_folder: Path, config: OpenVLAConfig) -> dict[str, str]:
    """Files that the original code reads beside the weights, by name."""
    kept = {
        name: (base_folder / name).read_text()
        for name in KEPT_FILES
        if (base_folder / name).is_file()
    }
    return kept | {"dataset_statistics.json": json.dumps(config.norm_stats, indent=1)}


def _inject(model: OpenVLA, config: LoraConfig) -> LoraModel:
    return LoraModel(model, config, NAME)


def _is_adapters(name: str) -> bool:
    """Whether a parameter of a model with an adapter is stored with the adapter."""
    return ".lora_" in name or name.startswith(FULL_MODULES)


def _stored_name(name: str) -> str:
    return PREFIX + name.replace(f".{NAME}.", ".")


def _read_adapter(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Its configuration and its weights."""
    path = folder / CONFIG
    try:
        about = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise CheckpointError(f"{path}: not a whole adapter configuration ({error})") from None
    if not isinstance(about, dict) or about.get("peft_type") != "LORA":
        got = about.get("peft_type") if isinstance(about, dict) else type(about).__name__
        raise CheckpointError(f"{path}: peft_type: expected 'LORA', got {got!r}")
    missing = [key for key in ("r", "lora_alpha", "target_modules") if not about.get(key)]
    if missing:
        raise CheckpointError(f"{path}: expected {', '.join(missing)}")
    used = [key for key in NOT_SUPPORTED if about.get(key)]
    if used or about.get("bias", "none") != "none":
        raise CheckpointError(f"{path}: expected plain LoRA, it uses {', '.join(used) or 'bias'}")
    if not (folder / WEIGHTS).is_file():
        if (folder / PICKLED).is_file():
            raise CheckpointError(
                f"{folder}: expected {WEIGHTS}, found only {PICKLED}, which is pickled, can run "
                "code and is never loaded; convert it to safetensors first"
            )
        raise CheckpointError(f"{folder}: expected {WEIGHTS}, found none")
    return about, dict(stored_weights(folder / WEIGHTS))


def _base_folder(folder: Path, given: str | None, check: bool = True) -> Path:
    """The base's folder; `check` that it has the weights the adapter was trained on."""
    from policies.factory import policy_folder

    path = folder / BASE
    try:
        reference = json.loads(path.read_text())
        policy, expected = str(reference["policy"]), str(reference["weights_sha256"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder}: expected {BASE} with the base's name and hash ({error!r}); without it "
            "nobody can tell which weights this adapter belongs to"
        ) from None
    name = given or policy
    try:
        found = policy_folder(name)
    except CheckpointError as error:
        raise CheckpointError(
            f"{folder}: its base {name!r} is not there ({error}); merge it with `vla-ros merge "
            f"--adapter {folder} --base DIR`"
        ) from None
    got = weights_hash(found) if check else expected
    if got != expected:
        raise CheckpointError(
            f"{folder}: this adapter is for another base: expected the weights {expected[:12]} "
            f"({policy}), got {got[:12]} ({found})"
        )
    return found


def _check_fits(
    path: Path, parameters: dict[str, nn.Parameter], tensors: dict[str, torch.Tensor]
) -> None:
    unknown = sorted(set(tensors) - set(parameters))
    missing = sorted(set(parameters) - set(tensors))
    if unknown or missing:
        raise CheckpointError(
            f"{path}: this adapter is for another base: {len(unknown)} of its weights have no "
            f"place ({', '.join(unknown[:3]) or 'none'}), {len(missing)} are missing "
            f"({', '.join(missing[:3]) or 'none'})"
        )
    for name, parameter in parameters.items():
        if tensors[name].shape != parameter.shape:
            raise CheckpointError(
                f"{path}: this adapter is for another base: {name!r}: expected shape "
                f"{tuple(parameter.shape)}, got {tuple(tensors[name].shape)}"
            )
        if not torch.isfinite(tensors[name]).all():
            raise CheckpointError(f"{path}: {name!r} has numbers that are not finite")
