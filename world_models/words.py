"""Instructions as numbers: the words a model was trained on, and a vector for a row of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

NOTHING = 0  # fills up short instructions


class InstructionError(ValueError):
    """An instruction that a model cannot read; the message names the words."""


def split_words(instruction: str) -> list[str]:
    """Lower-case words; punctuation is left out."""
    return re.findall(r"[a-z0-9']+", instruction.lower())


def vocabulary(instructions: Iterable[str]) -> tuple[str, ...]:
    """All words of these instructions, in alphabetical order."""
    return tuple(sorted({word for text in instructions for word in split_words(text)}))


class WordNumbers:
    """Word to number for one vocabulary; 0 is no word."""

    def __init__(self, words: Sequence[str], max_words: int) -> None:
        self._numbers = {word: index for index, word in enumerate(words, start=1)}
        self._max_words = max_words

    def encode(self, instructions: Sequence[str]) -> NDArray[np.int64]:
        """(n, max_words). Raises `InstructionError` for words that were never seen in training:
        what they mean is anybody's guess.
        """
        rows = np.full((len(instructions), self._max_words), NOTHING, dtype=np.int64)
        for row, text in zip(rows, instructions, strict=True):
            words = split_words(text)
            unknown = sorted({word for word in words if word not in self._numbers})
            if unknown:
                raise InstructionError(
                    f"instruction {text!r}: unknown to this world model: {', '.join(unknown)}; "
                    f"it knows {', '.join(self._numbers)}"
                )
            if not words:
                raise InstructionError("instruction: expected words, it is empty")
            numbers = [self._numbers[word] for word in words[: self._max_words]]
            row[: len(numbers)] = numbers
        return rows


class WordEncoder(nn.Module):
    """(b, n) word numbers -> (b, width): a recurrent network, for which order matters."""

    def __init__(self, count: int, width: int, hidden: int = 96) -> None:
        super().__init__()
        self.embed = nn.Embedding(count + 1, hidden)
        self.recurrent = nn.GRU(hidden, hidden, batch_first=True)
        self.project = nn.Linear(hidden, width)

    def forward(self, numbers: Tensor) -> Tensor:
        lengths = (numbers != NOTHING).sum(1).clamp(min=1)
        longest = int(lengths.max())
        states, _ = self.recurrent(self.embed(numbers[:, :longest]))  # (b, longest, hidden)
        last = states[torch.arange(len(states), device=states.device), lengths - 1]
        return self.project(last)
