"""What all ways of predicting a frame share: condition, transformer, outcomes, training clips.

A frame's contents are (s, d) tokens or latents; `hidden` says how much of each place is not yet
known, from 0 (clean) to 1 (nothing). Predicting a frame begins with all of it hidden, and that
first pass is also what outcomes are read from, in training and in imagination alike: recorded
episodes end with an action whose picture nobody took, so the step that succeeds is never seen,
and heads that looked at pictures would learn that a picture means no success.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from world_models.clips import Clip
from world_models.conditioning import Condition, Outcome, OutcomeHeads
from world_models.config import DynamicsConfig
from world_models.transformer import Cache, SpaceTimeTransformer

DecodingMode = Literal["parallel", "autoregressive"]
FULL_SHARE = 0.5  # of the clips hide all of the last frame, which is how imagining begins


@dataclass(frozen=True)
class Decoding:
    """How a frame is imagined."""

    steps: int = 4  # passes over the frame; autoregressive: one pass per token, whatever this says
    mode: DecodingMode = "parallel"
    temperature: float = 0.0  # 0: always the likeliest

    def __post_init__(self) -> None:
        if self.mode not in ("parallel", "autoregressive"):
            raise ValueError(f"mode: expected parallel or autoregressive, got {self.mode!r}")
        if not isinstance(self.steps, int) or self.steps < 1:
            raise ValueError(f"steps: expected a whole number above 0, got {self.steps!r}")
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature: expected 0 or more, got {self.temperature}")


@dataclass(frozen=True)
class Ahead:
    """A frame about to be imagined: its condition, what came before, the first pass's features."""

    condition: Tensor  # (b, 1, w)
    cache: Cache  # of all frames before it
    contents: Tensor  # (b, 1, s, d) as the first pass saw it
    features: Tensor  # (b, s, w) of the first pass


