"""What adapting changes about a policy: settings, and the configuration that comes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from policies.openvla.adapter import LoraSettings
from policies.openvla.config import OpenVLAConfig, ProprioConfig
from policies.openvla.statistics import ActionStatistics, action_norm_stats
from policies.training.demonstrations import Demonstrations
from policies.training.examples import Examples
from policies.training.initial import GROUNDING, words_of

LORA_LEARNING_RATE = 5e-4  # OpenVLA's (`vla-scripts/finetune.py`)
FULL_LEARNING_RATE = 2e-5  # OpenVLA's (`vla-scripts/train.py`)


@dataclass(frozen=True)
class FinetuneConfig:
    """Beyond the loop's settings."""

    dataset_name: str  # the key of its statistics in the new checkpoint
    lora: LoraSettings | None = LoraSettings()  # None: all weights are trained
    keep_statistics: bool = False  # the base's, for data of the very same robot
    unnorm_key: str | None = None  # which of the base's, if it has several
    with_state: bool = True  # False: the adapted policy does not look at the robot's state
    gradient_checkpointing: bool = False  # half the memory, a third more time
    merge: bool = True  # write base and adapter as one checkpoint too
    merged_bf16: bool = False
    validation_share: float = 0.05  # of each dataset's episodes, the last ones


def dataset_name(folders: Sequence[Path]) -> str:
    """The statistics' key of one or several folders."""
    return "+".join(folder.name for folder in folders)


def uses_original_objective(config: OpenVLAConfig) -> bool:
    """Whether a checkpoint is OpenVLA as published: the numbers' tokens, then the end token."""
    return config.grounding is None and config.proprio is None and config.chunk is None


def adapted_config(
    base: OpenVLAConfig, demonstrations: Sequence[Demonstrations], settings: FinetuneConfig
) -> OpenVLAConfig:
    """The base's configuration with the statistics, the words and the rate of the new data."""
    parts = [each.examples for each in demonstrations]
    actions = np.concatenate([part.actions.reshape(-1, part.actions.shape[-1]) for part in parts])
    states = np.concatenate([part.states for part in parts])
    proprio = base.proprio if settings.with_state else None
    if settings.keep_statistics:
        key = ActionStatistics.from_norm_stats(base.norm_stats, settings.unnorm_key).key
        norm_stats = {key: base.norm_stats[key]}
    else:
        episodes = sum(len(each.episode_starts) for each in demonstrations)
        entry = action_norm_stats(actions, len(actions), episodes)
        if proprio is not None:
            low, high = np.quantile(states, [0.01, 0.99], axis=0).astype(float)
            proprio = ProprioConfig(tuple(low.tolist()), tuple(high.tolist()))
        norm_stats = {settings.dataset_name: entry}
    known = base.instruction_words
    if known is not None:
        said = words_of(text for part in parts for row in part.instructions for text in row)
        known = tuple(sorted({*known, *said}))
    return replace(
        base,
        norm_stats=norm_stats,
        proprio=proprio,
        instruction_words=known,
        rate_hz=demonstrations[0].rate_hz,
    )


def with_grounding_of(examples: Examples, config: OpenVLAConfig) -> Examples:
    """What a model names before the action, unknown unless the dataset's are those numbers."""
    if config.grounding is None or config.grounding.names == GROUNDING.names:
        return examples
    shape = (*examples.grounding.shape[:2], config.grounded_numbers)
    return replace(examples, grounding=np.full(shape, np.nan, dtype=np.float32))
