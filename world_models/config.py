"""Sizes and kinds of world models: frozen dataclasses that travel in a checkpoint's `config.json`.

`PRESETS` are sizes to begin from: for tests, for two CPU cores, for a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from policies.interface import ACTION_DIM
from policies.openvla.errors import CheckpointError

Kind = Literal["masked", "flow", "latent"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class TokenizerConfig:
    """Frames to a square of discrete tokens and back."""

    image_size_px: int = 64  # of the square frames
    channels: tuple[int, ...] = (32, 64, 96)  # of each halving of the resolution
    levels: tuple[int, ...] = (8, 5, 5, 5)  # of each FSQ dimension: 1,000 different tokens

    def __post_init__(self) -> None:
        if not self.channels or min(self.channels) < 1:
            raise ValueError(f"channels: expected positive numbers, got {self.channels}")
        factor = 2 ** len(self.channels)
        if self.image_size_px < factor or self.image_size_px % factor:
            raise ValueError(
                f"image_size_px: expected a multiple of {factor} ({len(self.channels)} halvings), "
                f"got {self.image_size_px}"
            )
        if not self.levels or min(self.levels) < 2:
            raise ValueError(f"levels: expected numbers of 2 or more, got {self.levels}")

    @property
    def side(self) -> int:
        """Tokens along a side of a frame."""
        return self.image_size_px // 2 ** len(self.channels)

    @property
    def vocabulary(self) -> int:
        return math.prod(self.levels)


@dataclass(frozen=True)
class DynamicsConfig:
    """A space-time transformer over the tokens of frames, conditioned on actions."""

    kind: Kind = "masked"  # what predicts a frame: discrete diffusion, rectified flow, one latent
    width: int = 256
    blocks: int = 6
    heads: int = 8
    context_frames: int = 4  # that a frame looks back on
    actions_per_frame: int = 2  # control steps from one frame to the next
    state_dim: int = 14  # tool pose and gripper (7), joint angles (7)
    latent_dim: int = 192  # of the one latent; kind "latent" only
    max_words: int = 24  # of an instruction; the rest is left out

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {self.kind!r}")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "kind" and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{field.name}: expected a whole number above 0, got {value!r}")
        if self.width % self.heads:
            raise ValueError(
                f"width: expected a multiple of heads ({self.heads}), got {self.width}"
            )


@dataclass(frozen=True)
class Scales:
    """Mean and standard deviation of what is fed in as numbers, from the training data."""

    action_mean: tuple[float, ...]  # (7,)
    action_std: tuple[float, ...]
    state_mean: tuple[float, ...]  # (state_dim,)
    state_std: tuple[float, ...]

    def __post_init__(self) -> None:
        for field in fields(self):
            values = getattr(self, field.name)
            if not all(math.isfinite(value) for value in values):
                raise ValueError(f"{field.name}: expected finite numbers, got {values}")
            if field.name.endswith("_std") and min(values) <= 0:
                raise ValueError(f"{field.name}: expected numbers above 0, got {values}")
        if (len(self.action_mean), len(self.action_std)) != (ACTION_DIM, ACTION_DIM):
            raise ValueError(
                f"action_mean, action_std: expected {ACTION_DIM} numbers each, "
                f"got {len(self.action_mean)} and {len(self.action_std)}"
            )
        if len(self.state_mean) != len(self.state_std):
            raise ValueError(
                f"state_std: expected {len(self.state_mean)} numbers like state_mean, "
                f"got {len(self.state_std)}"
            )


@dataclass(frozen=True)
class WorldModelConfig:
    """All that a checkpoint needs beside its weights."""

    tokenizer: TokenizerConfig
    dynamics: DynamicsConfig
    scales: Scales
    words: tuple[str, ...]  # of the instructions it was trained on
    camera: str  # name of the camera it imagines
    rate_hz: float  # of the actions
    robot: str  # as the data call it
    discount: float = 0.95  # per control step, of the value head
    validation_share: float = 0.05  # last share of each dataset's episodes, never trained on

    def __post_init__(self) -> None:
        if len(self.scales.state_mean) != self.dynamics.state_dim:
            raise ValueError(
                f"scales: expected a state of {self.dynamics.state_dim} numbers, "
                f"got {len(self.scales.state_mean)}"
            )
        if not (math.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise ValueError(f"rate_hz: expected a number above 0, got {self.rate_hz}")
        if not 0 < self.discount < 1:
            raise ValueError(f"discount: expected a number between 0 and 1, got {self.discount}")
        if not 0 < self.validation_share < 1:
            raise ValueError(
                f"validation_share: expected a number between 0 and 1, got {self.validation_share}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str) -> WorldModelConfig:
        """The inverse of `to_dict`. Raises `CheckpointError` naming what does not fit."""
        parts = {"tokenizer": TokenizerConfig, "dynamics": DynamicsConfig, "scales": Scales}
        try:
            given = dict(_fitting(cls, values, source))
            for name, part in parts.items():
                inner = _fitting(part, given[name], f"{source}: {name}")
                given[name] = part(**{key: _tuples(value) for key, value in inner.items()})
            given["words"] = tuple(str(word) for word in given["words"])
            return cls(**given)
        except CheckpointError:
            raise
        except (TypeError, ValueError, KeyError) as error:
            raise CheckpointError(f"{source}: {error}") from None


def _fitting(kind: type, values: Any, source: str) -> Mapping[str, Any]:
    """`values`, whose names must be those of the dataclass `kind`."""
    if not isinstance(values, Mapping):
        raise CheckpointError(f"{source}: expected names with values, got {values!r}")
    known = {field.name for field in fields(kind)}
    if set(values) != known:
        missing, unknown = sorted(known - set(values)), sorted(set(values) - known)
        raise CheckpointError(
            f"{source}: missing {missing or 'nothing'}, unknown {unknown or 'nothing'}"
        )
    return values


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Preset:
    """Sizes to begin from."""

    tokenizer: TokenizerConfig
    dynamics: DynamicsConfig

    def with_kind(self, kind: Kind) -> Preset:
        """The same sizes for another way of predicting."""
        return replace(self, dynamics=replace(self.dynamics, kind=kind))


TINY = Preset(
    TokenizerConfig(image_size_px=16, channels=(8, 16), levels=(5, 3)),
    DynamicsConfig(
        width=32, blocks=2, heads=2, context_frames=3, actions_per_frame=2, latent_dim=16
    ),
)
TWO_CORE = Preset(TokenizerConfig(), DynamicsConfig())
TWO_CORE_16 = Preset(  # 4x4 tokens: a quarter of the time; four times the digits keep the detail
    TokenizerConfig(channels=(32, 64, 96, 96), levels=(8, 5, 5, 5) * 4), DynamicsConfig()
)
GPU = Preset(
    TokenizerConfig(image_size_px=256, channels=(64, 128, 256, 256)),
    DynamicsConfig(width=1024, blocks=24, heads=16, context_frames=8),
)
PRESETS = {"tiny": TINY, "two-core": TWO_CORE, "two-core-16": TWO_CORE_16, "gpu": GPU}
