"""Patterns of surfaces, in shades of grey: a surface's color is multiplied with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PATTERNS = ("plain", "checker", "stripes", "noise", "gradient")
TEXTURE_PX = 64


def pattern(
    kind: str, contrast: float, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """(TEXTURE_PX, TEXTURE_PX, 3) shades; without `rng` noise is the same every time."""
    across, down = np.meshgrid(np.arange(TEXTURE_PX), np.arange(TEXTURE_PX))
    half = TEXTURE_PX // 2
    if kind == "checker":
        dark = ((across // half + down // half) % 2).astype(float)
    elif kind == "stripes":
        dark = (across // half % 2).astype(float)
    elif kind == "gradient":
        dark = 0.5 - 0.5 * np.cos(2 * np.pi * across / TEXTURE_PX)
    elif kind == "noise":
        rng = rng or np.random.default_rng(0)
        dark = np.kron(rng.random((half // 2, half // 2)), np.ones((4, 4)))
    else:
        dark = np.zeros((TEXTURE_PX, TEXTURE_PX))
    shade = np.round(255.0 * (1.0 - contrast * dark)).astype(np.uint8)
    return np.repeat(shade[..., None], 3, axis=2)


def tiled(shades: NDArray[np.uint8], repeat: float) -> NDArray[np.uint8]:
    """A pattern that many times along each side, in as many pixels."""
    pixels = (np.arange(TEXTURE_PX) * repeat).astype(int) % TEXTURE_PX
    return shades[np.ix_(pixels, pixels)]
