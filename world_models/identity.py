"""Which items are in a frame, and where, as a linear probe reads it off a model's tokens.

Fitted on real frames with known contents; asked of imagined ones, it says whether the model still
knows what stands on the table. `world_models.probe` has the positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policies.openvla.preprocess import to_unit_range
from world_models.model import ImaginationModel
from world_models.probe import (
    CHOOSING_SHARE,
    PENALTIES,
    Probe,
    fit_probe,
    probe_features,
    solve_ridge,
)

THRESHOLDS = np.linspace(0.2, 0.6, 9)  # of a class being there; the last frames choose


@dataclass(frozen=True)
class Labelled:
    """n real frames of which it is known what is in them."""

    images: NDArray[np.uint8]  # (n, s, s, 3)
    positions: NDArray[np.float64]  # (n, classes, 3) [m]; nan: this class is not there

    @property
    def present(self) -> NDArray[np.bool_]:
        """(n, classes)."""
        return known_positions(self.positions)


@dataclass(frozen=True)
class IdentityProbe:
    """Which classes are there, and where."""

    weights: Tensor  # (features + 1, classes)
    threshold: float
    places: Probe
    sizes: tuple[int, ...] | None  # levels of each digit

    def present(self, contents: Tensor) -> NDArray[np.bool_]:
        """(n, s, d) -> (n, classes)."""
        scores = probe_features(contents, self.sizes) @ self.weights
        return (scores > self.threshold).numpy()

    def positions(self, contents: Tensor, present: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(n, classes, 3) [m] of the classes that are `present` (n, classes), nan elsewhere."""
        found = np.full((*present.shape, 3), np.nan)
        for index in range(present.shape[1]):
            rows = np.flatnonzero(present[:, index])
            if len(rows):
                classes = np.full(len(rows), index)
                found[rows, index] = self.places.positions(
                    contents[torch.from_numpy(rows)], classes
                )
        return found


def fit_identity(model: ImaginationModel, labelled: Labelled) -> IdentityProbe:
    """Least squares with a penalty; the last frames choose the penalty and the threshold."""
    contents = contents_of(model, labelled.images)
    sizes = model.config.tokenizer.levels if model.config.dynamics.kind == "masked" else None
    features = probe_features(contents, sizes)
    there = torch.from_numpy(labelled.present).double()
    cut = len(there) - round(len(there) * CHOOSING_SHARE)
    best = (-1.0, 0.0, 0.0)
    for penalty in PENALTIES:
        scores = features[cut:] @ solve_ridge(features[:cut], there[:cut], penalty)
        for threshold in THRESHOLDS:
            score = agreement((scores > threshold).numpy(), labelled.present[cut:])["f1"]
            best = max(best, (score, penalty, float(threshold)))
    _, penalty, threshold = best
    rows, classes = np.nonzero(labelled.present)
    places = fit_probe(
        contents[torch.from_numpy(rows)], labelled.positions[rows, classes], classes, sizes
    )
    return IdentityProbe(solve_ridge(features, there, penalty), threshold, places, sizes)


@torch.inference_mode()
def contents_of(model: ImaginationModel, images: NDArray[np.uint8]) -> Tensor:
    """(n, s, s, 3) -> (n, places, d) as the model writes them down."""
    parts = [
        model.write_down(to_unit_range(images[start : start + 128]).to(model.device)).cpu()
        for start in range(0, len(images), 128)
    ]
    return torch.cat(parts)


def known_positions(positions: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(..., 3) -> (...): which of them are known."""
    return np.asarray(np.isfinite(positions).all(-1))


def agreement(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> dict[str, float]:
    """Precision, recall and F1 over all (n, classes); 0 where nothing was found or is there."""
    both = float((found & true).sum())
    precision = both / found.sum() if found.any() else 0.0
    recall = both / true.sum() if true.any() else 0.0
    total = precision + recall
    f1 = 2 * precision * recall / total if total else 0.0
    return {"precision": float(precision), "recall": float(recall), "f1": float(f1)}


def labels_of(
    names: Sequence[Sequence[str]], positions: Sequence[NDArray], class_names: Sequence[str]
) -> NDArray[np.float64]:
    """(n, classes, 3): items by name, and where they are, one row each; others are left out."""
    found = np.full((len(names), len(class_names), 3), np.nan)
    for row, (items, places) in enumerate(zip(names, positions, strict=True)):
        for name, place in zip(items, places, strict=True):
            if name in class_names:
                found[row, class_names.index(name)] = place
    return found
