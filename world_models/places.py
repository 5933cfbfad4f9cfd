"""Keeping what is where in the tokens: a linear read-out that learns along, then goes.

A tokenizer that only copies pictures may spread a small item's place over its digits in ways that
nothing simple can undo. Here a linear map from all codes of a frame to which classes of items
("red cube") are there, and where, learns together with the tokenizer, on views that are labelled
with all their items. The map is no part of the checkpoint.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from world_models.config import TokenizerConfig
from world_models.identity import Labelled

UNIT_M = 0.1  # an error of so much along one axis costs 1


class PlaceReader(nn.Module):
    """(b, n, d) codes -> which classes are there (logits) and where, (b, classes, 1 + 3)."""

    mean: Tensor

    def __init__(self, config: TokenizerConfig, labelled: Labelled) -> None:
        """Raises `ValueError` where no view has an item, or frames are of another size."""
        super().__init__()
        size = config.image_size_px
        if labelled.images.shape[1:] != (size, size, 3):
            raise ValueError(
                f"views: expected ({size}, {size}, 3), got {labelled.images.shape[1:]}"
            )
        present = labelled.present
        if not present.any():
            raise ValueError("views: expected items whose places are known, there are none")
        self.read = nn.Linear(config.side**2 * len(config.levels), 4 * present.shape[1])
        mean = labelled.positions[present].mean(axis=0).astype(np.float32)
        self.register_buffer("mean", torch.from_numpy(mean), persistent=False)

    def forward(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (b, classes) and places (b, classes, 3) [m]."""
        read = self.read(codes.flatten(1)).unflatten(1, (-1, 4))
        return read[..., 0], self.mean + UNIT_M * read[..., 1:]

    def loss(self, codes: Tensor, positions: NDArray[np.floating]) -> tuple[Tensor, Tensor]:
        """The loss and the mean distance [m] of what is there; `positions` as of `Labelled`.

        Absolute errors along the three axes, in `UNIT_M`, and the cross entropy of being there.
        """
        logits, places = self(codes)
        true = torch.as_tensor(positions, dtype=torch.float32, device=codes.device)
        there = torch.isfinite(true).all(-1)
        loss = F.binary_cross_entropy_with_logits(logits, there.float())
        if not there.any():
            return loss, codes.new_zeros(())
        away = places[there] - true[there]
        loss = loss + away.abs().sum(-1).mean() / UNIT_M
        return loss, away.detach().norm(dim=-1).mean()