class Dynamics(nn.Module, ABC):
    """Predicts frame contents and outcomes from past frames and actions."""

    modes: tuple[str, ...] = ("prefix",)  # of training, see `loss`

    def __init__(
        self, config: DynamicsConfig, places: int, content_dim: int, word_count: int
    ) -> None:
        super().__init__()
        self.config = config
        self.places, self.content_dim = places, content_dim
        self.condition = Condition(config, word_count)
        self.place_embed = nn.Parameter(torch.randn(places, config.width) * 0.02)
        self.transformer = SpaceTimeTransformer(
            config.width, config.blocks, config.heads, config.context_frames
        )
        self.outcome = OutcomeHeads(config.width, config.state_dim)

    # --- what a way of predicting defines ---------------------------------------------------

    @abstractmethod
    def embed(self, contents: Tensor, hidden: Tensor) -> Tensor:
        """(b, t, s, d), (b, t, s) in [0, 1] -> (b, t, s, w)."""

    @abstractmethod
    def blank(self, rows: int, generator: torch.Generator | None) -> Tensor:
        """(rows, 1, s, d): contents of a frame of which nothing is known."""

    @abstractmethod
    def content_loss(
        self, clip: Clip, condition: Tensor, mode: str, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, float]]:
        """The loss, features (b, s, w) of the last frame, which rows (b,) hide all of that frame
        behind a clean context, and figures to report.
        """

    @abstractmethod
    def imagine(
        self, ahead: Ahead, decoding: Decoding, generator: torch.Generator | None
    ) -> Tensor:
        """(b, s, d): the contents of the frame ahead."""

    # --- shared -----------------------------------------------------------------------------

    def run(
        self,
        contents: Tensor,
        hidden: Tensor,
        condition: Tensor,
        cache: Cache | None = None,
    ) -> tuple[Tensor, Cache]:
        """Features (b, t, s, w) and keys and values of t frames behind those in the cache."""
        return self.transformer(self.embed(contents, hidden) + self.place_embed, condition, cache)

    def clip_condition(self, clip: Clip) -> Tensor:
        """(b, t, w)."""
        text = self.condition.words(clip.words)
        return self.condition(clip.actions, clip.executed, clip.states_before, text)

    def look_ahead(
        self,
        cache: Cache | None,
        pending: tuple[Tensor, Tensor] | None,
        condition: Tensor,
        generator: torch.Generator | None,
    ) -> Ahead:
        """The first pass over the next frame, all of it hidden.

        `pending`: contents (b, t, s, d) and conditions (b, t, w) of known frames that are not in
        the cache yet; they enter it in the same pass.
        """
        blank = self.blank(len(condition), generator)
        contents, conditions, known = blank, condition, 0
        if pending is not None:
            contents = torch.cat([pending[0], blank], 1)
            conditions = torch.cat([pending[1], condition], 1)
            known = pending[0].shape[1]
        hidden = torch.zeros(contents.shape[:3], device=condition.device)
        hidden[:, known:] = 1.0
        features, new = self.run(contents, hidden, conditions, cache)
        past = new.first(0) if cache is None else cache
        past = past.followed_by(new.first(known), self.config.context_frames)
        return Ahead(condition, past, blank, features[:, -1])

    def doubt(self, ahead: Ahead) -> Tensor | None:
        """(b,) how undecided the first pass leaves the frame ahead; None: this kind cannot say."""
        return None

    def surprise(self, ahead: Ahead, contents: Tensor) -> Tensor | None:
        """(b,) how little the first pass expects `contents` (b, s, d) ahead; None: cannot say."""
        return None

    def read_outcome(self, ahead: Ahead) -> Outcome:
        """What the first pass says of the frame ahead."""
        return self.outcome(ahead.features, ahead.condition[:, 0])

    def loss(
        self, clip: Clip, mode: str, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """Of contents and outcomes, `mode` being one of `modes`."""
        condition = self.clip_condition(clip)
        content, features, full, figures = self.content_loss(clip, condition, mode, generator)
        if not bool(full.any()):
            return content, {"content": content.item(), **figures}
        outcome, parts = clip.targets.loss(self.outcome(features, condition[:, -1]), full)
        return content + outcome, {"content": content.item(), **figures, **parts}

    def with_imagined_context(
        self, clip: Clip, decoding: Decoding, generator: torch.Generator, frames: int = 1
    ) -> Clip:
        """The clip with the last `frames` context frames as this model imagines them.

        The loss on it is that of a later step of a roll-out: imagination has to live with its own
        mistakes. The clip must have two frames more than that.
        """
        last = clip.contents.shape[1] - 2  # the last context frame
        rolled = clip
        for frame in range(last - frames + 1, last + 1):
            rolled = self._with_imagined_frame(rolled, frame, decoding, generator)
        # The state to arrive at is the same, the way there is not.
        left = clip.targets.state_change + clip.states[:, last] - rolled.states[:, last]
        return replace(rolled, targets=replace(clip.targets, state_change=left))

    def _with_imagined_frame(
        self, clip: Clip, frame: int, decoding: Decoding, generator: torch.Generator
    ) -> Clip:
        before = clip.until(frame + 1)
        with torch.no_grad():  # the frames that were seen still teach their encoder
            condition = self.clip_condition(before)
            pending = (before.contents[:, :-1], condition[:, :-1])
            ahead = self.look_ahead(None, pending, condition[:, -1:], generator)
            imagined = self.imagine(ahead, decoding, generator)[:, None]
            change = self.read_outcome(ahead).state_change
        states = clip.states.clone()
        states[:, frame] = clip.states[:, frame - 1] + change
        parts = [clip.contents[:, :frame], imagined, clip.contents[:, frame + 1 :]]
        return replace(clip, contents=torch.cat(parts, 1), states=states)


def hidden_shares(clip: Clip, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(b,) share of the last frame to hide, and which rows hide all of it.

    The share is the cosine of a uniform angle (MaskGIT, arXiv 2202.04200, section 3.1). Where the
    last frame was never seen all of it is hidden.
    """
    rows, device = len(clip.contents), clip.contents.device
    drawn = torch.rand(2, rows, generator=generator).to(device)
    full = (drawn[0] < FULL_SHARE) | ~clip.last_known
    return torch.where(full, 1.0, torch.cos(drawn[1] * torch.pi / 2)), full
