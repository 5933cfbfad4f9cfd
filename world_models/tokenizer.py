"""Frames to tokens and back: convolutions around finite scalar quantization."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from world_models.config import TokenizerConfig
from world_models.fsq import quantize, to_codes, to_digits

GROUP_CHANNELS = 8  # normalized together


class Residual(nn.Module):
    """Two 3x3 convolutions beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _norm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            _norm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(1, channels // GROUP_CHANNELS), channels)


def build_encoder(channels: tuple[int, ...], outputs: int) -> nn.Sequential:
    """(b, 3, s, s) -> (b, outputs, s / 2^n, s / 2^n)."""
    layers: list[nn.Module] = []
    before = 3
    for width in channels:
        layers += [nn.Conv2d(before, width, 4, stride=2, padding=1), Residual(width)]
        before = width
    return nn.Sequential(
        *layers, Residual(before), _norm(before), nn.SiLU(), nn.Conv2d(before, outputs, 1)
    )


def build_decoder(channels: tuple[int, ...], inputs: int) -> nn.Sequential:
    """(b, inputs, s / 2^n, s / 2^n) -> (b, 3, s, s)."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, channels[-1], 3, padding=1),
        Residual(channels[-1]),
    ]
    widths = (*reversed(channels), channels[0])
    for width, after in zip(widths[:-1], widths[1:], strict=True):
        layers += [
            Residual(width),
            nn.Upsample(scale_factor=2, mode="nearest"),
            nn.Conv2d(width, after, 3, padding=1),
        ]
    return nn.Sequential(
        *layers, _norm(channels[0]), nn.SiLU(), nn.Conv2d(channels[0], 3, 3, padding=1)
    )


class Tokenizer(nn.Module):
    """Frames (b, 3, s, s) in [0, 1] to (b, n, d) tokens, n = side * side, and back."""

    levels: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.channels, len(config.levels))
        self.decoder = build_decoder(config.channels, len(config.levels))
        self.register_buffer("levels", torch.tensor(config.levels), persistent=False)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Codes, rounded and not, (b, n, d) each in [-1, 1]."""
        features = self.encoder(images * 2 - 1).float()  # (b, d, side, side)
        return quantize(features.flatten(2).transpose(1, 2), self.levels)

    def tokens(self, images: Tensor) -> Tensor:
        """(b, n, d) digits, see `world_models.fsq`."""
        return to_digits(self.encode(images)[0], self.levels)

    def decode(self, codes: Tensor) -> Tensor:
        """(b, n, d) codes -> (b, 3, s, s), about [0, 1]."""
        side = self.config.side
        grid = codes.transpose(1, 2).unflatten(2, (side, side))  # (b, d, side, side)
        return self.decoder(grid) * 0.5 + 0.5

    def decode_tokens(self, digits: Tensor) -> Tensor:
        """(b, n, d) digits -> (b, 3, s, s) in [0, 1]."""
        return self.decode(to_codes(digits, self.levels)).clamp(0, 1)


MAX_DEVIATION = 5.0  # a pixel that is stranger than this counts no more
SQUARED = 4.0  # weight of squared differences beside absolute ones
STILL_STD = 0.05  # added to every pixel's standard deviation: some never change


@dataclass(frozen=True)
class Usual:
    """Every pixel's mean and standard deviation over the data, (3, s, s), colors in [0, 1]."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, images: Tensor) -> Usual:
        """From frames (n, 3, s, s)."""
        return cls(images.mean(0), images.std(0, correction=0))


def motion_weights(images: Tensor, neighbors: Tensor, usual: Usual, emphasis: float) -> Tensor:
    """(b, 1, s, s): how much each pixel's error counts, 1 on average per image.

    What moved since the neighboring frame counts more, and so does what is unusual at its place, in
    standard deviations: what stands still in this clip moves in others. A plain mean over pixels
    would drop the small items, which all tasks are about; and the arm, which is large and nearly
    everywhere, would outweigh them if colors alone were compared.
    """
    moved = (images - neighbors).abs().amax(1, keepdim=True)
    deviation = ((images - usual.mean).abs() / (usual.std + STILL_STD)).amax(1, keepdim=True)
    motion = torch.maximum(moved, deviation.clamp(max=MAX_DEVIATION))
    motion = F.max_pool2d(motion, 3, stride=1, padding=1)  # the edges belong to it
    weights = 1.0 + emphasis * motion
    return weights / weights.mean(dim=(2, 3), keepdim=True)


def reconstruction_loss(images: Tensor, decoded: Tensor, weights: Tensor) -> Tensor:
    """Mean weighted distance of colors; (b, 3, s, s) images, (b, 1, s, s) weights.

    Absolute and squared differences: the former's best guess of a thing that may be here or there
    is a picture without it (the median), from which it would never be found.
    """
    difference = (decoded - images).abs()
    return ((difference + SQUARED * difference.square()) * weights).mean()
