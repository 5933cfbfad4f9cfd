"""Builds the networks of SmolVLA, pi0 and pi0.5: all weights or an error, with our transformers.

LeRobot 0.6 is written for transformers 5.4 and 5.5. What later versions changed under it is mended
here, and only that; outputs are held against those of LeRobot with 5.5.4 in
`tests/policies/test_lerobot_vlas.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies import pi_gemma
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.policies.smolvla import smolvlm_with_expert
from safetensors.torch import load_file
from transformers import DynamicCache
from transformers.masking_utils import create_causal_mask

from policies.openvla.weights import WEIGHTS

# SigLIP's tower lost a level: checkpoints have the first name, networks the second.
TOWER = ("vision_tower.vision_model.", "vision_tower.")


class CutCache(DynamicCache):
    """Keys and values of which `crop(length)` keeps so many tokens, as SmolVLA means it; in
    transformers it takes the number of those to remove.
    """

    def crop(self, length: int) -> None:
        for layer in self.layers:
            if (surplus := layer.get_seq_length() - length) > 0:
                layer.crop(-surplus)


def causal_mask(*arguments: Any, cache_position: Any = None, **options: Any) -> Any:
    """`create_causal_mask`, which pi0 hands a position that it no longer takes."""
    return create_causal_mask(*arguments, **options)


def mend() -> None:
    """LeRobot's modules find the above under the names that they import from transformers."""
    smolvlm_with_expert.DynamicCache = CutCache
    pi_gemma.create_causal_mask = causal_mask


def build(policy_class: Any, folder: Path, config: PreTrainedConfig) -> PreTrainedPolicy:
    """The network of a checkpoint folder, with all of its weights.

    Raises `RuntimeError` naming those that do not fit, `SafetensorError` for a damaged file.
    """
    mend()
    if config.type == "smolvla":
        return _smolvla(policy_class, folder, config)
    return _pi(policy_class, folder / WEIGHTS, config)


def _smolvla(policy_class: Any, folder: Path, config: PreTrainedConfig) -> PreTrainedPolicy:
    """A SmolVLA that computes in what LeRobot's does, without reading the VLM's own weights first:
    the checkpoint has them all.
    """
    in_bfloat16, config.load_vlm_weights = config.load_vlm_weights, False
    policy = policy_class.from_pretrained(folder, config=config, strict=True)
    if in_bfloat16:  # so LeRobot reads them, and keeps them
        for parameter in policy.model.vlm_with_expert.vlm.parameters():
            parameter.data = parameter.data.to(torch.bfloat16)
    return policy


def _pi(policy_class: Any, file: Path, config: PreTrainedConfig) -> PreTrainedPolicy:
    """Not by LeRobot's `from_pretrained`: that prints what it cannot load, leaves it random, and
    goes on.
    """
    policy = policy_class(config)
    expected = policy.state_dict()
    weights = {}
    for name, value in policy._fix_pytorch_state_dict_keys(load_file(file), config).items():
        name = name if name.startswith("model.") else f"model.{name}"
        weights[name if name in expected else name.replace(*TOWER)] = value
    wrong = {
        "missing": expected.keys() - weights.keys(),
        "not known": weights.keys() - expected.keys(),
        "of another shape": {
            name
            for name in expected.keys() & weights.keys()
            if expected[name].shape != weights[name].shape
        },
    }
    if any(wrong.values()):
        raise RuntimeError(
            "; ".join(
                f"{len(names)} weights are {what} ({', '.join(sorted(names)[:3])})"
                for what, names in wrong.items()
                if names
            )
        )
    policy.load_state_dict(weights, strict=True)
    return policy
