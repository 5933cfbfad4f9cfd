"""OpenVLA as a `Policy`: one observation in, one action out, greedily token by token."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from policies.interface import (
    ACTION_DIM,
    ActionChunk,
    Observation,
    ObservationError,
    ToolLimits,
)
from policies.openvla.alive import check_alive
from policies.openvla.checkpoint import load_model
from policies.openvla.config import CheckpointError, read_config
from policies.openvla.decode import decode_greedily
from policies.openvla.model import OpenVLA
from policies.openvla.stages import model_pixels, model_state
from policies.openvla.state import STATE_DIM, observation_state
from policies.openvla.statistics import ActionStatistics
from policies.openvla.text import check_tokenizer, encode_prompt, load_tokenizer, words
from policies.openvla.tokens import ActionTokenizer, from_unit, to_unit


class OpenVLAPolicy:
    """A checkpoint folder, ready to act. Deterministic: there is nothing to seed."""

    def __init__(
        self,
        folder: Path,
        device: str = "cpu",
        unnorm_key: str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Load it onto `device`. Raises `CheckpointError` for what does not fit, and everything
        that can be seen without the weights before they are read.
        """
        self.name = folder.name
        self.folder: Path | None = folder  # None: a network that lies in no folder
        config = read_config(folder)
        self.cameras: tuple[str, ...] = (config.camera,)
        self.statistics = ActionStatistics.from_norm_stats(
            config.norm_stats, unnorm_key, ACTION_DIM
        )
        if config.proprio is not None and config.proprio.dim != STATE_DIM:
            raise CheckpointError(
                f"{folder}: proprio: expected {STATE_DIM} numbers, got {config.proprio.dim}"
            )
        self.tokenizer = load_tokenizer(folder)
        check_tokenizer(self.tokenizer, int(config.text_config["vocab_size"]), str(folder))
        self.numbers = ActionTokenizer(config.tokenizer_vocab_size, config.n_action_bins)
        self.model: OpenVLA = load_model(folder, dtype, device)
        self.config = self.model.config
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
        values = self.numbers.decode(token_ids)
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

    def check_fit(self, limits: ToolLimits) -> None:
        """See `policies.openvla.alive`. Raises `UnfitPolicyError`."""
        check_alive(self, limits)

    def unit_state(self, observation: Observation) -> NDArray[np.float64] | None:
        """The state's (n,) numbers in [-1, 1]; None for a model without a state token."""
        proprio = self.config.proprio
        if proprio is None:
            return None
        state = observation_state(observation)
        return to_unit(state, np.array(proprio.q01), np.array(proprio.q99))

    @torch.inference_mode()
    def _decode(self, image: NDArray[np.uint8], observation: Observation) -> NDArray[np.int64]:
        """Token ids of all numbers, greedily."""
        ids = encode_prompt(self.tokenizer, observation.instruction)
        state = model_state(self.model, self.unit_state(observation))
        context = self.model.embed_context(model_pixels(self.model, image), state)
        token_ids, _ = decode_greedily(
            self.model,
            context,
            torch.tensor([ids], device=self.model.device),
            self.config.numbers_per_action,
        )
        return token_ids.cpu().numpy()
