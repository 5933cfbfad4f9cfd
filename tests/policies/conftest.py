"""A tiny OpenVLA and a tiny set of examples that every test here can afford."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from policies.openvla.checkpoint import save_checkpoint
from policies.openvla.config import GroundingConfig, OpenVLAConfig, ProprioConfig
from policies.openvla.model import OpenVLA
from policies.training.examples import Examples, PatchLabels
from policies.training.initial import fit_tokenizer, fresh_model

INSTRUCTIONS = ("pick up the red cube", "push the blue cylinder to the left")


@pytest.fixture(scope="session")
def tiny_config() -> OpenVLAConfig:
    tower = {"embed_dim": 32, "depth": 2, "num_heads": 2}
    quantiles = {"q01": [-0.05] * 6 + [0.0], "q99": [0.05] * 6 + [1.0]}
    return OpenVLAConfig(
        text_config={
            "vocab_size": 768,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "max_position_embeddings": 128,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": False,
        },
        norm_stats={"tiny": {"action": {**quantiles, "mask": [True] * 6 + [False]}}},
        vision_backbone_id="dinosiglip-vit-so-112px",
        image_sizes=(28, 28),
        vision_towers=(dict(tower), dict(tower)),
        pad_to_multiple_of=0,
        proprio=ProprioConfig((0.2, -0.3, 0.0, -1, -1, -1, 0), (0.8, 0.3, 0.4, 1, 1, 1, 1)),
        grounding=GroundingConfig(("target_x", "target_y"), (0.2, -0.35), (0.8, 0.35)),
        rate_hz=10.0,
        instruction_words=tuple(sorted({word for text in INSTRUCTIONS for word in text.split()})),
    )


@pytest.fixture(scope="session")
def tiny_tokenizer():
    return fit_tokenizer(INSTRUCTIONS)


@pytest.fixture
def tiny_model(tiny_config) -> OpenVLA:
    return fresh_model(tiny_config, seed=0).eval()


@pytest.fixture
def tiny_folder(tmp_path, tiny_model, tiny_config, tiny_tokenizer) -> Path:
    folder = tmp_path / "tiny"
    save_checkpoint(folder, tiny_model, tiny_config, tiny_tokenizer)
    return folder


@pytest.fixture(scope="session")
def tiny_examples() -> Examples:
    """32 noise images whose label is their brightness: learnable, and only by looking."""
    rng = np.random.default_rng(0)
    count = 32
    brightness = rng.uniform(0.2, 0.8, size=count).astype(np.float32)
    noise = rng.uniform(0.9, 1.0, size=(count, 28, 28, 3))
    images = (255 * brightness[:, None, None, None] * noise).astype(np.uint8)
    actions = np.zeros((count, 2, 7), dtype=np.float32)
    actions[..., 0] = (brightness[:, None] - 0.5) * 0.1
    grounding = np.repeat(brightness[:, None, None], 2, axis=1).repeat(2, axis=2) * 0.5
    states = np.tile(np.array([0.5, 0, 0.2, 0, 0, 0, 1], np.float32), (count, 1))
    return Examples(
        images=images,
        states=states,
        instructions=[list(INSTRUCTIONS) for _ in range(count)],
        grounding=grounding,
        actions=actions,
        patches=PatchLabels(
            item_classes=np.tile([1, -1], (count, 1)),
            item_positions=np.zeros((count, 2, 3), np.float32),
            patch_items=np.tile([0, -1, -1, 0], (count, 1)),
            target_items=np.zeros((count, 2), np.int64),
            captions=[f"a {'red' if value > 0.5 else 'blue'} cube" for value in brightness],
            class_names=("red cube", "blue cube", "blue cylinder"),
        ),
    )
