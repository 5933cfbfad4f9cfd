"""A linear probe: do a frame's tokens say where things are?

Ridge regression from a frame's contents to the position of one class of item ("red cube"), one
regression per class. Digits enter one-hot: that number 3 lies between 2 and 4 is the decoder's
business, a linear map from the numbers themselves could not tell a token's meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

MIN_FRAMES = 50  # of a class, to learn from
PENALTIES = (0.1, 1.0, 10.0, 100.0)  # of the ridge; the last frames choose
CHOOSING_SHARE = 0.2  # of the frames, the last ones: of other episodes than most


@dataclass(frozen=True)
class Probe:
    """Weights per class; contents to positions."""

    weights: Mapping[int, Tensor]  # class -> (features + 1, 3) [m]
    sizes: tuple[int, ...] | None  # levels of each digit; None: contents are numbers already

    def positions(self, contents: Tensor, classes: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n, s, d) contents, (n,) classes -> (n, 3) [m]; nan for classes that were not learned."""
        features = probe_features(contents, self.sizes)
        found = np.full((len(contents), 3), np.nan)
        for index in np.unique(classes):
            if index in self.weights:
                rows = classes == index
                found[rows] = (features[torch.from_numpy(rows)] @ self.weights[index]).numpy()
        return found


def probe_features(contents: Tensor, sizes: tuple[int, ...] | None) -> Tensor:
    """(n, s, d) -> (n, features + 1) float64, the last of them 1."""
    if sizes is not None:
        digits = contents.long().unbind(-1)
        contents = torch.cat(
            [F.one_hot(digit, size) for digit, size in zip(digits, sizes, strict=True)], -1
        )
    flat = contents.flatten(1).double()
    return torch.cat([flat, flat.new_ones(len(flat), 1)], 1)


def fit_probe(
    contents: Tensor,
    positions: NDArray[np.floating],
    classes: NDArray[np.int64],
    sizes: tuple[int, ...] | None,
) -> Probe:
    """Least squares with a penalty, per class with enough frames; negative classes are none."""
    weights = {}
    for index in np.unique(classes[classes >= 0]):
        rows = np.flatnonzero((classes == index) & np.isfinite(positions).all(1))
        if len(rows) < MIN_FRAMES:
            continue
        features = probe_features(contents[torch.from_numpy(rows)], sizes)
        targets = torch.as_tensor(positions[rows], dtype=torch.float64)
        cut = len(rows) - round(len(rows) * CHOOSING_SHARE)
        errors = [
            (features[cut:] @ solve_ridge(features[:cut], targets[:cut], penalty) - targets[cut:])
            .norm(dim=1)
            .mean()
            for penalty in PENALTIES
        ]
        best = PENALTIES[int(torch.stack(errors).argmin())]
        weights[int(index)] = solve_ridge(features, targets, best)
    return Probe(weights, sizes)


def solve_ridge(features: Tensor, targets: Tensor, penalty: float) -> Tensor:
    """(n, f), (n, d) -> (f, d). One equation per frame: there are fewer of those than features."""
    mean = targets.mean(0)
    gram = features @ features.T
    gram.diagonal().add_(penalty)
    solved = features.T @ torch.linalg.solve(gram, targets - mean)
    solved[-1] += mean
    return solved


def named_classes(instructions: Sequence[str], class_names: Sequence[str]) -> NDArray[np.int64]:
    """(n,) index of the class that each instruction names first, -1 where it names none."""
    found = np.full(len(instructions), -1, dtype=np.int64)
    for row, text in enumerate(instructions):
        places = {
            index: text.lower().find(name) for index, name in enumerate(class_names) if name in text
        }
        if places:
            found[row] = min(places, key=lambda index: places[index])
    return found
