"""Rectified flow on continuous latents (arXiv 2209.03003), as JanusFlow (arXiv 2411.07975) has it.

Contents are the tokenizer's numbers before rounding. A hidden share of h means (1 - h) * latent +
h * noise; the network predicts the velocity noise - latent, and imagining integrates it from h = 1
down to 0 in a few Euler steps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from world_models.config import DynamicsConfig
from world_models.dynamics import Dynamics, hidden_shares

MAX_CONTEXT_NOISE = 0.2  # standard deviation added to clean context: imagined context has errors


class FlowDynamics(Dynamics):
    """Contents are (s, d) numbers around [-1, 1]."""

    def __init__(
        self, config: DynamicsConfig, places: int, content_dim: int, word_count: int
    ) -> None:
        super().__init__(config, places, content_dim, word_count)
        self.latent = nn.Linear(content_dim, config.width)
        self.level = nn.Sequential(
            nn.Linear(1, config.width), nn.SiLU(), nn.Linear(config.width, config.width)
        )
        self.velocity = nn.Linear(config.width, content_dim)
        nn.init.zeros_(self.velocity.weight)
        nn.init.zeros_(self.velocity.bias)

    def embed(self, contents: Tensor, hidden: Tensor) -> Tensor:
        return self.latent(contents) + self.level(hidden[..., None])

    def blank(self, rows: int, generator: torch.Generator | None) -> Tensor:
        # The same chance for all rows: what differs between them is what their actions did.
        noise = torch.randn(1, 1, self.places, self.content_dim, generator=generator)
        return noise.expand(rows, -1, -1, -1).to(self.velocity.weight.device)

    def content_loss(self, clip, condition, mode, generator):
        latents, device = clip.contents, clip.contents.device
        rows = len(latents)
        levels, full = hidden_shares(clip, generator)
        # Uniform levels, unlike masking's cosine: the flow is straight, no part is harder.
        levels = torch.where(full, 1.0, torch.rand(rows, generator=generator).to(device))
        noise = torch.randn(latents.shape, generator=generator).to(device)
        spread = (torch.rand(rows, 1, 1, 1, generator=generator) * MAX_CONTEXT_NOISE).to(device)
        share = levels[:, None, None]
        noisy = (1 - share) * latents[:, -1] + share * noise[:, -1]
        inputs = torch.cat([latents[:, :-1] + spread * noise[:, :-1], noisy[:, None]], 1)
        hidden = torch.zeros(latents.shape[:3], device=device)
        hidden[:, -1] = levels[:, None]
        features, _ = self.run(inputs, hidden, condition)
        velocity = self.velocity(features[:, -1]).float()
        errors = (velocity - (noise[:, -1] - latents[:, -1])).square().mean((1, 2))  # (b,)
        known = clip.last_known.float()
        loss = (errors * known).sum() / known.sum().clamp(min=1)
        return loss, features[:, -1], full, {}

    def imagine(self, ahead, decoding, generator):
        if decoding.mode != "parallel":
            raise ValueError("mode: a flow imagines all of a frame at once; expected parallel")
        contents, features = ahead.contents, ahead.features
        for step in range(decoding.steps):
            if step > 0:
                level = 1.0 - step / decoding.steps
                hidden = torch.full(contents.shape[:3], level, device=contents.device)
                features = self.run(contents, hidden, ahead.condition, ahead.cache)[0][:, -1]
            velocity = self.velocity(features).float()
            contents = contents - velocity[:, None] / decoding.steps
        return contents[:, 0]
