"""The configuration of an OpenVLA checkpoint, read from and written to its `config.json`.

Field names are the original's (`prismatic/extern/hf/configuration_prismatic.py`), so that published
folders load unchanged. What OpenVLA does not have is optional and absent there: `vision_towers`
(sizes other than the timm architectures'), `proprio` (the state token of OpenVLA-OFT,
arXiv 2502.19645) and `grounding` (positions named before the action, after embodied
chain-of-thought, arXiv 2407.08693).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class CheckpointError(ValueError):
    """A checkpoint folder that cannot be used; the message says what was expected."""


# `vision_backbone_id` -> the timm architectures of its towers (DINOv2 first), their image size.
VISION_BACKBONES: dict[str, tuple[tuple[str, ...], int]] = {
    "dinosiglip-vit-so-224px": (
        ("vit_large_patch14_reg4_dinov2.lvd142m", "vit_so400m_patch14_siglip_224"),
        224,
    ),
    "dinosiglip-vit-so-112px": (
        ("vit_large_patch14_reg4_dinov2.lvd142m", "vit_so400m_patch14_siglip_224"),
        112,
    ),
}


@dataclass(frozen=True)
class ProprioConfig:
    """One extra token from the robot's state, normalized by its quantiles to [-1, 1]."""

    q01: tuple[float, ...]  # (n,)
    q99: tuple[float, ...]  # (n,)

    @property
    def dim(self) -> int:
        return len(self.q01)


@dataclass(frozen=True)
class GroundingConfig:
    """Numbers the model names before the action, each in one of the action's bins."""

    names: tuple[str, ...]  # ("target_x", "target_y", ...)
    low: tuple[float, ...]  # [m], the value at -1
    high: tuple[float, ...]  # [m], the value at +1


@dataclass(frozen=True)
class OpenVLAConfig:
    """Everything needed to build the network and to un-normalize its actions."""

    text_config: dict[str, Any]  # of the Hugging Face Llama
    norm_stats: dict[str, Any]  # dataset name -> {"action": {"q01", "q99", "mask"}, ...}
    vision_backbone_id: str = "dinosiglip-vit-so-224px"
    timm_model_ids: tuple[str, ...] = VISION_BACKBONES["dinosiglip-vit-so-224px"][0]
    image_sizes: tuple[int, int] = (224, 224)
    vision_towers: tuple[dict[str, Any], ...] | None = None  # overrides of timm's sizes
    n_action_bins: int = 256
    pad_to_multiple_of: int = 64  # padding rows at the end of the embedding; no tokens
    proprio: ProprioConfig | None = None
    grounding: GroundingConfig | None = None
    camera: str = "front"  # the camera it was trained on
    rate_hz: float = 5.0  # actions per second it was trained on; BridgeData V2: 5
    instruction_words: tuple[str, ...] | None = None  # all it was trained on; None = open
    extra: dict[str, Any] = field(default_factory=dict)  # fields kept but not used

    @property
    def tokenizer_vocab_size(self) -> int:
        """Ids below this are tokens; the last `n_action_bins` of them stand for actions."""
        return int(self.text_config["vocab_size"]) - self.pad_to_multiple_of

    @classmethod
    def from_dict(cls, values: dict[str, Any], source: str = "config.json") -> OpenVLAConfig:
        """Build from the fields of a `config.json`; errors name `source` and the field."""
        for key in ("text_config", "norm_stats"):
            if not isinstance(values.get(key), dict):
                raise CheckpointError(f"{source}: expected an object {key!r}")
        for key in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"):
            if not isinstance(values["text_config"].get(key), int):
                raise CheckpointError(f"{source}: expected an integer text_config.{key}")
        backbone = values.get("vision_backbone_id", "dinosiglip-vit-so-224px")
        if backbone not in VISION_BACKBONES:
            raise CheckpointError(
                f"{source}: vision_backbone_id: expected one of "
                f"{', '.join(VISION_BACKBONES)}, got {backbone!r}"
            )
        model_ids, size = VISION_BACKBONES[backbone]
        known = {
            "text_config", "norm_stats", "vision_backbone_id", "timm_model_ids", "image_sizes",
            "vision_towers", "n_action_bins", "pad_to_multiple_of", "proprio", "grounding",
            "camera", "rate_hz", "instruction_words",
        }  # fmt: skip
        towers = values.get("vision_towers")
        proprio, grounding = values.get("proprio"), values.get("grounding")
        return cls(
            text_config=values["text_config"],
            norm_stats=values["norm_stats"],
            vision_backbone_id=backbone,
            timm_model_ids=tuple(values.get("timm_model_ids", model_ids)),
            image_sizes=tuple(values.get("image_sizes", (size, size))),
            vision_towers=tuple(towers) if towers else None,
            n_action_bins=int(values.get("n_action_bins", 256)),
            pad_to_multiple_of=int(values.get("pad_to_multiple_of", 64)),
            proprio=ProprioConfig(**_tuples(proprio)) if proprio else None,
            grounding=GroundingConfig(**_tuples(grounding)) if grounding else None,
            camera=str(values.get("camera", "front")),
            rate_hz=float(values.get("rate_hz", 5.0)),
            instruction_words=(
                tuple(values["instruction_words"]) if values.get("instruction_words") else None
            ),
            extra={key: value for key, value in values.items() if key not in known},
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields of `config.json`."""
        values: dict[str, Any] = {
            **self.extra,
            "architectures": ["OpenVLAForActionPrediction"],
            "model_type": "openvla",
            "vision_backbone_id": self.vision_backbone_id,
            "timm_model_ids": list(self.timm_model_ids),
            "image_sizes": list(self.image_sizes),
            "image_resize_strategy": "resize-naive",
            "use_fused_vision_backbone": True,
            "n_action_bins": self.n_action_bins,
            "pad_to_multiple_of": self.pad_to_multiple_of,
            "text_config": self.text_config,
            "norm_stats": self.norm_stats,
            "camera": self.camera,
            "rate_hz": self.rate_hz,
        }
        if self.instruction_words:
            values["instruction_words"] = list(self.instruction_words)
        if self.vision_towers:
            values["vision_towers"] = list(self.vision_towers)
        if self.proprio:
            values["proprio"] = {"q01": list(self.proprio.q01), "q99": list(self.proprio.q99)}
        if self.grounding:
            values["grounding"] = {
                "names": list(self.grounding.names),
                "low": list(self.grounding.low),
                "high": list(self.grounding.high),
            }
        return values


def read_config(folder: Path) -> OpenVLAConfig:
    """Read `folder/config.json`. Raises `CheckpointError` when it is missing or not valid."""
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder}: expected a checkpoint folder, found no config.json"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({error}); is the file truncated?") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(values).__name__}")
    if values.get("type") == "openvla" and isinstance(values.get("openvla"), dict):
        values = values["openvla"]  # written by `lerobot-train`: LeRobot's settings around ours
    return OpenVLAConfig.from_dict(values, str(path))


def _tuples(values: dict[str, Any]) -> dict[str, tuple]:
    return {key: tuple(value) for key, value in values.items()}
