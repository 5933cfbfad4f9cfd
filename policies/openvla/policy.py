"""OpenVLA as a `Policy`: token by token, greedily, or a chunk at once where there is a head."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from policies.interface import (
    ACTION_DIM,
    ActionChunk,
    InstructionError,
    Observation,
    ObservationError,
    ToolLimits,
)
from policies.openvla.alive import check_alive
from policies.openvla.checkpoint import load_model
from policies.openvla.config import CheckpointError, OpenVLAConfig, read_config
from policies.openvla.decoding import GreedyDecoder, Sampler
from policies.openvla.model import OpenVLA
from policies.openvla.stages import model_pixels, model_state
from policies.openvla.state import STATE_DIM, observation_state
from policies.openvla.statistics import ActionStatistics
from policies.openvla.text import check_tokenizer, encode_prompt, load_tokenizer, words
from policies.openvla.tokens import ActionTokenizer, from_unit, to_unit

USUAL_LENGTH = "pick up the green cylinder and put it in the yellow bowl"
UNSEEN_PX = 224  # of a picture that only stands for one


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
        self.folder: Path | None = folder  # None: a network that lies in no folder
        self._prepare(
            folder.name, read_config(folder), load_tokenizer(folder), unnorm_key, str(folder)
        )
        self._take(load_model(folder, dtype, device))

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
        policy.folder = None
        policy._prepare(name, model.config, tokenizer, unnorm_key, name)
        policy._take(model.to(device))
        return policy

    def _prepare(
        self,
        name: str,
        config: OpenVLAConfig,
        tokenizer: PreTrainedTokenizerFast,
        unnorm_key: str | None,
        source: str,
    ) -> None:
        """What needs no weights; errors name `source`."""
        self.name = name
        self.cameras: tuple[str, ...] = (config.camera,)
        self.statistics = ActionStatistics.from_norm_stats(
            config.norm_stats, unnorm_key, ACTION_DIM
        )
        if config.proprio is not None and config.proprio.dim != STATE_DIM:
            raise CheckpointError(
                f"{source}: proprio: expected {STATE_DIM} numbers, got {config.proprio.dim}"
            )
        self.tokenizer = tokenizer
        check_tokenizer(tokenizer, config, source)
        self.numbers = ActionTokenizer(config.tokenizer_vocab_size, config.n_action_bins)
        self.grounding: dict[str, float] = {}  # what the model last named [m], by name

    def _take(self, model: OpenVLA) -> None:
        self.model = model
        self.config = model.config
        self._decoder = GreedyDecoder(model, self.config.numbers_per_action)

    @torch.inference_mode()
    def compile(self) -> None:
        """Let `torch.compile` make one sequence of kernels of a decoding step: half a minute.

        For sentences of usual length; one that needs a longer cache is compiled for when it comes.
        Raises `CheckpointError` for a chunk head, which decodes nothing, or without a compiler.
        """
        if self.model.chunk_head is not None:
            raise CheckpointError(
                "compile: expected a policy that answers token by token, got one with a chunk "
                "head, which takes one pass"
            )
        compiler = os.environ.get("CXX", "g++")
        if not (shutil.which(compiler) or shutil.which("clang++")):
            raise CheckpointError(f"compile: expected {compiler} or clang++ on the PATH, got none")
        model, size = self.model, (*[UNSEEN_PX] * 2, 3)
        self._decoder = GreedyDecoder(model, self.config.numbers_per_action, compiled=True)
        state = None if self.config.proprio is None else np.zeros(self.config.proprio.dim)
        context = model.embed_context(
            model_pixels(model, np.zeros(size, np.uint8)), model_state(model, state)
        )
        self._decoder.decode(context, [encode_prompt(self.tokenizer, USUAL_LENGTH)])

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
        values = self._predict(observations)
        duration_ms = (time.perf_counter() - started) * 1e3
        return [
            self._chunk(observation, row, duration_ms)
            for observation, row in zip(observations, values, strict=True)
        ]

    @property
    def can_sample(self) -> bool:
        """Whether its answers have a distribution: a chunk head's have none."""
        return self.model.chunk_head is None

    @torch.inference_mode()
    def sample_chunks(
        self, observation: Observation, count: int, temperature: float, seed: int
    ) -> NDArray[np.float64]:
        """(count, 1, 7): actions token by token at a temperature, what is named before them too.

        The image is looked at once.
        """
        if not self.can_sample:
            raise ValueError("sample: a chunk head regresses, it has no distribution to draw from")
        self._check_instruction(observation.instruction)
        context, prompts = self._context([observation])
        first = self.numbers.first_id
        sampler = Sampler(first, self.numbers.vocab_size, temperature, seed)
        tokens = self._decoder.decode(
            context.expand(count, -1, -1), prompts * count, choose=sampler
        )
        values = self.numbers.decode(tokens.cpu().numpy())[:, self.config.grounded_numbers :]
        actions = self.statistics.unnormalize(values.reshape(count, -1, ACTION_DIM))
        actions[..., 6] = np.clip(actions[..., 6], 0.0, 1.0)
        return actions

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
            raise InstructionError(
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
    def _predict(self, observations: Sequence[Observation]) -> NDArray[np.float64]:
        """(b, numbers) in [-1, 1]: what is named before the actions, then the actions."""
        context, prompts = self._context(observations)
        if self.model.chunk_head is None:
            return self.numbers.decode(self._decoder.decode(context, prompts).cpu().numpy())
        values = self.model.predict_numbers(context, prompts)
        return values.float().clamp(-1.0, 1.0).cpu().numpy().astype(np.float64)

    def _context(self, observations: Sequence[Observation]) -> tuple[Tensor, list[list[int]]]:
        """What stands behind the first token, (b, n, hidden), and the prompts."""
        model, camera = self.model, self.config.camera
        images = [observation.camera(camera) for observation in observations]
        pixels = torch.cat([model_pixels(model, image) for image in images])
        states = [model_state(model, self.unit_state(each)) for each in observations]
        state = None if states[0] is None else torch.cat([row for row in states if row is not None])
        context = model.embed_context(pixels, state)
        prompts = [encode_prompt(self.tokenizer, each.instruction) for each in observations]
        self._check_length(max(map(len, prompts)), context.shape[1])
        return context, prompts

    def _check_length(self, prompt: int, context: int) -> None:
        """Memory grows with the square of the tokens, and no model was trained beyond its own."""
        head = self.model.chunk_head
        behind = self.config.numbers_per_action if head is None else len(head.slots)
        most = self.model.language_model.config.max_position_embeddings - context - behind
        if prompt > most:
            raise InstructionError(
                f"instruction: {self.name} has room for {most} tokens, prompt included, "
                f"beside the picture; got {prompt}"
            )
