"""Greedy decoding of a fixed count of tokens with a static key-value cache, for batches too.

The original decodes one prompt at a time with a cache that grows. Here all rows of a batch advance
together: prompts are padded on the right, every row keeps its own positions, and a mask hides the
padding, so that a row's tokens are those it would have had alone. The cache and the masks have the
same shapes at every step, which is what `torch.compile` and CUDA graphs need.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import StaticCache

from policies.openvla.attention import additive_mask, pad_prompts
from policies.openvla.model import OpenVLA

CAPACITY_STEP = 32  # caches are this much or a multiple long: few shapes
COMPILED_STEP = 128  # each is compiled for


def likeliest(logits: Tensor) -> Tensor:
    """(b, vocabulary) -> (b,)."""
    return logits.argmax(-1)


class Sampler:
    """Draws tokens from `first` to `end` at a temperature; the same numbers on every device."""

    def __init__(self, first: int, end: int, temperature: float, seed: int) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature: expected a number above 0, got {temperature}")
        self._range = slice(first, end)
        self._temperature = temperature
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, logits: Tensor) -> Tensor:
        """(b, vocabulary) -> (b,): the largest of logits plus Gumbel noise is a sample of them."""
        allowed = logits[:, self._range].float() / self._temperature
        uniform = torch.rand(allowed.shape, generator=self._generator).clamp_(1e-9, 1 - 1e-7)
        drawn = (allowed - (-uniform.log()).log().to(logits.device)).argmax(-1)
        return drawn + self._range.start


class GreedyDecoder:
    """Decodes `count` tokens after each prompt. Not for several threads at once."""

    def __init__(self, model: OpenVLA, count: int, compiled: bool = False) -> None:
        """`compiled`: let `torch.compile` make one kernel sequence (CUDA: one graph) of a step."""
        if count < 1:
            raise ValueError(f"count: expected 1 or more tokens, got {count}")
        self._model = model
        self._count = count
        self._caches: dict[tuple[int, int], StaticCache] = {}  # (rows, capacity) -> cache
        self._step: Callable[..., Tensor] = self._plain_step
        self._capacity_step = COMPILED_STEP if compiled else CAPACITY_STEP
        if compiled:
            on_gpu = next(model.parameters()).device.type == "cuda"
            self._step = torch.compile(
                self._plain_step,
                fullgraph=True,
                dynamic=False,
                mode="reduce-overhead" if on_gpu else "default",
            )

    @torch.inference_mode()
    def decode(
        self,
        context: Tensor,
        prompts: Sequence[Sequence[int]],
        on_logits: Callable[[Tensor], None] | None = None,
        choose: Callable[[Tensor], Tensor] = likeliest,
    ) -> Tensor:
        """Token ids (b, count), greedily unless `choose` does otherwise.

        `context` (b, n, hidden) is what stands behind the first token (image, state); `prompts` are
        b lists of token ids. `on_logits` sees the (b, vocabulary) logits of every step, of which
        `choose` makes tokens (b,).
        """
        rows, context_length, _ = context.shape
        if len(prompts) != rows or any(not prompt for prompt in prompts):
            raise ValueError(f"prompts: expected {rows} lists of token ids, got {len(prompts)}")
        device = context.device
        padded, prompt_lengths = pad_prompts(prompts)
        lengths = prompt_lengths.to(device) + context_length
        embeddings = self._model.splice(context, padded.to(device))  # (b, prefix, hidden)
        prefix = embeddings.shape[1]
        cache = self._cache(rows, prefix + self._count)
        capacity = cache.layers[0].get_max_length()
        slots = torch.arange(capacity, device=device)
        causal = slots[None, :] <= slots[:prefix, None]  # (prefix, capacity)
        hidden = self._model.language_model.model(
            inputs_embeds=embeddings,
            attention_mask=additive_mask(causal, embeddings.dtype)[None, None],
            position_ids=slots[None, :prefix].expand(rows, prefix),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        last = hidden[torch.arange(rows, device=device), lengths - 1]  # (b, hidden)
        logits = self._model.language_model.lm_head(last)
        # For every step: what its token may look at (steps, b, 1, 1, capacity), and its position.
        steps = torch.arange(self._count - 1, device=device)
        own_prompt = slots[None] < lengths[:, None]  # (b, capacity)
        chosen_before = (slots >= prefix) & (slots <= prefix + steps[:, None])  # (steps, capacity)
        seen = own_prompt[None] | chosen_before[:, None]
        masks = additive_mask(seen, embeddings.dtype)[:, :, None, None]
        positions = (lengths[None] + steps[:, None])[..., None]  # (steps, b, 1)
        chosen = []
        for index in range(self._count):
            if on_logits is not None:
                on_logits(logits)
            token = choose(logits)  # (b,)
            chosen.append(token)
            if index + 1 < self._count:
                logits = self._step(token, masks[index], positions[index], cache)
        return torch.stack(chosen, dim=1)

    def _plain_step(self, token: Tensor, mask: Tensor, position: Tensor, cache) -> Tensor:
        """(b,) tokens, (b, 1, 1, capacity) mask, (b, 1) positions -> (b, vocabulary) logits."""
        language_model = self._model.language_model
        output = language_model.model(
            inputs_embeds=language_model.get_input_embeddings()(token[:, None]),
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
        )
        return language_model.lm_head(output.last_hidden_state[:, -1])

    def _cache(self, rows: int, length: int) -> StaticCache:
        """An empty cache for at least `length` tokens; its memory is used again."""
        capacity = -(-length // self._capacity_step) * self._capacity_step
        cache = self._caches.get((rows, capacity))
        if cache is None:
            cache = StaticCache(config=self._model.language_model.config, max_cache_len=capacity)
            self._caches = {(rows, capacity): cache}  # the last shape only: memory is bounded
        else:
            for layer in cache.layers:
                layer.cumulative_length.zero_()  # what it holds is hidden by the mask
        return cache
