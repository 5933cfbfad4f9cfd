"""A fresh small model: sizes, tokenizer, statistics, embeddings that know numbers are ordered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from policies.openvla.chunk_head import ChunkHead
from policies.openvla.config import (
    CheckpointError,
    ChunkConfig,
    ConnectorConfig,
    GroundingConfig,
    OpenVLAConfig,
    ProprioConfig,
)
from policies.openvla.connectors import build_connector
from policies.openvla.model import OpenVLA
from policies.openvla.statistics import action_norm_stats
from policies.openvla.text import train_tokenizer, words
from policies.training.examples import Examples

TEXT_TOKENS = 512
ACTION_BINS = 256
GROUNDING = GroundingConfig(
    names=("target_x", "target_y", "goal_x", "goal_y"),
    low=(0.20, -0.35, 0.20, -0.35),
    high=(0.80, 0.35, 0.80, 0.35),
)


def mini_config(
    examples: Examples, dataset_name: str, connector: ConnectorConfig | None = None
) -> OpenVLAConfig:
    """`openvla-mini`: two towers of 4 blocks x 192 at 112 px, Llama of 4 layers x 256."""
    tower = {"embed_dim": 192, "depth": 4, "num_heads": 3}
    known = examples.actions[~np.isnan(examples.actions).any(-1)]
    return OpenVLAConfig(
        text_config={
            "vocab_size": TEXT_TOKENS + ACTION_BINS,
            "hidden_size": 256,
            "intermediate_size": 688,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "max_position_embeddings": 256,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "model_type": "llama",
        },
        norm_stats={dataset_name: action_norm_stats(known, len(examples), 0)},
        vision_backbone_id="dinosiglip-vit-so-112px",
        image_sizes=(112, 112),
        vision_towers=(dict(tower), dict(tower)),
        n_action_bins=ACTION_BINS,
        pad_to_multiple_of=0,
        proprio=ProprioConfig(
            q01=tuple(np.quantile(examples.states, 0.01, axis=0).astype(float).tolist()),
            q99=tuple(np.quantile(examples.states, 0.99, axis=0).astype(float).tolist()),
        ),
        grounding=GROUNDING,
        connector=connector,
        camera="front",
        rate_hz=10.0,
        instruction_words=words_of(text for row in examples.instructions for text in row),
    )


def add_chunk_head(model: OpenVLA, length: int, seed: int) -> OpenVLA:
    """Give a model that decodes token by token a fresh head for chunks of `length` actions.

    Slots begin as the token of the number 0, which the model has learned to go on from: where it
    named a number it already looks at what the number is about.
    """
    if model.config.chunk is not None:
        raise CheckpointError(
            f"chunk length: this model has a head for {model.config.chunk.length} actions already; "
            "leave the length out to go on with it"
        )
    torch.manual_seed(seed)
    chunk = ChunkConfig(length)
    model.config = replace(model.config, chunk=chunk)
    hidden = int(model.config.text_config["hidden_size"])
    model.chunk_head = ChunkHead(
        model.config.grounded_numbers,
        length,
        chunk.blocks,
        hidden,
        model.config.proprio is not None,
    )
    zero = model.config.tokenizer_vocab_size - model.config.n_action_bins // 2
    with torch.no_grad():
        model.chunk_head.slots.add_(model.language_model.get_input_embeddings().weight[zero])
    return model


def exchange_connector(model: OpenVLA, connector: ConnectorConfig, seed: int) -> OpenVLA:
    """Give a model a fresh connector of another kind; everything else stays."""
    torch.manual_seed(seed)
    model.config = replace(model.config, connector=connector)
    hidden = int(model.config.text_config["hidden_size"])
    model.projector = build_connector(connector, model.vision_backbone.embed_dim, hidden)
    return model


def words_of(instructions: Iterable[str]) -> tuple[str, ...]:
    """Every word of these instructions, once, sorted."""
    return tuple(sorted({word for text in set(instructions) for word in words(text)}))


def fit_tokenizer(instructions: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer for these instructions that leaves the last ids to the numbers."""
    return train_tokenizer(instructions, TEXT_TOKENS)


def fresh_model(config: OpenVLAConfig, seed: int) -> OpenVLA:
    """A model with random weights, whose number tokens begin as smooth functions of the number.

    With independent embeddings the model would have to learn from data that bin 117 lies beside
    bin 118. Fourier features of falling amplitude say so from the start, in and out.
    """
    torch.manual_seed(seed)
    model = OpenVLA(config)
    hidden = int(config.text_config["hidden_size"])
    first = config.tokenizer_vocab_size - config.n_action_bins
    values = torch.linspace(1.0, -1.0, config.n_action_bins)  # the lowest id is the largest value
    frequencies = torch.arange(1, 25) * torch.pi / 2
    phases = values[:, None] * frequencies
    features = torch.cat([phases.sin(), phases.cos()], dim=1)  # (bins, 48)
    features = features / torch.arange(1, 25).repeat(2).sqrt()
    for weight in (
        model.language_model.get_input_embeddings().weight,
        model.language_model.lm_head.weight,
    ):
        mixing = torch.randn(features.shape[1], hidden)
        rows = features @ mixing
        with torch.no_grad():
            weight[first : config.tokenizer_vocab_size] = 0.02 * rows / rows.std()
    return model
