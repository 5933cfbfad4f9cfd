"""OpenVLA as a `Policy`: token by token, greedily, or a chunk at once where there is a head."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from policies.interface import ACTION_DIM, ActionChunk, Observation, ObservationError
from policies.openvla.checkpoint import load_model
from policies.openvla.config import CheckpointError
from policies.openvla.decoding import GreedyDecoder
from policies.openvla.model import OpenVLA
from policies.openvla.preprocess import pixel_values
from policies.openvla.state import STATE_DIM, observation_state
from policies.openvla.statistics import ActionStatistics
from policies.openvla.text import encode_prompt, load_tokenizer, words
from policies.openvla.tokens import ActionTokenizer, from_unit, to_unit


class OpenVLAPolicy:
    """A checkpoint folder, ready to act. Deterministic: there is nothing to seed."""

    def __init__(self, folder: Path, device: str = "cpu", unnorm_key: str | None = None) -> None:
        self.name = folder.name
        self._device = torch.device(device)
        self.model: OpenVLA = load_model(folder).to(self._device)
        self.config = self.model.config
        self.cameras: tuple[str, ...] = (self.config.camera,)
        self.statistics = ActionStatistics.from_norm_stats(
            self.config.norm_stats, unnorm_key, ACTION_DIM
        )
        if self.config.proprio is not None and self.config.proprio.dim != STATE_DIM:
            raise CheckpointError(
                f"{folder}: proprio: expected {STATE_DIM} numbers, got {self.config.proprio.dim}"
            )
        self._tokenizer = load_tokenizer(folder)
        self._tokens = ActionTokenizer(self.config.tokenizer_vocab_size, self.config.n_action_bins)
        if len(self._tokenizer) > self.config.tokenizer_vocab_size:
            raise CheckpointError(
                f"{folder}: the tokenizer has {len(self._tokenizer)} tokens, the model only "
                f"{self.config.tokenizer_vocab_size}"
            )
        self._decoder = GreedyDecoder(self.model, self.config.grounded_numbers + ACTION_DIM)
        self.grounding: dict[str, float] = {}  # what the model last named [m], by name

    def reset(self, seed: int | None = None) -> None:
        """Nothing is remembered between observations but what was last named."""
        self.grounding = {}

    def predict_chunk(self, observation: Observation) -> ActionChunk:
        """The next action, or with a chunk head the next several.

        Raises `ObservationError` for what it cannot use.
        """
        return self.predict_chunks([observation])[0]

    def predict_chunks(self, observations: Sequence[Observation]) -> list[ActionChunk]:
        """The next actions for each of several robots, computed together.

        Raises `ObservationError` for the first observation that cannot be used.
        """
        started = time.perf_counter()
        for observation in observations:
            self._check_instruction(observation.instruction)
        values = self._numbers(observations)
        duration_ms = (time.perf_counter() - started) * 1e3
        return [
            self._chunk(observation, row, duration_ms)
            for observation, row in zip(observations, values, strict=True)
        ]

    def _chunk(
        self, observation: Observation, values: NDArray[np.float64], duration_ms: float
    ) -> ActionChunk:
        """(numbers,) in [-1, 1] as actions; what was named before them is kept."""
        grounding, grounded = self.config.grounding, self.config.grounded_numbers
        if grounding is not None:
            named = from_unit(values[:grounded], np.array(grounding.low), np.array(grounding.high))
            self.grounding = dict(zip(grounding.names, named.tolist(), strict=True))
        actions = self.statistics.unnormalize(values[grounded:].reshape(-1, ACTION_DIM))
        actions[:, 6] = np.clip(actions[:, 6], 0.0, 1.0)
        return ActionChunk(
            actions=actions,
            stamp_ns=observation.stamp_ns,
            dt_s=1.0 / self.config.rate_hz,
            statistics_hash=self.statistics.hash,
            diagnostics={"inference_ms": duration_ms, **self.grounding},
        )

    def _check_instruction(self, instruction: str) -> None:
        said = words(instruction)
        if not said:
            raise ObservationError("instruction: expected words, got an empty instruction")
        known = self.config.instruction_words
        if known is None:
            return
        unknown = [word for word in said if word not in known]
        if unknown:
            raise ObservationError(
                f"instruction: {self.name} was not trained on {', '.join(map(repr, unknown))}; "
                f"it knows {', '.join(known)}"
            )

    @torch.inference_mode()
    def _numbers(self, observations: Sequence[Observation]) -> NDArray[np.float64]:
        """(b, numbers) in [-1, 1]: what is named before the actions, then the actions."""
        config = self.config
        images = [observation.camera(config.camera) for observation in observations]
        pixels = torch.cat([pixel_values(image, config.image_sizes[0]) for image in images])
        state = None
        if config.proprio is not None:
            states = np.stack([observation_state(observation) for observation in observations])
            unit = to_unit(states, np.array(config.proprio.q01), np.array(config.proprio.q99))
            state = torch.as_tensor(unit, dtype=torch.float32, device=self._device)
        context = self.model.embed_context(pixels.to(self._device), state)
        prompts = [encode_prompt(self._tokenizer, each.instruction) for each in observations]
        if self.model.chunk_head is None:
            token_ids = self._decoder.decode(context, prompts).cpu().numpy()
            return self._tokens.decode(token_ids)
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        longest = int(lengths.max()) + len(self.model.chunk_head.slots)
        padded = torch.zeros(len(prompts), longest, dtype=torch.int64)
        for row, prompt in enumerate(prompts):
            padded[row, : len(prompt)] = torch.tensor(prompt)
        values, _ = self.model.slot_outputs(
            context, padded.to(self._device), lengths.to(self._device)
        )
        return values.float().clamp(-1.0, 1.0).cpu().numpy().astype(np.float64)
