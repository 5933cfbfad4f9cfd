"""The chunk head's slots: where they stand and what they see."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from policies.openvla.chunk_head import slot_attention, slot_positions
from policies.openvla.config import CheckpointError, ChunkConfig, OpenVLAConfig
from policies.training.initial import add_chunk_head


def test_who_may_look_at_whom():
    seen = slot_attention(torch.tensor([2, 1]), count=2, total=5)
    # Row 0: two of the prompt, two slots, one of padding.
    assert seen[0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
    ]
    assert seen[1, 1].tolist() == seen[1, 2].tolist() == [True, True, True, False, False]
    assert slot_positions(torch.tensor([2, 1]), 2).tolist() == [[2, 3], [1, 2]]


@torch.inference_mode()
def test_padding_changes_nothing_and_slots_see_each_other(tiny_model):
    model = add_chunk_head(tiny_model, 3, seed=0)
    context = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[1, 300, 301, 302, 0, 0, 0, 0, 0], [1, 310, 0, 0, 0, 0, 0, 0, 0]])
    lengths = torch.tensor([4, 2])
    both, _ = model.slot_outputs(context, ids, lengths)
    assert both.shape == (2, 2 + 3 * 7)
    alone, _ = model.slot_outputs(context[1:], ids[1:, :7], lengths[1:])
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-5)
    # The last slot reaches the first action: attention between slots goes both ways.
    model.chunk_head.slots[-1] += 1.0
    changed, _ = model.slot_outputs(context, ids, lengths)
    assert (changed[:, 2:9] - both[:, 2:9]).abs().max() > 1e-6


@torch.inference_mode()
def test_actions_are_read_with_what_was_named(tiny_model):
    head = add_chunk_head(tiny_model, 3, seed=0).chunk_head
    hidden = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(0))
    state_token = torch.ones(1, 32)
    fresh = head(hidden, state_token)
    head.grounding.bias += 0.5
    named_otherwise = head(hidden, state_token)
    torch.testing.assert_close(named_otherwise[:, :2], fresh[:, :2] + 0.5)
    torch.testing.assert_close(named_otherwise[:, 2:], fresh[:, 2:])  # not learned yet: no effect
    head.fc_named.weight.normal_(generator=torch.Generator().manual_seed(1))
    before = head(hidden, state_token)
    head.grounding.bias -= 0.5
    assert (head(hidden, state_token)[:, 2:] - before[:, 2:]).abs().max() > 1e-3
    assert (head(hidden, 2 * state_token)[:, 2:] - before[:, 2:]).abs().max() > 1e-3


def test_configuration_round_trip(tiny_config):
    config = replace(tiny_config, chunk=ChunkConfig(8, 1))
    assert OpenVLAConfig.from_dict(config.to_dict()).chunk == ChunkConfig(8, 1)
    assert OpenVLAConfig.from_dict(tiny_config.to_dict()).chunk is None
    with pytest.raises(CheckpointError, match="expected 1 to 100 actions, got 0"):
        ChunkConfig(0)


def test_a_model_without_a_head_says_so(tiny_model):
    with pytest.raises(ValueError, match="no chunk head"):
        tiny_model.slot_outputs(torch.zeros(1, 5, 32), torch.ones(1, 4, dtype=int), torch.ones(1))
