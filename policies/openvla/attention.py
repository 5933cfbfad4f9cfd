"""What every pass through the language model needs: padded prompts, and masks to add to scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pad_prompts(prompts: Sequence[Sequence[int]], behind: int = 0) -> tuple[Tensor, Tensor]:
    """b prompts -> token ids (b, longest + behind), padded on the right, and their lengths (b,)."""
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    padded = torch.zeros(len(prompts), int(lengths.max()) + behind, dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        padded[row, : len(prompt)] = torch.as_tensor(prompt)
    return padded, lengths


def additive_mask(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """What to add to attention scores: 0 where looking is allowed, else the lowest number."""
    mask = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return mask.masked_fill_(~allowed, torch.finfo(dtype).min)
