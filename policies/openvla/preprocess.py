"""Images as the network takes them: the original's `PrismaticImageProcessor`, resize-naive.

The image is squeezed to the tower's square with Pillow's antialiased bicubic filter (as torchvision
does for PIL images), scaled to [0, 1] and normalized once per tower.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from policies.openvla.normalization import ImageNormalization

DEFAULT = ImageNormalization()


def resize(image: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB -> (size_px, size_px, 3) uint8 RGB."""
    picture = Image.fromarray(image).resize((size_px, size_px), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def normalize(images: torch.Tensor, normalization: ImageNormalization = DEFAULT) -> torch.Tensor:
    """(b, 3, h, w) in [0, 1] -> (b, 6, h, w), normalized for each tower."""
    parts = []
    for mean, std in zip(normalization.means, normalization.stds, strict=True):
        mean_, std_ = (
            torch.tensor(values, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
            for values in (mean, std)
        )
        parts.append((images - mean_) / std_)
    return torch.cat(parts, dim=1)


def to_unit_range(images: NDArray[np.uint8]) -> torch.Tensor:
    """(b, h, w, 3) uint8 -> (b, 3, h, w) float32 in [0, 1]."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float().div_(255.0)


def pixel_values(
    image: NDArray[np.uint8], size_px: int, normalization: ImageNormalization = DEFAULT
) -> torch.Tensor:
    """One camera image (h, w, 3) uint8 RGB -> (1, 6, size_px, size_px)."""
    return normalize(to_unit_range(resize(image, size_px)[None]), normalization)
