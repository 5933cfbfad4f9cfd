"""Every connector: shapes, gradients, its way through a checkpoint, and what it claims to do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.openvla.checkpoint import load_model, save_checkpoint
from policies.openvla.config import CONNECTORS, CheckpointError, ConnectorConfig, OpenVLAConfig
from policies.openvla.connectors import MixtureOfExperts, build_connector, space_to_channel
from policies.openvla.statistics import ActionStatistics
from policies.training.batches import BatchMaker
from policies.training.initial import exchange_connector
from policies.training.objective import Learner


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("kind", CONNECTORS)
def test_tokens_and_gradients(kind, pool):
    torch.manual_seed(0)
    config = ConnectorConfig(kind, queries=5, pool=pool)
    connector = build_connector(config, 12, 32)
    features = torch.randn(2, 16, 12, requires_grad=True)
    tokens = connector(features)
    patches = 16 // pool**2
    assert tokens.shape == (2, patches if config.tokens_are_patches else 5, 32)
    (tokens**2).sum().backward()
    assert (features.grad.abs().sum((0, 2)) > 0).all()  # every patch is seen
    rows = connector(features.detach().flip(0))
    torch.testing.assert_close(rows.flip(0), tokens, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", CONNECTORS)
def test_trains_and_reloads(kind, tmp_path, tiny_model, tiny_tokenizer, tiny_examples):
    model = exchange_connector(tiny_model, ConnectorConfig(kind, queries=3), seed=0)
    statistics = ActionStatistics.from_norm_stats(model.config.norm_stats, None)
    maker = BatchMaker(model.config, tiny_tokenizer, statistics, torch.device("cpu"))
    model.language_model.config._attn_implementation = "eager"
    learner = Learner(
        model, maker, tiny_tokenizer, class_names=tiny_examples.patches.class_names
    ).train()
    rng = np.random.default_rng(0)
    batch = maker.make(tiny_examples, np.arange(4), rng)
    total, figures = learner.loss(tiny_examples, batch)
    total.backward()
    assert ("pointing" in figures) == (kind not in ("qformer", "perceiver"))
    assert ("imbalance" in figures) == (kind == "moe")
    assert all(weight.grad is not None for weight in model.projector.parameters())
    save_checkpoint(tmp_path / "model", model, model.config, tiny_tokenizer)
    again = load_model(tmp_path / "model")
    assert again.config.connector == model.config.connector
    features = torch.randn(1, 4, 64)
    with torch.inference_mode():
        expected = model.eval().projector(features)
        torch.testing.assert_close(again.projector(features), expected)


def test_space_to_channel_joins_neighbours():
    patches = torch.arange(16.0).view(1, 16, 1)  # a square of 4 x 4, row by row
    joined = space_to_channel(patches, 2)
    assert joined[0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    with pytest.raises(ValueError, match="a multiple of 3, got 16"):
        space_to_channel(patches, 3)


def test_experts_share_the_work():
    torch.manual_seed(0)
    connector = MixtureOfExperts(8, 16, experts=4, active=2)
    features = torch.randn(64, 10, 8)
    output = connector(features)
    assert 0.9 < connector.imbalance.item() < 1.3  # 1 when all share alike
    # By hand: the two best experts of one token, weighed by their renormalized scores.
    token = features[0, 0]
    scores = connector.router(token).softmax(-1)
    best = scores.topk(2)
    by_hand = sum(
        weight * connector.experts[index](token)
        for weight, index in zip(best.values / best.values.sum(), best.indices, strict=True)
    )
    torch.testing.assert_close(output[0, 0], by_hand)
    with torch.no_grad():
        connector.router.weight.zero_()
        connector.router.weight[0] = 5.0
        connector(features.abs())
    assert connector.imbalance > 1.5  # one expert takes (nearly) everything


def test_configuration(tiny_config):
    config = replace(tiny_config, connector=ConnectorConfig("moe", experts=3))
    assert OpenVLAConfig.from_dict(config.to_dict()).connector == config.connector
    with pytest.raises(CheckpointError, match="expected one of openvla, linear, .*, got 'magic'"):
        ConnectorConfig("magic")
    with pytest.raises(CheckpointError, match="pool: expected 1 or more, got 0"):
        ConnectorConfig(pool=0)
    with pytest.raises(CheckpointError, match="active_experts: expected at most 2, got 3"):
        ConnectorConfig("moe", experts=2, active_experts=3)
