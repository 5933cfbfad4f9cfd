"""The configuration of an OpenVLA checkpoint, read from and written to its `config.json`.

Field names are the original's (`prismatic/extern/hf/configuration_prismatic.py`), so that published
folders load unchanged. What OpenVLA does not have is optional and absent there: `vision_towers`
(sizes other than the timm architectures'), `proprio` (the state token of OpenVLA-OFT,
arXiv 2502.19645), `grounding` (positions named before the action, after embodied chain-of-thought,
arXiv 2407.08693) and `chunk` (OpenVLA-OFT's parallel decoding).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from policies.interface import ACTION_DIM
from policies.openvla.errors import CheckpointError
from policies.openvla.json_file import read_object
from policies.openvla.normalization import ImageNormalization, read_normalization

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
    "dinosiglip-vit-so-384px": (
        ("vit_large_patch14_reg4_dinov2.lvd142m", "vit_so400m_patch14_siglip_384"),
        384,
    ),
}
# Published folders leave out of `text_config` what equals the defaults of the transformers 4.40.1
# they were written with: Llama-2-7B. Written out here, so that no other version changes a model.
LLAMA_DEFAULTS: dict[str, Any] = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}
# What the original can be told to do, and this implementation does in one way only.
SUPPORTED: dict[str, tuple[Any, ...]] = {
    "image_resize_strategy": ("resize-naive",),
    "use_fused_vision_backbone": (True,),
    "timm_override_act_layers": (None, [], [None], [None, None]),
    "trust_remote_code": (False, None),  # `auto_map` alone asks for nothing, and is ignored
}


RATES_HZ = (0.1, 1000.0)  # actions a second that a robot could want
MOST_LAYERS = 500


def _check_ranges(name: str, low: tuple[float, ...], high: tuple[float, ...]) -> None:
    pairs = list(zip(low, high, strict=True))
    if not all(math.isfinite(a) and math.isfinite(b) and a <= b for a, b in pairs):
        raise CheckpointError(f"{name}: expected finite numbers, low <= high, got {pairs}")


@dataclass(frozen=True)
class ProprioConfig:
    """One extra token from the robot's state, normalized by its quantiles to [-1, 1]."""

    q01: tuple[float, ...]  # (n,)
    q99: tuple[float, ...]  # (n,)

    def __post_init__(self) -> None:
        if len(self.q01) != len(self.q99):
            raise CheckpointError(
                f"proprio: expected as many q01 as q99, got {len(self.q01)} and {len(self.q99)}"
            )
        _check_ranges("proprio", self.q01, self.q99)

    @property
    def dim(self) -> int:
        return len(self.q01)


@dataclass(frozen=True)
class GroundingConfig:
    """Numbers the model names before the action, each in one of the action's bins."""

    names: tuple[str, ...]  # ("target_x", "target_y", ...)
    low: tuple[float, ...]  # [m], the value at -1
    high: tuple[float, ...]  # [m], the value at +1

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.low) == len(self.high):
            raise CheckpointError(
                f"grounding: expected a low and a high for each name, got {len(self.names)} names, "
                f"{len(self.low)} low, {len(self.high)} high"
            )
        _check_ranges("grounding", self.low, self.high)


@dataclass(frozen=True)
class ChunkConfig:
    """Actions are regressed, a chunk at once, by `policies.openvla.chunk_head`, not decoded."""

    length: int  # actions in a chunk
    blocks: int = 2  # of the residual MLP

    def __post_init__(self) -> None:
        if not 1 <= self.length <= 100:
            raise CheckpointError(f"chunk: expected 1 to 100 actions, got {self.length}")


@dataclass(frozen=True)
class DropConfig:
    """Image tokens end between layers, see `policies.openvla.pyramid_drop`."""

    layers: tuple[int, ...]  # before which some are dropped
    keep: float  # share of the image tokens there are that goes on, at each of these layers

    def __post_init__(self) -> None:
        if not self.layers or min(self.layers) < 1:
            raise CheckpointError(
                f"pyramid_drop.layers: expected layers from 1 on, got {list(self.layers)}"
            )
        if not 0.0 < self.keep < 1.0:
            raise CheckpointError(
                f"pyramid_drop.keep: expected a share between 0 and 1, got {self.keep}"
            )


CONNECTORS = ("openvla", "linear", "mlp", "qformer", "perceiver", "moe")


