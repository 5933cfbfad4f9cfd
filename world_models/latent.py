"""One latent per frame and no pictures: the cheap baseline.

After LeWorldModel: the next latent is predicted end to end, and one regularizer keeps all latents
from becoming the same, SIGReg of LeJEPA (arXiv 2511.08544): along random directions they shall be
distributed as a standard normal. Where the data say it, what follows from the latents also has to
tell where the named item is and where it shall go: a scalar at an episode's end teaches a small
network too little about small things (the policies here learn grounding for the same reason).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from world_models.config import DynamicsConfig, TokenizerConfig
from world_models.dynamics import Dynamics
from world_models.tokenizer import build_encoder

DIRECTIONS = 256
REGULARIZER_WEIGHT = 10.0
GROUNDING_WEIGHT = 3.0
NEAR_STD = 0.1  # of the tool's positions: what is nearer counts squared


class LatentEncoder(nn.Module):
    """Frames (b, 3, s, s) in [0, 1] -> (b, 1, latent_dim)."""

    def __init__(self, config: TokenizerConfig, latent_dim: int) -> None:
        super().__init__()
        self.layers = build_encoder(config.channels, config.channels[-1])
        places = config.side**2
        self.project = nn.Linear(places * config.channels[-1], latent_dim)

    def forward(self, images: Tensor) -> Tensor:
        return self.project(self.layers(images * 2 - 1).flatten(1))[:, None]


class LatentDynamics(Dynamics):
    """Contents are one latent: s is 1."""

    def __init__(self, config: DynamicsConfig, word_count: int) -> None:
        super().__init__(config, 1, config.latent_dim, word_count)
        self.latent = nn.Linear(config.latent_dim, config.width)
        self.hidden_embed = nn.Parameter(torch.randn(config.width) * 0.02)
        self.predicted = nn.Linear(config.width, config.latent_dim)
        self.grounding = nn.Linear(config.width, 6)  # `Clip.places`

    def embed(self, contents: Tensor, hidden: Tensor) -> Tensor:
        clean = self.latent(contents)
        return torch.where(hidden[..., None] > 0.5, self.hidden_embed.to(clean.dtype), clean)

    def blank(self, rows: int, generator: torch.Generator | None) -> Tensor:
        return torch.zeros(rows, 1, 1, self.content_dim, device=self.predicted.weight.device)

    def content_loss(self, clip, condition, mode, generator):
        latents = clip.contents
        hidden = torch.zeros(latents.shape[:3], device=latents.device)
        hidden[:, -1] = 1.0
        features, _ = self.run(latents, hidden, condition)
        predicted = self.predicted(features[:, -1]).float()
        errors = (predicted - latents[:, -1]).square().mean((1, 2))  # (b,)
        known = clip.last_known.float()
        prediction = (errors * known).sum() / known.sum().clamp(min=1)
        regularizer = normality(latents[:, :-1].flatten(0, 2).float(), generator)
        grounding = self._grounding_loss(features, clip.places)
        loss = prediction + REGULARIZER_WEIGHT * regularizer + GROUNDING_WEIGHT * grounding
        full = torch.ones_like(clip.last_known)
        figures = {
            "prediction": prediction.item(),
            "normality": regularizer.item(),
            "grounding": grounding.item(),
        }
        return loss, features[:, -1], full, figures

    def _grounding_loss(self, features: Tensor, places: Tensor) -> Tensor:
        """(b, t, 1, w), (b, t, 6) with nan where nobody knows."""
        known = ~torch.isnan(places)
        found = self.grounding(features[:, :, 0]).float()
        losses = F.smooth_l1_loss(found, torch.nan_to_num(places), beta=NEAR_STD, reduction="none")
        return (losses * known).sum() / known.sum().clamp(min=1)

    def imagine(self, ahead, decoding, generator):
        return self.predicted(ahead.features).float()


def normality(latents: Tensor, generator: torch.Generator) -> Tensor:
    """SIGReg: how far (n, d) latents are from a standard normal along random directions.

    The Epps-Pulley statistic per direction: the distance of the empirical characteristic function
    from exp(-t^2 / 2), weighted by the same, integrated over t (LeJEPA, algorithm 1; there times n,
    which would make the loss depend on the size of the batch).
    """
    directions = torch.randn(latents.shape[1], DIRECTIONS, generator=generator).to(latents)
    directions = directions / directions.norm(dim=0)
    times = torch.linspace(-5, 5, 17, device=latents.device)
    normal = torch.exp(-0.5 * times**2)
    angles = (latents @ directions)[..., None] * times  # (n, directions, times)
    real, imaginary = angles.cos().mean(0), angles.sin().mean(0)
    distance = ((real - normal) ** 2 + imaginary**2) * normal
    return torch.trapezoid(distance, times, dim=-1).mean()
