"""Finite scalar quantization (arXiv 2309.15505): every number of a token is rounded to few levels.

There is no codebook to learn: the tokens are a grid. Three forms of a token of d numbers:
digits, whole numbers in [0, levels); codes, the same as numbers in [-1, 1); and what an encoder
gives, any real numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor


def bound(values: Tensor, levels: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Squash any (..., d) numbers so that rounding gives `levels` different ones (appendix A.1).

    Result i lies in [-l/2, l/2 - 1] for an even number of levels l, in [-(l-1)/2, (l-1)/2] for an
    odd one (by up to half a step more, before rounding).
    """
    half = (levels - 1) * (1 + epsilon) / 2
    offset = torch.where(levels % 2 == 0, 0.5, 0.0)
    shift = torch.atanh(offset / half)
    return torch.tanh(values + shift) * half - offset


def quantize(values: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """(..., d) any numbers -> codes as the decoder takes them, and bounded ones before rounding.

    Both are scaled into [-1, 1]. Rounding passes the gradient on as if it were not there.
    """
    bounded = bound(values, levels)
    rounded = bounded + (bounded.round() - bounded).detach()
    half = torch.div(levels, 2, rounding_mode="floor")
    return rounded / half, bounded / half


def to_digits(codes: Tensor, levels: Tensor) -> Tensor:
    """(..., d) codes, rounded or not -> (..., d) whole numbers in [0, levels)."""
    half = torch.div(levels, 2, rounding_mode="floor")
    digits = torch.round(codes * half + half).long()
    return torch.minimum(digits.clamp(min=0), levels - 1)


def to_codes(digits: Tensor, levels: Tensor) -> Tensor:
    """(..., d) whole numbers -> (..., d) codes."""
    half = torch.div(levels, 2, rounding_mode="floor")
    return (digits - half) / half


def to_index(digits: Tensor, levels: Tensor) -> Tensor:
    """(..., d) -> (...): the token's number in the vocabulary, the first digit counting least."""
    basis = torch.cumprod(torch.cat([levels.new_ones(1), levels[:-1]]), dim=0)
    return (digits * basis).sum(-1)
