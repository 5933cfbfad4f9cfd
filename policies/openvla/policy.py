"""OpenVLA as a `Policy`: one observation in, one action out, greedily token by token."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from policies.interface import ACTION_DIM, ActionChunk, Observation, ObservationError
from policies.openvla.checkpoint import load_model
from policies.openvla.config import CheckpointError
from policies.openvla.model import OpenVLA
from policies.openvla.preprocess import pixel_values
from policies.openvla.state import STATE_DIM, observation_state
from policies.openvla.statistics import ActionStatistics
from policies.openvla.text import encode_prompt, load_tokenizer, words
from policies.openvla.tokens import ActionTokenizer, from_unit, to_unit


class OpenVLAPolicy:
    """A checkpoint folder, ready to act. Deterministic: there is nothing to seed."""

    def __init__(self, folder: Path, device: str = "cpu", unnorm_key: str | None = None) -> None:
        self._set_up(folder.name, load_model(folder), load_tokenizer(folder), device, unnorm_key)

    @classmethod
    def of(
        cls,
        name: str,
        model: OpenVLA,
        tokenizer: PreTrainedTokenizerFast,
        device: str = "cpu",
        unnorm_key: str | None = None,
    ) -> OpenVLAPolicy:
        """A network that is already in memory, which the policy shares."""
        policy = cls.__new__(cls)
        policy._set_up(name, model, tokenizer, device, unnorm_key)
        return policy

    def _set_up(
        self,
        name: str,
        model: OpenVLA,
        tokenizer: PreTrainedTokenizerFast,
        device: str,
        unnorm_key: str | None,
    ) -> None:
        self.name = name
        self._device = torch.device(device)
        self.model = model.to(self._device)
        self.config = self.model.config
        self.cameras: tuple[str, ...] = (self.config.camera,)
        self.statistics = ActionStatistics.from_norm_stats(
            self.config.norm_stats, unnorm_key, ACTION_DIM
        )
        if self.config.proprio is not None and self.config.proprio.dim != STATE_DIM:
            raise CheckpointError(
                f"{name}: proprio: expected {STATE_DIM} numbers, got {self.config.proprio.dim}"
            )
        self._tokenizer = tokenizer
        self._numbers = ActionTokenizer(self.config.tokenizer_vocab_size, self.config.n_action_bins)
        if len(self._tokenizer) > self.config.tokenizer_vocab_size:
            raise CheckpointError(
                f"{name}: the tokenizer has {len(self._tokenizer)} tokens, the model only "
                f"{self.config.tokenizer_vocab_size}"
            )
        self.grounding: dict[str, float] = {}  # what the model last named [m], by name

    def reset(self, seed: int | None = None) -> None:
        """Nothing is remembered between observations but what was last named."""
        self.grounding = {}

    def predict_chunk(self, observation: Observation) -> ActionChunk:
        """The next action, a chunk of one. Raises `ObservationError` for what it cannot use."""
        started = time.perf_counter()
        self._check_instruction(observation.instruction)
        image = observation.camera(self.config.camera)
        token_ids = self._decode(image, observation)
        values = self._numbers.decode(token_ids)
        grounded = len(values) - ACTION_DIM
        if self.config.grounding is not None:
            named = from_unit(
                values[:grounded],
                np.array(self.config.grounding.low),
                np.array(self.config.grounding.high),
            )
            self.grounding = dict(zip(self.config.grounding.names, named.tolist(), strict=True))
        action = self.statistics.unnormalize(values[grounded:])
        action[6] = np.clip(action[6], 0.0, 1.0)
        return ActionChunk(
            actions=action[None],
            stamp_ns=observation.stamp_ns,
            dt_s=1.0 / self.config.rate_hz,
            statistics_hash=self.statistics.hash,
            diagnostics={
                "inference_ms": (time.perf_counter() - started) * 1e3,
                **self.grounding,
            },
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
    def _decode(self, image: np.ndarray, observation: Observation) -> np.ndarray:
        """Token ids of all numbers, greedily, with a key-value cache."""
        config, model = self.config, self.model
        grounded = len(config.grounding.names) if config.grounding else 0
        pixels = pixel_values(image, config.image_sizes[0]).to(self._device)
        state = None
        if config.proprio is not None:
            unit = to_unit(
                observation_state(observation),
                np.array(config.proprio.q01),
                np.array(config.proprio.q99),
            )
            state = torch.as_tensor(unit, dtype=torch.float32, device=self._device)[None]
        ids = encode_prompt(self._tokenizer, observation.instruction)
        embeddings = model.splice(
            model.embed_context(pixels, state), torch.tensor([ids], device=self._device)
        )
        cache = None
        chosen: list[int] = []
        for _ in range(grounded + ACTION_DIM):
            output = model.language_model.model(
                inputs_embeds=embeddings, past_key_values=cache, use_cache=True
            )
            cache = output.past_key_values
            logits = model.language_model.lm_head(output.last_hidden_state[:, -1])
            token = logits.argmax(-1, keepdim=True)  # (1, 1)
            chosen.append(int(token))
            embeddings = model.language_model.get_input_embeddings()(token)
        return np.array(chosen)
