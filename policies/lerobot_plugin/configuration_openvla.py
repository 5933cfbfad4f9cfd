"""What `lerobot-train --policy.type=openvla` can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lerobot.configs import NormalizationMode, PolicyFeature, PreTrainedConfig
from lerobot.optim import AdamWConfig, CosineDecayWithWarmupSchedulerConfig
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE

from policies.factory import policy_folder
from policies.interface import ACTION_DIM
from policies.openvla.config import CheckpointError, read_config
from policies.openvla.state import DATASET_STATE_NAMES

PREPROCESSOR = "policy_preprocessor.json"


@PreTrainedConfig.register_subclass("openvla")
@dataclass
class OpenVLALeRobotConfig(PreTrainedConfig):
    """OpenVLA's settings in LeRobot's form.

    `checkpoint` is where a new run begins: the name of a policy that ships here or a folder in
    OpenVLA's layout (`--policy.pretrained_path` may name the same). Without it, and without
    LeRobot's own `--policy.path`, a small model is made for the dataset.
    """

    checkpoint: str | None = None
    unnorm_key: str | None = None  # whose statistics un-normalize, of several; None: the only ones
    pretrained_path: Path | None = None
    input_features: dict[str, PolicyFeature] | None = field(default_factory=dict)
    # With --policy.path LeRobot hands its own option --policy.discover_packages_path on to here.
    discover_packages_path: str | None = None
    camera: str = "front"  # of a new model; a checkpoint names its own
    # The network and its statistics: our `config.json`, filled in when the policy is made.
    openvla: dict[str, Any] = field(default_factory=dict)

    # Width of the labels' Gaussian in bins; 0: the original's cross-entropy with one right bin.
    label_sigma_bins: float = 2.0
    augment: bool = True  # brightness, contrast, tint and noise, while training

    # The network scales states and actions itself, by the quantiles inside its checkpoint.
    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: dict.fromkeys(
            ("VISUAL", "STATE", "ACTION"), NormalizationMode.IDENTITY
        )
    )

    optimizer_lr: float = 5e-4
    optimizer_weight_decay: float = 0.02
    optimizer_grad_clip_norm: float = 1.0
    scheduler_warmup_steps: int = 50
    scheduler_decay_steps: int = 2500
    scheduler_final_share: float = 0.02  # of the learning rate, after the last decay step

    def __post_init__(self) -> None:
        super().__post_init__()
        self.discover_packages_path = None
        if self.label_sigma_bins < 0:
            raise ValueError(f"label_sigma_bins: expected 0 or more, got {self.label_sigma_bins}")
        if self.pretrained_path is not None and not (self.pretrained_path / PREPROCESSOR).exists():
            # Not a folder that LeRobot wrote: OpenVLA's own layout, which has no processors.
            self.checkpoint, self.pretrained_path = str(self.pretrained_path), None

    def get_optimizer_preset(self) -> AdamWConfig:
        return AdamWConfig(
            lr=self.optimizer_lr,
            betas=(0.9, 0.95),
            weight_decay=self.optimizer_weight_decay,
            grad_clip_norm=self.optimizer_grad_clip_norm,
        )

    def get_scheduler_preset(self) -> CosineDecayWithWarmupSchedulerConfig:
        return CosineDecayWithWarmupSchedulerConfig(
            num_warmup_steps=self.scheduler_warmup_steps,
            num_decay_steps=self.scheduler_decay_steps,
            peak_lr=self.optimizer_lr,
            decay_lr=self.optimizer_lr * self.scheduler_final_share,
        )

    @property
    def image_key(self) -> str:
        """The feature with the camera's images."""
        return f"{OBS_IMAGES}.{self.camera}"

    @property
    def with_state(self) -> bool:
        """Whether the network reads the robot's state; the published ones do not."""
        return bool(self.openvla.get("proprio"))

    def validate_features(self) -> None:
        """Raise `CheckpointError` unless dataset or environment have what the network needs, and
        keep only that.
        """
        inputs = self.input_features or {}
        wanted: dict[str, tuple[int | None, ...]] = {self.image_key: (3, None, None)}
        if self.with_state:
            wanted[OBS_STATE] = (len(DATASET_STATE_NAMES),)
        for key, shape in wanted.items():
            got = tuple(inputs[key].shape) if key in inputs else None
            if got is None or len(got) != len(shape) or got[0] != shape[0]:
                raise CheckpointError(
                    f"input: expected {key} of shape {shape}, got "
                    f"{got if got else 'none; there are ' + ', '.join(inputs)}"
                )
        action = (self.output_features or {}).get(ACTION)
        if action is None or tuple(action.shape) != (ACTION_DIM,):
            raise CheckpointError(
                f"action: expected {ACTION_DIM} numbers, got "
                f"{None if action is None else tuple(action.shape)}"
            )
        self.input_features = {key: inputs[key] for key in wanted}

    @property
    def observation_delta_indices(self) -> None:
        return None

    @property
    def action_delta_indices(self) -> list[int]:
        """Which actions LeRobot's dataset gives with a frame: as many as a chunk head answers."""
        return list(range(self.chunk_length))

    @property
    def chunk_length(self) -> int:
        """Actions that the network answers at once. Raises `CheckpointError` for `checkpoint`s that
        cannot be read."""
        if not self.openvla and self.checkpoint:
            chunk = read_config(policy_folder(self.checkpoint)).chunk
            return chunk.length if chunk else 1
        return int((self.openvla.get("chunk") or {"length": 1})["length"])

    @property
    def reward_delta_indices(self) -> None:
        return None
