"""Greedy decoding with a key-value cache: what runs on the robot and what is verified."""

from __future__ import annotations

import torch
from torch import Tensor

from policies.openvla.model import OpenVLA


@torch.inference_mode()
def decode_greedily(
    model: OpenVLA, context: Tensor, input_ids: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """The `count` most likely tokens behind a prompt, one after the other.

    `context` (1, c, llm_dim) is what stands behind the prompt's first token, `input_ids` (1, n) the
    prompt. Returns the tokens (count,) int64 and the logits they were chosen from
    (count, vocab_size).
    """
    if count < 1:
        raise ValueError(f"count: expected at least one token, got {count}")
    embeddings = model.splice(context, input_ids)
    cache = None
    chosen: list[Tensor] = []
    logits: list[Tensor] = []
    for _ in range(count):
        output = model.language_model.model(
            inputs_embeds=embeddings, past_key_values=cache, use_cache=True
        )
        cache = output.past_key_values
        logits.append(model.language_model.lm_head(output.last_hidden_state[:, -1]))  # (1, vocab)
        token = logits[-1].argmax(-1, keepdim=True)  # (1, 1)
        chosen.append(token[0])
        embeddings = model.language_model.get_input_embeddings()(token)
    return torch.cat(chosen), torch.cat(logits)
