"""How near imagined frames and outcomes come to real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torchmetrics.functional.classification import binary_calibration_error
from torchmetrics.functional.image import structural_similarity_index_measure

from policies.openvla.checkpoint import load_model
from policies.openvla.config import read_config
from policies.openvla.model import patch_features
from policies.openvla.preprocess import normalize, to_unit_range

MAX_PSNR_DB = 60.0  # of frames that are equal
CALIBRATION_BINS = 10


def psnr(real: NDArray[np.uint8], made: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n,) [dB] peak signal-to-noise ratio of (n, h, w, 3) frames; capped where they are equal."""
    difference = real.astype(np.float64) - made.astype(np.float64)
    error = np.mean(difference**2, axis=(1, 2, 3)) / 255.0**2
    return np.minimum(MAX_PSNR_DB, -10 * np.log10(np.maximum(error, 1e-12)))


def ssim(real: NDArray[np.uint8], made: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n,) structural similarity (Wang et al., 2004; Gaussian window, sigma 1.5), 1 when equal."""
    values = structural_similarity_index_measure(
        to_unit_range(made), to_unit_range(real), data_range=1.0, reduction="none"
    )
    return np.atleast_1d(np.asarray(values, dtype=np.float64))


def calibration_error(probabilities: NDArray, labels: NDArray) -> float:
    """Expected calibration error over 10 even bins (arXiv 1706.04599, eq. 3): the mean distance
    between how often something was predicted and how often it came true. nan without data.
    """
    if len(probabilities) == 0:
        return float("nan")
    return float(
        binary_calibration_error(
            torch.as_tensor(np.clip(probabilities, 0, 1), dtype=torch.float32),
            torch.as_tensor(labels > 0.5).int(),
            n_bins=CALIBRATION_BINS,
            norm="l1",
        )
    )


def reliability(probabilities: NDArray, labels: NDArray) -> list[dict[str, float]]:
    """Of each of the bins that `calibration_error` has, where anything is in it: the mean that was
    predicted, the share that came true, and how many.
    """
    clipped = np.clip(probabilities, 0, 1)
    index = np.minimum((clipped * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return [
        {
            "predicted": float(clipped[index == each].mean()),
            "true": float((labels[index == each] > 0.5).mean()),
            "count": int((index == each).sum()),
        }
        for each in np.unique(index)
    ]


def area_under_roc(scores: NDArray, labels: NDArray) -> float:
    """Share of (positive, negative) pairs ordered rightly, ties count half; nan without both."""
    positive, negative = scores[labels > 0.5], scores[labels <= 0.5]
    if not len(positive) or not len(negative):
        return float("nan")
    above = (positive[:, None] > negative[None]).mean()
    return float(above + 0.5 * (positive[:, None] == negative[None]).mean())


class TowerDistance:
    """Distance of images in the features of a policy's DINOv2 tower.

    LPIPS's formula (arXiv 1801.03924, eq. 1) with one layer and no learned weights: the squared
    distance of the unit-length features of a patch, averaged over patches, from 0 to 4. It is not
    LPIPS, whose networks are not at hand, and its numbers compare with nothing but themselves.
    """

    def __init__(self, policy: Path, device: str | torch.device = "cpu") -> None:
        self._config = read_config(policy)
        self._tower = load_model(policy, device=device).vision_backbone.featurizer.eval()
        self._device = device

    @torch.inference_mode()
    def __call__(self, real: NDArray[np.uint8], made: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(n,) for (n, h, w, 3) frames of any size."""
        first, second = self._features(real), self._features(made)
        return (first - second).square().sum(-1).mean(-1).double().cpu().numpy()

    def _features(self, frames: NDArray[np.uint8]) -> torch.Tensor:
        """(n, patches, width) of unit length."""
        size = self._config.image_sizes[0]
        images = F.interpolate(
            to_unit_range(frames), (size, size), mode="bicubic", antialias=True
        ).clamp(0, 1)
        pixels = normalize(images, self._config.normalization)[:, :3].to(self._device)
        return F.normalize(patch_features(self._tower, pixels), dim=-1)
