"""Dropping image tokens: which ones go, and that nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaModel

from policies.openvla.checkpoint import load_model, save_checkpoint
from policies.openvla.config import CheckpointError, ChunkConfig, DropConfig, OpenVLAConfig
from policies.openvla.pyramid_drop import run_dropping
from policies.openvla.statistics import ActionStatistics
from policies.training.batches import BatchMaker
from policies.training.initial import add_chunk_head
from policies.training.objective import Learner

IMAGE_TOKENS = 4


@pytest.fixture
def sequence(tiny_model):
    """A model, embeddings (2, 10, 32) of which 1..4 are image tokens, a causal mask."""
    embeddings = torch.randn(2, 10, 32, generator=torch.Generator().manual_seed(0))
    allowed = torch.ones(10, 10, dtype=torch.bool).tril().expand(2, 10, 10)
    return tiny_model.language_model.model, embeddings, allowed


@torch.inference_mode()
def test_keeping_all_is_the_plain_model(sequence):
    model, embeddings, allowed = sequence
    ours = run_dropping(model, embeddings, allowed, IMAGE_TOKENS, torch.tensor([9, 7]), {1: 1.0})
    theirs = model(inputs_embeds=embeddings, use_cache=False).last_hidden_state
    torch.testing.assert_close(ours.last_hidden_state, theirs, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_the_tokens_that_are_asked_for_stay(sequence):
    """What goes on equals a plain run of the layer over the tokens with the largest attention."""
    model, embeddings, allowed = sequence
    model.config._attn_implementation = "eager"
    asking = torch.tensor([9, 7])
    ours = run_dropping(model, embeddings, allowed, IMAGE_TOKENS, asking, {1: 0.5})
    assert ours.last_hidden_state.shape == (2, 8, 32)
    plain = model(
        inputs_embeds=embeddings, use_cache=False, output_attentions=True, output_hidden_states=True
    )
    for row, asked in enumerate(asking):
        weights = plain.attentions[1][row, :, asked, 1:5]
        shares = (weights / weights.sum(-1, keepdim=True)).mean(0)
        best = sorted((shares.topk(2).indices + 1).tolist())
        kept = torch.tensor([0, *best, *range(5, 10)])
        states = plain.hidden_states[1][row : row + 1, kept]
        positions = kept[None]
        layer = model.layers[1]
        mask = torch.full((8, 8), torch.finfo(torch.float32).min).triu(1)[None, None]
        rotary = model.rotary_emb(states, positions)
        by_hand = model.norm(layer(states, attention_mask=mask, position_embeddings=rotary))
        torch.testing.assert_close(ours.last_hidden_state[row : row + 1], by_hand)


@torch.inference_mode()
def test_several_stages_drop_one_after_another():
    """Each stage ranks what the one before left, by its own layer, with the places of the start."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=16, hidden_size=32, intermediate_size=48, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, attn_implementation="eager",
    )  # fmt: skip
    model, image_tokens, asking = LlamaModel(config).eval(), 8, torch.tensor([13, 11])
    embeddings = torch.randn(2, 14, 32, generator=torch.Generator().manual_seed(1))
    allowed = torch.ones(14, 14, dtype=torch.bool).tril().expand(2, 14, 14)
    ours = run_dropping(model, embeddings, allowed, image_tokens, asking, {1: 0.5, 3: 0.25})
    assert [state.shape[1] for state in ours.hidden_states] == [14, 14, 10, 10, 7]
    for row, asked in enumerate(asking.tolist()):
        states, places = embeddings[row : row + 1], torch.arange(14)
        for index, layer in enumerate(model.layers):
            if index in (1, 3):
                _, weights = _attend(model, layer, states, places)
                image = (places >= 1) & (places <= image_tokens)
                given = weights[0, :, places.tolist().index(asked)][:, image]
                shares = (given / given.sum(-1, keepdim=True)).mean(0)
                best = places[image][shares.topk(4 if index == 1 else 1).indices]
                kept = ~image | torch.isin(places, best)
                states, places = states[:, kept], places[kept]
            attended, _ = _attend(model, layer, states, places)
            states = states + attended
            states = states + layer.mlp(layer.post_attention_layernorm(states))
        by_hand = model.norm(states)
        torch.testing.assert_close(ours.last_hidden_state[row : row + 1], by_hand)


def _attend(model, layer, states, places):
    """What the layer's attention gives, and its weights, for tokens that stand at `places`."""
    count = len(places)
    mask = torch.full((count, count), torch.finfo(torch.float32).min).triu(1)[None, None]
    rotary = model.rotary_emb(states, places[None])
    return layer.self_attn(
        hidden_states=layer.input_layernorm(states),
        position_embeddings=rotary,
        attention_mask=mask,
    )


def test_trains_and_reloads(tmp_path, tiny_model, tiny_tokenizer, tiny_examples):
    model = add_chunk_head(tiny_model, 3, seed=0)
    model.config = replace(model.config, pyramid_drop=DropConfig((1,), 0.5))
    statistics = ActionStatistics.from_norm_stats(model.config.norm_stats, None)
    maker = BatchMaker(model.config, tiny_tokenizer, statistics, torch.device("cpu"))
    model.language_model.config._attn_implementation = "eager"
    learner = Learner(model, maker, tiny_tokenizer, class_names=tiny_examples.patches.class_names)
    batch = maker.make(tiny_examples, np.arange(4), np.random.default_rng(0), augment=False)
    total, figures = learner.loss(tiny_examples, batch)
    total.backward()
    assert {"placing", "routing"} <= set(figures)
    assert all(weight.grad is not None for weight in model.chunk_head.parameters())
    before = learner.eval().numbers(model.vision_backbone(batch.pixel_values), batch)
    save_checkpoint(tmp_path / "model", model, model.config, tiny_tokenizer)
    again = load_model(tmp_path / "model")
    assert again.config.pyramid_drop == model.config.pyramid_drop
    learner = Learner(again, maker, tiny_tokenizer)
    after = learner.numbers(again.vision_backbone(batch.pixel_values), batch)
    np.testing.assert_allclose(after, before, atol=1e-4)


def test_configuration(tiny_config):
    with_head = replace(tiny_config, chunk=ChunkConfig(2))
    config = replace(with_head, pyramid_drop=DropConfig((1,), 0.25))
    assert OpenVLAConfig.from_dict(config.to_dict()).pyramid_drop == config.pyramid_drop
    with pytest.raises(CheckpointError, match="expected a model with a chunk head"):
        replace(tiny_config, pyramid_drop=DropConfig((1,), 0.5))
    with pytest.raises(CheckpointError, match="expected layers below 2, got \\[2\\]"):
        replace(with_head, pyramid_drop=DropConfig((2,), 0.5))
    with pytest.raises(CheckpointError, match="a share between 0 and 1, got 1.5"):
        DropConfig((1,), 1.5)
    with pytest.raises(CheckpointError, match="layers from 1 on, got \\[0\\]"):
        DropConfig((0,), 0.5)
