"""Keeping where things are in the tokens: a linear read-out that learns along, then goes.

A tokenizer that only copies pictures may spread a small item's place over its digits in ways that
nothing simple can undo. Here a linear map from all codes of a frame to the place of each class of
items ("red cube") learns together with the tokenizer, from frames whose instruction names an item
and whose dataset says where that is. The map is no part of the checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from policies.training.features import DatasetError
from world_models.config import TokenizerConfig
from world_models.probe import named_classes
from world_models.recordings import Recordings

UNIT_M = 0.1  # an error of so much costs 1


@dataclass(frozen=True)
class Places:
    """Per row of recordings which class of items is named, and where it is."""

    classes: NDArray[np.int64]  # (n,) -1: none, or nobody knows where
    positions: NDArray[np.float32]  # (n, 3) [m], base frame

    @classmethod
    def of(cls, recordings: Recordings, class_names: Sequence[str]) -> Places:
        """Raises `DatasetError` where no frame has such a label."""
        classes = named_classes(recordings.instructions, class_names)[recordings.episode_of_rows()]
        known = np.isfinite(recordings.targets).all(1)
        classes = np.where(known, classes, -1)
        if not (classes >= 0).any():
            raise DatasetError(
                "place_weight: expected frames with observation.target_position whose instruction "
                f"names one of {', '.join(class_names) or 'no items'}; the datasets have none"
            )
        return cls(classes, np.nan_to_num(recordings.targets))


class PlaceReader(nn.Module):
    """(b, n, d) codes -> where each class of items would be, (b, classes, 3) [m]."""

    mean: Tensor

    def __init__(self, config: TokenizerConfig, places: Places) -> None:
        super().__init__()
        count = int(places.classes.max()) + 1
        inputs = config.side**2 * len(config.levels)
        self.read = nn.Linear(inputs, 3 * count)
        known = places.classes >= 0
        mean = torch.from_numpy(places.positions[known].mean(axis=0))
        self.register_buffer("mean", mean, persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        offsets: Tensor = self.read(codes.flatten(1)).unflatten(1, (-1, 3))
        return self.mean + UNIT_M * offsets

    def loss(self, codes: Tensor, places: Places, rows: NDArray[np.int64]) -> Tensor:
        """Mean absolute error of the named items' coordinates, in `UNIT_M`; 0 without any."""
        chosen = np.flatnonzero(places.classes[rows] >= 0)
        if not len(chosen):
            return codes.sum() * 0.0
        classes = torch.from_numpy(places.classes[rows[chosen]]).to(codes.device)
        true = torch.from_numpy(places.positions[rows[chosen]]).to(codes.device)
        index = torch.from_numpy(chosen).to(codes.device)
        read = self(codes[index])[torch.arange(len(chosen), device=codes.device), classes]
        return (read - true).abs().mean() / UNIT_M
