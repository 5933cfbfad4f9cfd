"""Losses for numbers named as tokens, and for what the towers see."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from policies.openvla.text import EOS_ID
from policies.openvla.tokens import ActionTokenizer


def number_targets(values: Tensor, bins: int, sigma_bins: float) -> Tensor:
    """Soft labels over the bins: a Gaussian around the value (HL-Gauss, arXiv 2403.03950, eq. 4).

    (..., ) values in [-1, 1] -> (..., bins), in the order of the token ids' bins 1..bins. The mass
    of a bin is the Gaussian's integral over it, so that neighbours of the right bin count as nearly
    right, which plain cross-entropy does not say. With `sigma_bins` 0 it is plain cross-entropy:
    one label, the bin that the tokenizer chooses.
    """
    if sigma_bins == 0:
        edges = torch.linspace(-1.0, 1.0, bins, dtype=torch.float64, device=values.device)
        chosen = torch.bucketize(values.clamp(-1, 1).double(), edges, right=True) - 1  # (...,)
        return F.one_hot(chosen, bins).to(values.dtype)
    width = 2.0 / (bins - 1)
    edges = torch.linspace(-1.0, 1.0 + width, bins + 1, device=values.device)
    scale = sigma_bins * width * 2.0**0.5
    cdf = torch.erf((edges - values.clamp(-1, 1).unsqueeze(-1)) / scale)
    mass = cdf[..., 1:] - cdf[..., :-1]
    return mass / mass.sum(-1, keepdim=True)


def number_loss(
    logits: Tensor, values: Tensor, tokenizer: ActionTokenizer, sigma_bins: float
) -> Tensor:
    """Cross-entropy per number, (numbers,), over the rows in which it is known.

    `logits`: (b, numbers, vocabulary); `values`: (b, numbers) in [-1, 1] or nan.
    """
    known = ~torch.isnan(values)
    targets = number_targets(torch.nan_to_num(values), tokenizer.bins, sigma_bins)
    log_probabilities = F.log_softmax(logits.float(), dim=-1)
    first = tokenizer.first_id
    # Bin 1 is the highest id: flip into the order of the bins.
    of_bins = log_probabilities[..., first : tokenizer.vocab_size].flip(-1)
    losses = -(targets * of_bins).sum(-1) * known
    return losses.sum(0) / known.sum(0).clamp(min=1)


def original_loss(logits: Tensor, values: Tensor, tokenizer: ActionTokenizer) -> Tensor:
    """OpenVLA's own objective: plain cross-entropy over the numbers' tokens and the end token.

    `logits`: (b, numbers + 1, vocabulary); `values`: (b, numbers) in [-1, 1], all known.
    """
    ids = torch.as_tensor(tokenizer.encode(values.cpu().numpy()), device=logits.device)
    targets = F.pad(ids, (0, 1), value=EOS_ID)  # (b, numbers + 1)
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def l1_loss(numbers: Tensor, values: Tensor) -> Tensor:
    """Mean distance per number, (numbers,), over the rows in which it is known.

    `numbers`, `values`: (b, numbers) in [-1, 1]; unknown values are nan.
    """
    known = ~torch.isnan(values)
    distances = (numbers.float() - torch.nan_to_num(values)).abs() * known
    return distances.sum(0) / known.sum(0).clamp(min=1)


def siglip_loss(images: Tensor, texts: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Sigmoid image-text contrast (arXiv 2303.15343, algorithm 1); (b, d) features each."""
    logits = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T * scale.exp() + bias
    labels = 2.0 * torch.eye(len(logits), device=logits.device) - 1.0
    return -F.logsigmoid(labels * logits).sum() / len(logits)
