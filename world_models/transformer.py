"""A transformer over space and time with adaptive layer norm per frame and a cache of past frames.

Each block attends within a frame, then along time at each place (Genie, arXiv 2402.15391). A
frame's condition shifts, scales and gates every layer; one layer makes these for all blocks, each
block adds its own (AdaLN-single, PixArt-alpha, arXiv 2310.00426, section 2.3), or they would take
a third of the weights. A frame looks back on `context_frames` frames by relative position, so that
keys and values stay valid however long a roll-out becomes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MODULATIONS = 9  # shift, scale, gate of: attention in space, attention in time, the rest


@dataclass(frozen=True)
class Cache:
    """Keys and values of past frames, one of each per block."""

    keys: tuple[Tensor, ...]  # (b, s, heads, frames, width / heads)
    values: tuple[Tensor, ...]

    @property
    def frames(self) -> int:
        return self.keys[0].shape[3]

    def repeat(self, times: int) -> Cache:
        """Every row `times` times."""
        return self._map(lambda x: x.repeat_interleave(times, 0))

    def place(self, index: int) -> Cache:
        """Of one place in the frame only; s becomes 1."""
        return self._map(lambda x: x[:, index : index + 1])

    def first(self, frames: int) -> Cache:
        """Of the first frames only."""
        return self._map(lambda x: x[:, :, :, :frames])

    def followed_by(self, new: Cache, limit: int) -> Cache:
        """With the frames of `new` behind; the last `limit` frames stay."""
        pairs = zip((*self.keys, *self.values), (*new.keys, *new.values), strict=True)
        joined = [torch.cat(pair, 3)[:, :, :, -limit:] for pair in pairs]
        return Cache(tuple(joined[: len(self.keys)]), tuple(joined[len(self.keys) :]))

    def _map(self, change: Callable[[Tensor], Tensor]) -> Cache:
        return Cache(tuple(map(change, self.keys)), tuple(map(change, self.values)))


def attend(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """(..., q, d), (..., k, d), (..., k, d), bias (..., q, k) -> (..., q, d)."""
    if bias is not None:
        bias = bias.to(queries.dtype)
    if queries.is_cuda:
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
    # On a CPU plain products train faster than the fused kernel's backward.
    scores = queries @ keys.transpose(-1, -2) * queries.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + bias
    return scores.softmax(-1) @ values


def heads_apart(x: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """(..., n, 3 w) -> queries, keys (normalized), values (..., heads, n, w / heads)."""
    parts = x.unflatten(-1, (3, heads, -1))  # (..., n, 3, heads, d)
    queries, keys, values = (part.transpose(-2, -3) for part in parts.unbind(-3))
    size = (queries.shape[-1],)
    return F.rms_norm(queries, size), F.rms_norm(keys, size), values


class Block(nn.Module):
    """Attention in space, attention in time, a perceptron."""

    def __init__(self, width: int, heads: int, context_frames: int, residual_scale: float) -> None:
        super().__init__()
        self.heads = heads
        self.context_frames = context_frames
        self.space_in = nn.Linear(width, 3 * width, bias=False)
        self.space_out = nn.Linear(width, width)
        self.time_in = nn.Linear(width, 3 * width, bias=False)
        self.time_out = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.modulation_embed = nn.Parameter(torch.zeros(MODULATIONS, width))
        self.distance_embed = nn.Parameter(torch.zeros(heads, context_frames + 1))
        for layer in (self.space_out, self.time_out, self.down):
            nn.init.normal_(layer.weight, std=0.02 * residual_scale)
            nn.init.zeros_(layer.bias)
        for layer in (self.space_in, self.time_in, self.up):
            nn.init.normal_(layer.weight, std=0.02)

    def time_bias(self, new: int, past: int) -> Tensor:
        """(heads, new, past + new): by distance in time; the future and what is too old: -inf."""
        frames = torch.arange(past + new, device=self.distance_embed.device)
        distance = frames[past:, None] - frames[None]  # (new, past + new)
        outside = (distance < 0) | (distance > self.context_frames)
        bias = self.distance_embed[:, distance.clamp(0, self.context_frames)]
        return bias.masked_fill(outside, float("-inf"))

    def forward(
        self,
        x: Tensor,
        modulation: Tensor,
        past: tuple[Tensor, Tensor] | None,
        space_bias: Tensor | None,
        before: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """One block over t new frames.

        `x`: (b, t, s, w); `modulation`: (b, t, 9, w); `past`: keys and values of past frames;
        `space_bias`: (t, 1, s, s) added to the attention in space; `before`: keys and values
        (b, t, heads, earlier, d) of earlier places of the same frames. Returns x and the new keys
        and values in time and in space.
        """
        parts = (modulation + self.modulation_embed).unsqueeze(3).unbind(2)  # 9 of (b, t, 1, w)
        queries, keys, values = heads_apart(
            self.space_in(_modulated(x, parts[0], parts[1])), self.heads
        )  # (b, t, heads, s, d)
        in_space = (keys, values)
        if before is not None:
            keys, values = torch.cat([before[0], keys], 3), torch.cat([before[1], values], 3)
            in_space = (keys, values)
        mixed = attend(queries, keys, values, space_bias).transpose(2, 3).flatten(3)
        x = x + (1 + parts[2]) * self.space_out(mixed)

        rows = self.time_in(_modulated(x, parts[3], parts[4])).transpose(1, 2)  # (b, s, t, 3 w)
        queries, keys, values = heads_apart(rows, self.heads)  # (b, s, heads, t, d)
        in_time = (keys, values)
        if past is not None:
            keys, values = torch.cat([past[0], keys], 3), torch.cat([past[1], values], 3)
        bias = self.time_bias(queries.shape[3], keys.shape[3] - queries.shape[3])
        mixed = attend(queries, keys, values, bias)
        mixed = mixed.transpose(2, 3).flatten(3).transpose(1, 2)  # (b, t, s, w)
        x = x + (1 + parts[5]) * self.time_out(mixed)

        hidden = F.gelu(self.up(_modulated(x, parts[6], parts[7])))
        return x + (1 + parts[8]) * self.down(hidden), in_time, in_space


def _modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return F.layer_norm(x, (x.shape[-1],)) * (1 + scale) + shift


class SpaceTimeTransformer(nn.Module):
    """Blocks, and the layer that makes all their modulations from a frame's condition."""

    def __init__(self, width: int, blocks: int, heads: int, context_frames: int) -> None:
        super().__init__()
        self.context_frames = context_frames
        self.modulation = nn.Linear(width, MODULATIONS * width)
        nn.init.normal_(self.modulation.weight, std=0.02)
        nn.init.zeros_(self.modulation.bias)
        self.blocks = nn.ModuleList(
            Block(width, heads, context_frames, (3 * blocks) ** -0.5) for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self, x: Tensor, condition: Tensor, cache: Cache | None = None, last_is_causal: bool = False
    ) -> tuple[Tensor, Cache]:
        """(b, t, s, w) new frames with (b, t, w) conditions -> features alike, and their cache.

        With `last_is_causal` the places of the last frame see only those before them in reading
        order (and themselves).
        """
        space_bias = None
        if last_is_causal:
            frames, places = x.shape[1], x.shape[2]
            space_bias = x.new_zeros(frames, 1, places, places)
            space_bias[-1, 0].masked_fill_(
                torch.ones_like(space_bias[-1, 0], dtype=torch.bool).triu(1), float("-inf")
            )
        x, in_time, _ = self._blocks(x, condition, cache, space_bias, None)
        return self.norm(x), Cache(*zip(*in_time, strict=True))

    def next_place(
        self,
        x: Tensor,
        condition: Tensor,
        cache: Cache,
        before: Sequence[tuple[Tensor, Tensor]] | None,
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """One place (b, 1, 1, w) of a causal frame; `cache`: of that place, `before`: what the
        call for the place before returned.
        """
        x, _, in_space = self._blocks(x, condition, cache, None, before)
        return self.norm(x), in_space

    def _blocks(self, x, condition, cache, space_bias, before):
        modulation = self.modulation(F.silu(condition)).unflatten(-1, (MODULATIONS, -1))
        x = x + condition[:, :, None]  # shifts and scales alone take long to learn what actions do
        times, spaces = [], []
        for index, block in enumerate(self.blocks):
            past = None if cache is None else (cache.keys[index], cache.values[index])
            x, in_time, in_space = block(
                x, modulation, past, space_bias, None if before is None else before[index]
            )
            times.append(in_time)
            spaces.append(in_space)
        return x, times, spaces