@dataclass(frozen=True)
class ConnectorConfig:
    """How patches become tokens, see `policies.openvla.connectors`."""

    type: str = "openvla"
    queries: int = 32  # tokens of qformer and perceiver
    layers: int = 2  # of qformer and perceiver
    heads: int = 4  # of qformer and perceiver
    experts: int = 4  # of moe
    active_experts: int = 2  # of moe, per token
    pool: int = 1  # neighbouring patches along a side that become one

    def __post_init__(self) -> None:
        if self.type not in CONNECTORS:
            raise CheckpointError(
                f"connector: expected one of {', '.join(CONNECTORS)}, got {self.type!r}"
            )
        for name in ("queries", "layers", "heads", "experts", "active_experts", "pool"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise CheckpointError(
                    f"connector.{name}: expected 1 or more, got {getattr(self, name)!r}"
                )
        if self.active_experts > self.experts:
            raise CheckpointError(
                f"connector.active_experts: expected at most {self.experts}, "
                f"got {self.active_experts}"
            )

    @property
    def tokens_are_patches(self) -> bool:
        """Whether every token stands for a place in the image."""
        return self.type not in ("qformer", "perceiver")


@dataclass(frozen=True)
class OpenVLAConfig:
    """Everything needed to build the network and to un-normalize its actions."""

    text_config: dict[str, Any]  # of the Hugging Face Llama
    norm_stats: dict[str, Any]  # dataset name -> {"action": {"q01", "q99", "mask"}, ...}
    vision_backbone_id: str = "dinosiglip-vit-so-224px"
    timm_model_ids: tuple[str, ...] = VISION_BACKBONES["dinosiglip-vit-so-224px"][0]
    image_sizes: tuple[int, int] = (224, 224)
    vision_towers: tuple[dict[str, Any], ...] | None = None  # overrides of timm's sizes
    normalization: ImageNormalization = ImageNormalization()  # in preprocessor_config.json
    n_action_bins: int = 256
    pad_to_multiple_of: int = 64  # padding rows at the end of the embedding; no tokens
    proprio: ProprioConfig | None = None
    grounding: GroundingConfig | None = None
    chunk: ChunkConfig | None = None
    connector: ConnectorConfig | None = None  # None: the original's
    pyramid_drop: DropConfig | None = None  # needs a chunk head
    camera: str = "front"  # the camera it was trained on
    rate_hz: float = 5.0  # actions per second it was trained on; BridgeData V2: 5
    instruction_words: tuple[str, ...] | None = None  # all it was trained on; None = open
    extra: dict[str, Any] = field(default_factory=dict)  # fields kept but not used

    def __post_init__(self) -> None:
        if not RATES_HZ[0] <= self.rate_hz <= RATES_HZ[1]:  # false for nan too
            raise CheckpointError(
                f"rate_hz: expected {RATES_HZ[0]} to {RATES_HZ[1]} actions a second, "
                f"got {self.rate_hz}"
            )
        if any(not isinstance(word, str) for word in self.instruction_words or ()):
            raise CheckpointError(
                f"instruction_words: expected words, got {self.instruction_words}"
            )
        if self.pyramid_drop is None:
            return
        if self.chunk is None:
            raise CheckpointError(
                "pyramid_drop: expected a model with a chunk head, which runs its layers once; "
                "this one decodes token by token"
            )
        count = int(self.text_config["num_hidden_layers"])
        if max(self.pyramid_drop.layers) >= count:
            raise CheckpointError(
                f"pyramid_drop.layers: expected layers below {count}, "
                f"got {list(self.pyramid_drop.layers)}"
            )

    @property
    def grounded_numbers(self) -> int:
        """How many numbers are named before the action."""
        return len(self.grounding.names) if self.grounding else 0

    @property
    def tokenizer_vocab_size(self) -> int:
        """Ids below this are tokens; the last `n_action_bins` of them stand for actions."""
        return int(self.text_config["vocab_size"]) - self.pad_to_multiple_of

    @property
    def numbers_per_action(self) -> int:
        """Tokens behind the prompt: the grounding's numbers, then the action's."""
        return ACTION_DIM + (len(self.grounding.names) if self.grounding else 0)

    @classmethod
    def from_dict(cls, values: dict[str, Any], source: str = "config.json") -> OpenVLAConfig:
        """Build from the fields of a `config.json`; errors name `source` and the field."""
        try:
            return cls._from_dict(values, source)
        except CheckpointError as error:
            text = str(error)
            raise CheckpointError(
                text if text.startswith(source) else f"{source}: {text}"
            ) from None
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise CheckpointError(f"{source}: a field has a wrong kind of value: {error}") from None

    @classmethod
    def _from_dict(cls, values: dict[str, Any], source: str) -> OpenVLAConfig:
        for key in ("text_config", "norm_stats"):
            if not isinstance(values.get(key), dict):
                raise CheckpointError(f"{source}: expected an object {key!r}")
        if values["text_config"].get("model_type", "llama") != "llama":
            raise CheckpointError(
                f"{source}: text_config.model_type: expected 'llama', "
                f"got {values['text_config']['model_type']!r}"
            )
        for key, supported in SUPPORTED.items():
            if key in values and values[key] not in supported:
                raise CheckpointError(
                    f"{source}: {key}: expected {supported[0]!r}, got {values[key]!r}"
                )
        text_config = {**LLAMA_DEFAULTS, **values["text_config"]}
        if "rope_parameters" in text_config:  # the newer name, which holds rope_theta
            del text_config["rope_theta"]
        for key in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"):
            _positive_integer(text_config, f"text_config.{key}", source)
        if text_config["num_hidden_layers"] > MOST_LAYERS:
            raise CheckpointError(
                f"{source}: text_config.num_hidden_layers: expected at most {MOST_LAYERS}, "
                f"got {text_config['num_hidden_layers']}"
            )
        if isinstance(values.get("instruction_words"), str):
            raise CheckpointError(f"{source}: instruction_words: expected a list of words")
        for key in ("n_action_bins", "pad_to_multiple_of"):
            if key in values:
                _positive_integer(values, key, source, least=0 if key.startswith("pad") else 2)
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
            "chunk", "connector", "pyramid_drop",
            "camera", "rate_hz", "instruction_words",
        }  # fmt: skip
        towers = values.get("vision_towers")
        config = cls(
            text_config=text_config,
            norm_stats=values["norm_stats"],
            vision_backbone_id=backbone,
            timm_model_ids=tuple(values.get("timm_model_ids", model_ids)),
            image_sizes=tuple(values.get("image_sizes", (size, size))),
            vision_towers=tuple(towers) if towers else None,
            n_action_bins=int(values.get("n_action_bins", 256)),
            pad_to_multiple_of=int(values.get("pad_to_multiple_of", 64)),
            proprio=_part(ProprioConfig, "proprio", values, source),
            grounding=_part(GroundingConfig, "grounding", values, source),
            chunk=_part(ChunkConfig, "chunk", values, source),
            connector=_part(ConnectorConfig, "connector", values, source),
            pyramid_drop=_part(DropConfig, "pyramid_drop", values, source),
            camera=str(values.get("camera", "front")),
            rate_hz=float(values.get("rate_hz", 5.0)),
            instruction_words=(
                tuple(values["instruction_words"]) if values.get("instruction_words") else None
            ),
            extra={key: value for key, value in values.items() if key not in known},
        )
        config._check_vision(source)
        config._check_vocabulary(source)
        return config

    def _check_vision(self, source: str) -> None:
        for name, given in (
            ("timm_model_ids", self.timm_model_ids),
            ("image_sizes", self.image_sizes),
            ("vision_towers", self.vision_towers or ({}, {})),
        ):
            if len(given) != 2:
                raise CheckpointError(
                    f"{source}: {name}: expected one entry for each of the 2 towers, "
                    f"got {len(given)}"
                )
        if self.image_sizes[0] != self.image_sizes[1]:
            raise CheckpointError(
                f"{source}: image_sizes: expected the same for both towers, "
                f"got {list(self.image_sizes)}"
            )

    def _check_vocabulary(self, source: str) -> None:
        if self.n_action_bins >= self.tokenizer_vocab_size:
            raise CheckpointError(
                f"{source}: n_action_bins: expected fewer than the "
                f"{max(self.tokenizer_vocab_size, 0)} tokens (text_config.vocab_size "
                f"{self.text_config['vocab_size']} less pad_to_multiple_of "
                f"{self.pad_to_multiple_of}), got {self.n_action_bins}"
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
        if self.chunk:
            values["chunk"] = asdict(self.chunk)
        if self.connector:
            values["connector"] = asdict(self.connector)
        if self.pyramid_drop:
            values["pyramid_drop"] = asdict(self.pyramid_drop)
        if self.grounding:
            values["grounding"] = {
                "names": list(self.grounding.names),
                "low": list(self.grounding.low),
                "high": list(self.grounding.high),
            }
        return values


def read_config(folder: Path) -> OpenVLAConfig:
    """Read `folder/config.json`, and how images are normalized from `preprocessor_config.json`.

    Raises `CheckpointError` when something is missing or not valid.
    """
    path = folder / "config.json"
    values = read_object(path, "a checkpoint folder")
    if values.get("type") == "openvla" and isinstance(values.get("openvla"), dict):
        values = values["openvla"]  # written by `lerobot-train`: LeRobot's settings around ours
    config = OpenVLAConfig.from_dict(values, str(path))
    return replace(config, normalization=read_normalization(folder, config.image_sizes))


def _positive_integer(values: dict[str, Any], name: str, source: str, least: int = 1) -> None:
    value = values.get(name.split(".")[-1])
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise CheckpointError(f"{source}: {name}: expected an integer from {least}, got {value!r}")


def _part[Part](kind: type[Part], name: str, values: dict[str, Any], source: str) -> Part | None:
    """An optional object of the configuration; lists become tuples."""
    given = values.get(name)
    if not given:
        return None
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})
    except (TypeError, AttributeError) as error:
        raise CheckpointError(f"{source}: {name}: {error}") from None
