"""From rows of `Examples` to tensors. Every random choice comes from the generator passed in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from policies.interface import ACTION_DIM
from policies.openvla.config import OpenVLAConfig
from policies.openvla.preprocess import normalize, to_unit_range
from policies.openvla.statistics import ActionStatistics
from policies.openvla.text import encode_prompt
from policies.openvla.tokens import ActionTokenizer, to_unit
from policies.training.examples import Examples


@dataclass(frozen=True)
class Batch:
    """b sequences: prompt, then the numbers as tokens (teacher forcing) or room for slots.

    Each image is used for `instructions_per_image` sequences, one behind the other.
    """

    pixel_values: Tensor  # (b / instructions_per_image, 6, s, s)
    states: Tensor  # (b, 7), normalized
    input_ids: Tensor  # (b, longest): prompt and all numbers but the last (with an end token: all;
    # a model with a chunk head: a 0 for each slot), padded on the right
    last_prompt: Tensor  # (b,) index in input_ids of the prompt's last token
    values: Tensor  # (b, numbers) in [-1, 1], nan = not supervised
    rows: NDArray[np.int64]  # (b,) of the examples, for further labels
    instructions_per_image: int = 1


class BatchMaker:
    """Turns rows into batches for one model configuration."""

    def __init__(
        self,
        config: OpenVLAConfig,
        tokenizer: PreTrainedTokenizerFast,
        statistics: ActionStatistics,
        device: torch.device,
        end_token: bool = False,
    ) -> None:
        """`end_token`: one more token is predicted, behind the numbers."""
        self.config = config
        self.end_token = end_token
        self.chunk_length = config.chunk.length if config.chunk else 1
        self.numbers = config.grounded_numbers + ACTION_DIM * self.chunk_length
        self.action_tokenizer = ActionTokenizer(config.tokenizer_vocab_size, config.n_action_bins)
        self._tokenizer = tokenizer
        self._statistics = statistics
        self.device = device
        self._prompts: dict[str, list[int]] = {}

    def make(
        self,
        examples: Examples,
        rows: NDArray[np.int64],
        rng: np.random.Generator,
        augment: bool = True,
        instructions_per_image: int = 1,
    ) -> Batch:
        """A batch of these rows, different ones of its instructions drawn for each.

        Several instructions for the same image cost the towers nothing more, and only the words
        tell their answers apart.
        """
        available = examples.actions.shape[1]
        if not 1 <= instructions_per_image <= available:
            raise ValueError(
                f"instructions_per_image: expected 1 to {available}, got {instructions_per_image}"
            )
        images = to_unit_range(examples.images[rows])
        if augment:
            images = augment_images(images, rng)
        # Weighted draw without replacement: the largest of u^(1/w) (Efraimidis and Spirakis, 2006).
        weights = examples.instruction_weights[rows]
        order = np.argsort(-(rng.random(weights.shape) ** (1.0 / weights)), axis=1)
        choices = order[:, :instructions_per_image].flatten()
        rows = np.repeat(rows, instructions_per_image)
        prompts = [
            self._encode(examples.instructions[row][choice])
            for row, choice in zip(rows, choices, strict=True)
        ]
        values = self._values(examples, rows, choices)  # (b, numbers)
        behind: NDArray[np.int64]
        if self.config.chunk:
            behind = np.zeros((len(rows), self.config.grounded_numbers + self.chunk_length), int)
        else:
            behind = self.action_tokenizer.encode(np.nan_to_num(values))
            behind = behind if self.end_token else behind[:, :-1]
        longest = max(len(prompt) for prompt in prompts) + behind.shape[1]
        input_ids = np.zeros((len(rows), longest), dtype=np.int64)
        for index, prompt in enumerate(prompts):
            sequence = [*prompt, *behind[index]]
            input_ids[index, : len(sequence)] = sequence
        states = self._states(examples.states[rows])
        if augment:
            states = states + rng.normal(0.0, 0.01, size=states.shape)
        move = lambda array, dtype: torch.as_tensor(array, dtype=dtype).to(self.device)  # noqa: E731
        return Batch(
            pixel_values=normalize(images, self.config.normalization).to(self.device),
            states=move(states, torch.float32),
            input_ids=move(input_ids, torch.int64),
            last_prompt=move([len(prompt) - 1 for prompt in prompts], torch.int64),
            values=move(values, torch.float32),
            rows=rows,
            instructions_per_image=instructions_per_image,
        )

    def _encode(self, instruction: str) -> list[int]:
        if instruction not in self._prompts:
            self._prompts[instruction] = encode_prompt(self._tokenizer, instruction)
        return self._prompts[instruction]

    def _states(self, states: NDArray) -> NDArray[np.float64]:
        proprio = self.config.proprio
        if proprio is None:
            return np.zeros((len(states), 0))
        return to_unit(states, np.array(proprio.q01), np.array(proprio.q99))

    def _values(self, examples: Examples, rows: NDArray, choices: NDArray) -> NDArray[np.float64]:
        chunks = examples.chunks(rows, choices, self.chunk_length)  # (b, k, 7)
        actions = self._statistics.normalize(chunks).reshape(len(rows), -1)
        grounding = self.config.grounding
        if grounding is None:
            return actions
        named = to_unit(
            examples.grounding[rows, choices], np.array(grounding.low), np.array(grounding.high)
        )
        return np.concatenate([named, actions], axis=1)


def augment_images(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Vary brightness, contrast and tint a little and add noise; (b, 3, h, w) in [0, 1]."""
    count = len(images)
    draw = lambda low, high, *shape: torch.from_numpy(  # noqa: E731
        rng.uniform(low, high, size=(count, *shape)).astype(np.float32)
    )
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (images - mean) * draw(0.85, 1.15, 1, 1, 1) + mean  # contrast
    images = images * draw(0.85, 1.15, 1, 1, 1) * draw(0.95, 1.05, 3, 1, 1)  # brightness, tint
    noise = rng.standard_normal(images.shape, dtype=np.float32)
    return (images + 0.01 * torch.from_numpy(noise)).clamp_(0.0, 1.0)
