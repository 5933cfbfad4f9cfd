"""LeRobot's standard processors: batch, device. What OpenVLA needs beyond is inside its policy."""

from __future__ import annotations

from typing import Any

import torch
from lerobot.processor import PolicyProcessorPipeline, make_default_pre_post_processors

from policies.lerobot_plugin.configuration_openvla import OpenVLALeRobotConfig


def make_openvla_pre_post_processors(
    config: OpenVLALeRobotConfig, dataset_stats: dict[str, dict[str, torch.Tensor]] | None = None
) -> tuple[PolicyProcessorPipeline[Any, Any], PolicyProcessorPipeline[Any, Any]]:
    """Pre- and post-processor; LeRobot finds this function by its name.

    The normalizing steps are there because `lerobot-train` overrides them by name; with the
    configuration's mapping they change nothing.
    """
    return make_default_pre_post_processors(config, dataset_stats)
