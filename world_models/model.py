"""The world model: a way to write frames down, dynamics over what is written, and the verbs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from policies.interface import ObservationError
from policies.openvla.preprocess import to_unit_range
from world_models.conditioning import Outcome
from world_models.config import WorldModelConfig
from world_models.dynamics import Ahead, Decoding, Dynamics
from world_models.flow import FlowDynamics
from world_models.interface import (
    Context,
    NotGenerativeError,
    NothingImaginedError,
    check_actions,
)
from world_models.latent import LatentDynamics, LatentEncoder
from world_models.masked import MaskedDynamics
from world_models.tokenizer import Tokenizer
from world_models.transformer import Cache
from world_models.words import WordNumbers

SEED = 0  # of what is drawn when no generator is given: the same call gives the same frame


@dataclass(frozen=True)
class Imagined:
    """b situations: the present frame, and the past as keys and values."""

    contents: Tensor  # (b, s, d)
    states: Tensor  # (b, state_dim) scaled
    text: Tensor  # (b, w) the instruction
    cache: Cache | None  # of the frames before the present one, or with it where pending is None
    pending: Tensor | None  # (b, 1, w) condition of the present frame while not in the cache
    outcome: Outcome | None  # None: seen, not imagined
    doubt: Tensor | None = None  # (b,) see `Dynamics.doubt`; None: seen, or the kind cannot say

    def __len__(self) -> int:
        return len(self.contents)

    def repeat(self, times: int) -> Imagined:
        """Each situation `times` times, one behind the other."""
        return Imagined(
            contents=self.contents.repeat_interleave(times, 0),
            states=self.states.repeat_interleave(times, 0),
            text=self.text.repeat_interleave(times, 0),
            cache=None if self.cache is None else self.cache.repeat(times),
            pending=None if self.pending is None else self.pending.repeat_interleave(times, 0),
            outcome=None if self.outcome is None else self.outcome.repeat(times),
            doubt=None if self.doubt is None else self.doubt.repeat_interleave(times, 0),
        )


def build_dynamics(config: WorldModelConfig) -> Dynamics:
    """Of the configured kind."""
    sizes, words = config.dynamics, len(config.words)
    places, levels = config.tokenizer.side**2, config.tokenizer.levels
    if sizes.kind == "masked":
        return MaskedDynamics(sizes, places, levels, words)
    if sizes.kind == "flow":
        return FlowDynamics(sizes, places, len(levels), words)
    return LatentDynamics(sizes, words)


class ImaginationModel(nn.Module):
    """A `world_models.interface.WorldModel` of any kind."""

    action_mean: Tensor
    action_std: Tensor
    state_mean: Tensor
    state_std: Tensor

    def __init__(self, config: WorldModelConfig) -> None:
        super().__init__()
        self.config = config
        self.actions_per_frame = config.dynamics.actions_per_frame
        self.generative = config.dynamics.kind != "latent"
        self.tokenizer: Tokenizer | LatentEncoder = (
            Tokenizer(config.tokenizer)
            if self.generative
            else LatentEncoder(config.tokenizer, config.dynamics.latent_dim)
        )
        self.dynamics = build_dynamics(config)
        self.words = WordNumbers(config.words, config.dynamics.max_words)
        scales = config.scales
        for name in ("action_mean", "action_std", "state_mean", "state_std"):
            self.register_buffer(name, torch.tensor(getattr(scales, name)), persistent=False)

    @property
    def device(self) -> torch.device:
        return self.action_mean.device

    # --- scales -----------------------------------------------------------------------------

    def scale_actions(self, actions: Tensor) -> Tensor:
        return (actions - self.action_mean) / self.action_std

    def scale_states(self, states: Tensor) -> Tensor:
        return (states - self.state_mean) / self.state_std

    def write_down(self, images: Tensor) -> Tensor:
        """(b, 3, s, s) in [0, 1] -> contents (b, places, d), as the dynamics take them."""
        if isinstance(self.tokenizer, LatentEncoder):
            return self.tokenizer(images)
        if self.config.dynamics.kind == "masked":
            return self.tokenizer.tokens(images)
        return self.tokenizer.encode(images)[1]

    # --- verbs ------------------------------------------------------------------------------

    @torch.inference_mode()
    def encode(self, context: Context) -> Imagined:
        """See `world_models.interface.WorldModel`. Frames older than the context are not used."""
        frames = self.config.dynamics.context_frames
        images, states = context.images[:, -frames:], context.states[:, -frames:]
        rows, count = images.shape[:2]
        self._check(images, states)
        actions = torch.as_tensor(context.actions[:, context.actions.shape[1] - count + 1 :])
        flat = to_unit_range(images.reshape(-1, *images.shape[2:]))
        contents = self.write_down(flat.to(self.device))
        contents = contents.unflatten(0, (rows, count))  # (b, t, s, d)
        scaled = self.scale_states(torch.as_tensor(states).float().to(self.device))
        text = self.dynamics.condition.words(
            torch.from_numpy(self.words.encode(context.instructions)).to(self.device)
        )
        led = torch.zeros(rows, count, self.actions_per_frame, actions.shape[-1])
        executed = torch.zeros(rows, count, self.actions_per_frame, dtype=torch.bool)
        if count > 1:
            for step in range(count - 1):
                check_actions(actions[:, step], rows, self.actions_per_frame)
            led[:, 1:], executed[:, 1:] = actions.float(), True
        before = torch.cat([scaled[:, :1], scaled[:, :-1]], 1)
        condition = self.dynamics.condition(
            self.scale_actions(led.to(self.device)), executed.to(self.device), before, text
        )
        hidden = torch.zeros(contents.shape[:3], device=self.device)
        _, cache = self.dynamics.run(contents, hidden, condition)
        return Imagined(contents[:, -1], scaled[:, -1], text, cache, None, None)

    @torch.inference_mode()
    def next(
        self,
        latent: Imagined,
        actions: Tensor | NDArray[np.floating],
        decoding: Decoding | None = None,
        generator: torch.Generator | None = None,
    ) -> Imagined:
        """See `world_models.interface.WorldModel`."""
        generator = generator or torch.Generator().manual_seed(SEED)
        ahead = self._look_ahead(latent, actions, generator)
        outcome = self.dynamics.read_outcome(ahead)
        return replace(
            latent,
            contents=self.dynamics.imagine(ahead, decoding or Decoding(), generator),
            states=latent.states + outcome.state_change,
            cache=ahead.cache,
            pending=ahead.condition,
            outcome=outcome,
            doubt=self.dynamics.doubt(ahead),
        )

    @torch.inference_mode()
    def surprise(
        self, latent: Imagined, actions: Tensor | NDArray[np.floating], seen: Imagined
    ) -> NDArray[np.float32] | None:
        """(b,) how little the model expects that `actions` lead from `latent` to what was `seen`.

        None: models of this kind cannot say.
        """
        generator = torch.Generator().manual_seed(SEED)
        ahead = self._look_ahead(latent, actions, generator)
        found = self.dynamics.surprise(ahead, seen.contents)
        return None if found is None else found.cpu().numpy()

    def _look_ahead(
        self,
        latent: Imagined,
        actions: Tensor | NDArray[np.floating],
        generator: torch.Generator,
    ) -> Ahead:
        led = torch.as_tensor(actions).float()
        check_actions(led, len(latent), self.actions_per_frame)
        led = self.scale_actions(led.to(self.device))[:, None]  # (b, 1, k, 7)
        executed = torch.ones(led.shape[:3], dtype=torch.bool, device=self.device)
        condition = self.dynamics.condition(led, executed, latent.states[:, None], latent.text)
        pending = None
        if latent.pending is not None:
            pending = (latent.contents[:, None], latent.pending)
        return self.dynamics.look_ahead(latent.cache, pending, condition, generator)

    @torch.inference_mode()
    def decode(self, latent: Imagined) -> NDArray[np.uint8]:
        """See `world_models.interface.WorldModel`."""
        if not isinstance(self.tokenizer, Tokenizer):
            raise NotGenerativeError(
                "decode: a model of kind 'latent' has no pictures; train one of kind masked or flow"
            )
        if self.config.dynamics.kind == "masked":
            images = self.tokenizer.decode_tokens(latent.contents)
        else:
            images = self.tokenizer.decode(latent.contents).clamp(0, 1)
        return (images * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()

    def reward(self, latent: Imagined) -> NDArray[np.float32]:
        return _outcome(latent).reward.cpu().numpy()

    def success(self, latent: Imagined) -> NDArray[np.float32]:
        return _outcome(latent).success.sigmoid().cpu().numpy()

    def steps_to_goal(self, latent: Imagined) -> NDArray[np.float32]:
        return torch.expm1(_outcome(latent).steps.clamp(0, 10)).cpu().numpy()

    def value(self, latent: Imagined) -> NDArray[np.float32]:
        return _outcome(latent).value.sigmoid().cpu().numpy()

    def state(self, latent: Imagined) -> NDArray[np.float32]:
        return (latent.states * self.state_std + self.state_mean).cpu().numpy()

    def _check(self, images: NDArray, states: NDArray) -> None:
        size = self.config.tokenizer.image_size_px
        if images.shape[2:] != (size, size, 3):
            raise ObservationError(
                f"images: expected frames of ({size}, {size}, 3), got {images.shape[2:]}"
            )
        if states.shape[2] != self.config.dynamics.state_dim:
            raise ObservationError(
                f"states: expected {self.config.dynamics.state_dim} numbers, got {states.shape[2]}"
            )


def _outcome(latent: Imagined) -> Outcome:
    if latent.outcome is None:
        raise NothingImaginedError(
            "outcome: expected a latent that `next` returned; this one was encoded, not imagined"
        )
    return latent.outcome
