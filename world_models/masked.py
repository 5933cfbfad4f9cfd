"""Discrete diffusion over tokens: masked prediction (MaskGIT, arXiv 2202.04200), or in order.

Training modes: "prefix": clean context, part of the last frame hidden; "all": part of every frame
but the first hidden; "causal": the last frame token by token, each seeing those before it. The same
weights then decode in parallel or autoregressively.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from world_models.config import DynamicsConfig
from world_models.dynamics import Ahead, Decoding, Dynamics, hidden_shares

CONTENT_WEIGHT = 4.0  # beside the outcomes; as much as the four digits of FSQ's 8 5 5 5 together
MAX_CORRUPTION = 0.15  # share of clean tokens replaced by random ones: imagined context has errors


class MaskedDynamics(Dynamics):
    """Contents are digits, see `world_models.fsq`; logits are factorized over them."""

    modes = ("prefix", "all", "causal")
    levels: Tensor
    offsets: Tensor

    def __init__(
        self, config: DynamicsConfig, places: int, levels: tuple[int, ...], word_count: int
    ) -> None:
        super().__init__(config, places, len(levels), word_count)
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.sizes = levels
        offsets = torch.tensor([sum(levels[:index]) for index in range(len(levels))])
        self.register_buffer("offsets", offsets, persistent=False)
        self.digit_embed = nn.Embedding(sum(levels), config.width)
        nn.init.normal_(self.digit_embed.weight, std=0.02)
        self.hidden_embed = nn.Parameter(torch.randn(config.width) * 0.02)
        self.in_order_embed = nn.Parameter(torch.zeros(config.width))  # marks a causal frame
        self.logits = nn.Linear(config.width, sum(levels))

    def embed(self, contents: Tensor, hidden: Tensor) -> Tensor:
        clean = self.embed_digits(contents)
        return torch.where(hidden[..., None] > 0.5, self.hidden_embed.to(clean.dtype), clean)

    def embed_digits(self, digits: Tensor) -> Tensor:
        """(..., d) -> (..., w): a sum over the digits."""
        return self.digit_embed(digits + self.offsets).sum(-2)

    def blank(self, rows: int, generator: torch.Generator | None) -> Tensor:
        device = self.logits.weight.device
        shape = (rows, 1, self.places, self.content_dim)
        return torch.zeros(shape, dtype=torch.long, device=device)

    def digit_logits(self, features: Tensor) -> list[Tensor]:
        """(..., w) -> for each digit (..., levels of it)."""
        return list(self.logits(features).float().split(self.sizes, -1))

    # --- training ---------------------------------------------------------------------------

    def content_loss(self, clip, condition, mode, generator):
        digits = clip.contents
        rows, frames = digits.shape[:2]
        inputs = self._corrupted(digits, generator)
        hidden = torch.zeros(digits.shape[:3], device=digits.device)
        shares, full = hidden_shares(clip, generator)
        counted = torch.zeros_like(hidden, dtype=torch.bool)
        if mode == "causal":
            x = self.embed(inputs, hidden)
            x = torch.cat([x[:, :-1], self._shifted(digits[:, -1])[:, None]], 1)
            counted[:, -1] = True
            full = torch.zeros_like(full)
            features, _ = self.transformer(x + self.place_embed, condition, last_is_causal=True)
        else:
            hidden[:, -1] = self._choose(shares, generator)
            if mode == "all":
                for frame in range(1, frames - 1):
                    angles = torch.rand(rows, generator=generator).to(digits.device)
                    hidden[:, frame] = self._choose(torch.cos(angles * torch.pi / 2), generator)
                full = torch.zeros_like(full)  # the context is not what imagining sees
            counted = hidden > 0.5
            features, _ = self.run(inputs, hidden, condition)
        counted[:, -1] &= clip.last_known[:, None]
        loss, accuracy = self._cross_entropy(features, digits, counted)
        return loss, features[:, -1], full, {"accuracy": accuracy}

    def _cross_entropy(
        self, features: Tensor, digits: Tensor, counted: Tensor
    ) -> tuple[Tensor, float]:
        """Mean over counted tokens and digits, times `CONTENT_WEIGHT`; share of tokens right."""
        chosen, targets = features[counted], digits[counted]
        if not len(chosen):
            return features.sum() * 0.0, 0.0
        parts = self.digit_logits(chosen)
        losses = [F.cross_entropy(part, targets[:, i]) for i, part in enumerate(parts)]
        right = torch.stack([part.argmax(-1) == targets[:, i] for i, part in enumerate(parts)])
        return torch.stack(losses).mean() * CONTENT_WEIGHT, right.all(0).float().mean().item()

    def _corrupted(self, digits: Tensor, generator: torch.Generator) -> Tensor:
        """Some tokens replaced by random ones; the share differs from clip to clip."""
        shape = digits.shape[:3]
        share = torch.rand(shape[0], 1, 1, generator=generator) * MAX_CORRUPTION
        wrong = (torch.rand(shape, generator=generator) < share).to(digits.device)
        drawn = torch.rand(digits.shape, generator=generator).to(digits.device)
        return torch.where(wrong[..., None], (drawn * self.levels).long(), digits)

    def _choose(self, shares: Tensor, generator: torch.Generator) -> Tensor:
        """(b,) -> (b, s): 1.0 at this share of the places, at least at one."""
        order = torch.rand(len(shares), self.places, generator=generator).argsort(1).argsort(1)
        count = (shares * self.places).ceil().clamp(min=1)
        return (order.to(shares.device) < count[:, None]).float()

    def _shifted(self, digits: Tensor) -> Tensor:
        """(b, s, d) -> (b, s, w): every place holds the token before it, the first none."""
        first = self.hidden_embed.expand(len(digits), 1, -1)
        return torch.cat([first, self.embed_digits(digits[:, :-1])], 1) + self.in_order_embed

    # --- imagining --------------------------------------------------------------------------

    def doubt(self, ahead: Ahead) -> Tensor:
        """Entropy [nats a token], averaged over the frame."""
        parts = [logits.log_softmax(-1) for logits in self.digit_logits(ahead.features)]
        entropies = [-(part.exp() * part).sum(-1) for part in parts]  # (b, s) each
        return torch.stack(entropies).sum(0).mean(1)

    def surprise(self, ahead: Ahead, contents: Tensor) -> Tensor:
        """Negative log-likelihood [nats a token], averaged over the frame."""
        parts = [logits.log_softmax(-1) for logits in self.digit_logits(ahead.features)]
        found = [part.gather(-1, contents[..., i, None])[..., 0] for i, part in enumerate(parts)]
        return -torch.stack(found).sum(0).mean(1)

    def imagine(self, ahead, decoding, generator):
        if decoding.mode == "autoregressive":
            return self._in_order(ahead, decoding.temperature, generator)
        return self._in_parallel(ahead, decoding, generator)

    def _in_parallel(
        self, ahead: Ahead, decoding: Decoding, generator: torch.Generator | None
    ) -> Tensor:
        """MaskGIT's decoding: every pass keeps the likeliest tokens, a cosine says how many."""
        contents, features = ahead.contents, ahead.features
        hidden = torch.ones(contents.shape[:3], device=contents.device)  # (b, 1, s)
        for step in range(1, decoding.steps + 1):
            if step > 1:
                features = self.run(contents, hidden, ahead.condition, ahead.cache)[0][:, -1]
            drawn, score = self._draw(features, decoding.temperature, generator)
            unknown = hidden[:, 0] > 0.5
            contents = torch.where(unknown[..., None], drawn, contents[:, 0])[:, None]
            left = math.floor(math.cos(math.pi / 2 * step / decoding.steps) * self.places)
            if step == decoding.steps or left == 0:
                break
            score = score.masked_fill(~unknown, float("inf"))
            order = score.argsort(1).argsort(1)  # (b, s) rank, the least likely first
            hidden = (order < left).float()[:, None]
        return contents[:, 0]

    def _in_order(
        self, ahead: Ahead, temperature: float, generator: torch.Generator | None
    ) -> Tensor:
        """Token by token; keys and values of past frames and of earlier tokens are kept."""
        rows = len(ahead.condition)
        token = self.hidden_embed.expand(rows, -1)  # (b, w)
        before, digits = None, []
        for place in range(self.places):
            x = (token + self.in_order_embed + self.place_embed[place])[:, None, None]
            features, before = self.transformer.next_place(
                x, ahead.condition, ahead.cache.place(place), before
            )
            drawn, _ = self._draw(features[:, 0], temperature, generator)  # (b, 1, d)
            digits.append(drawn)
            token = self.embed_digits(drawn[:, 0])
        return torch.cat(digits, 1)

    def _draw(
        self, features: Tensor, temperature: float, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """(b, s, w) -> tokens (b, s, d) and their log probability (b, s)."""
        digits, scores = [], []
        for logits in self.digit_logits(features):
            log_probabilities = logits.log_softmax(-1)
            if temperature > 0:  # the largest of logits plus Gumbel noise is a sample of them
                uniform = torch.rand(logits.shape, generator=generator).clamp_(1e-9, 1 - 1e-7)
                logits = logits / temperature - (-uniform.log()).log().to(logits.device)
            choice = logits.argmax(-1, keepdim=True)
            digits.append(choice)
            scores.append(log_probabilities.gather(-1, choice)[..., 0])
        return torch.cat(digits, -1), torch.stack(scores).sum(0)
