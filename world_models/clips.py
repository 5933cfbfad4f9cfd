"""Short runs of frames as the dynamics learn from them: context frames and the one to predict."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from world_models.conditioning import OutcomeTargets


@dataclass(frozen=True)
class Clip:
    """b clips of t frames; the last is to be predicted, the others are its context."""

    contents: Tensor  # (b, t, s, d) tokens or latents; arbitrary where not known
    last_known: Tensor  # (b,) bool; False where the episode ended with the last frame's actions
    actions: Tensor  # (b, t, k, 7) scaled, that led to each frame
    executed: Tensor  # (b, t, k) bool, which of them there were; none before the first frame
    states: Tensor  # (b, t, state_dim) scaled, at each frame; arbitrary where not known
    words: Tensor  # (b, n) word numbers
    places: Tensor  # (b, t, 6) where the named item is and shall go, scaled as the tool's; or nan
    targets: OutcomeTargets  # of the last frame

    @property
    def states_before(self) -> Tensor:
        """(b, t, state_dim): at the frame before each; the first frame has its own."""
        return torch.cat([self.states[:, :1], self.states[:, :-1]], 1)

    def until(self, frames: int) -> Clip:
        """The first `frames` frames, the last of them to be predicted; its targets are unknown."""
        unknown = OutcomeTargets(
            **{
                field.name: torch.full_like(getattr(self.targets, field.name), float("nan"))
                for field in fields(OutcomeTargets)
            }
        )
        return replace(
            self,
            contents=self.contents[:, :frames],
            last_known=torch.ones_like(self.last_known),
            actions=self.actions[:, :frames],
            executed=self.executed[:, :frames],
            states=self.states[:, :frames],
            places=self.places[:, :frames],
            targets=unknown,
        )
