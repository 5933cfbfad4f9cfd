"""Numbers as tokens: OpenVLA's uniform bins on the last ids of the vocabulary.

The original (`prismatic/vla/action_tokenizer.py`): `n` bin edges evenly over [-1, 1]; a value falls
into bin 1..n (`np.digitize`) and becomes the id `vocab_size - bin`; an id is read back as the
centre of its bin (n - 1 centres; the last edge shares the last centre).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class ActionTokenizer:
    """Between values in [-1, 1] and token ids."""

    def __init__(self, vocab_size: int, bins: int = 256) -> None:
        if bins >= vocab_size:
            raise ValueError(f"bins: expected fewer than the vocabulary's {vocab_size}, got {bins}")
        self.vocab_size = vocab_size
        self.bins = bins
        self._edges = np.linspace(-1.0, 1.0, bins)
        self.centres = (self._edges[:-1] + self._edges[1:]) / 2.0  # (bins - 1,)

    @property
    def first_id(self) -> int:
        """The smallest id that stands for a number (the largest value)."""
        return self.vocab_size - self.bins

    def encode(self, values: NDArray) -> NDArray[np.int64]:
        """Token ids of values in [-1, 1] (clipped), any shape."""
        return self.vocab_size - np.digitize(np.clip(values, -1.0, 1.0), self._edges)

    def decode(self, token_ids: NDArray) -> NDArray[np.float64]:
        """Values of token ids; ids outside the range count as its nearest end."""
        bins = self.vocab_size - np.asarray(token_ids, dtype=np.int64)
        return self.centres[np.clip(bins - 1, 0, self.bins - 2)]


def to_unit(values: NDArray, low: NDArray, high: NDArray) -> NDArray[np.float64]:
    """Scale [low, high] to [-1, 1], clipped: OpenVLA's BOUNDS_Q99 normalization."""
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    return np.clip(2.0 * (np.asarray(values) - low) / (high - low + 1e-8) - 1.0, -1.0, 1.0)


def from_unit(values: NDArray, low: NDArray, high: NDArray) -> NDArray[np.float64]:
    """The inverse of `to_unit`, as the original computes it (`modeling_prismatic.py`)."""
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    return 0.5 * (np.asarray(values) + 1.0) * (high - low) + low
