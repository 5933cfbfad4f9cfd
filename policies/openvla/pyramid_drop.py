"""PyramidDrop (arXiv 2410.17247): deeper layers see fewer image tokens, those that the prompt asks.

Before chosen layers the image tokens are ranked by the attention that the prompt's last token gives
them there, averaged over heads; the best share goes on, the rest ends. For models with a chunk
head, which run the language model once: nothing has to be remembered of what was dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaModel, apply_rotary_pos_emb, repeat_kv

from policies.openvla.attention import additive_mask


@dataclass(frozen=True)
class LayerOutputs:
    """What the layers give; sequences become shorter where tokens are dropped."""

    last_hidden_state: Tensor  # (b, n - dropped, hidden)
    attentions: tuple[Tensor, ...]  # per layer (b, heads, n', n'), where they are computed
    hidden_states: tuple[Tensor, ...]  # before the first layer and after each, (b, n', hidden)


def run_dropping(
    model: LlamaModel,
    embeddings: Tensor,
    allowed: Tensor,
    image_tokens: int,
    asking: Tensor,
    keep: Mapping[int, float],
) -> LayerOutputs:
    """Run all layers over `embeddings` (b, n, hidden), dropping image tokens on the way.

    `allowed` (b, n, n): who may look at whom. Image tokens are those behind the first; `asking`
    (b,) is the index of the prompt's last token. `keep`: layer -> share of the image tokens there
    are that go on into it. Every token keeps its position.
    """
    rows = len(embeddings)
    batch = torch.arange(rows, device=embeddings.device)
    positions = torch.arange(embeddings.shape[1], device=embeddings.device)[None]
    cos, sin = (part.expand(rows, -1, -1) for part in model.rotary_emb(embeddings, positions))
    hidden, dropped = embeddings, 0
    attentions, states = [], [hidden]
    for index, layer in enumerate(model.layers):
        if index in keep:
            count = max(1, round(keep[index] * image_tokens))
            asked = hidden[batch, asking - dropped]  # (b, hidden)
            at = (cos[batch, asking - dropped], sin[batch, asking - dropped])
            scores = asked_for(layer, hidden, asked, (cos, sin), at, image_tokens)
            best = scores.topk(count, dim=1).indices.sort(dim=1).values + 1
            first = torch.zeros(rows, 1, dtype=torch.int64, device=hidden.device)
            rest = torch.arange(1 + image_tokens, hidden.shape[1], device=hidden.device)
            kept = torch.cat([first, best, rest.expand(rows, -1)], dim=1)  # (b, n')
            hidden, cos, sin = (part[batch[:, None], kept] for part in (hidden, cos, sin))
            allowed = allowed[batch[:, None, None], kept[:, :, None], kept[:, None, :]]
            dropped += image_tokens - count
            image_tokens = count
        attended, weights = layer.self_attn(
            hidden_states=layer.input_layernorm(hidden),
            position_embeddings=(cos, sin),
            attention_mask=additive_mask(allowed, hidden.dtype)[:, None],
        )
        hidden = hidden + attended
        hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        states.append(hidden)
        if weights is not None:
            attentions.append(weights)
    return LayerOutputs(model.norm(hidden), tuple(attentions), tuple(states))


def asked_for(
    layer,
    hidden: Tensor,
    asked: Tensor,
    everywhere: tuple[Tensor, Tensor],
    at: tuple[Tensor, Tensor],
    image_tokens: int,
) -> Tensor:
    """(b, image_tokens): the attention that `asked` (b, hidden) gives each image token in `layer`.

    `everywhere` and `at`: rotary cosines and sines of all tokens (b, n, d) and of `asked` (b, d).
    """
    attention = layer.self_attn
    rows, width = len(hidden), attention.head_dim
    image = layer.input_layernorm(hidden[:, 1 : 1 + image_tokens])
    keys = attention.k_proj(image).view(rows, image_tokens, -1, width).transpose(1, 2)
    query = attention.q_proj(layer.input_layernorm(asked)).view(rows, 1, -1, width).transpose(1, 2)
    cos, sin = (part[:, 1 : 1 + image_tokens] for part in everywhere)
    keys, _ = apply_rotary_pos_emb(keys, keys, cos, sin)
    query, _ = apply_rotary_pos_emb(query, query, at[0][:, None], at[1][:, None])
    keys = repeat_kv(keys, attention.num_key_value_groups)
    scores = (query @ keys.transpose(2, 3))[:, :, 0] * attention.scaling  # (b, heads, tokens)
    return scores.softmax(-1).mean(1)
