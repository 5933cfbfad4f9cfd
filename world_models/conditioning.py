"""What a frame is conditioned on (actions, state, instruction), and the outcomes read off it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.interface import ACTION_DIM
from world_models.config import DynamicsConfig
from world_models.words import WordEncoder

# Standard deviations: what lies further out is read as if it lay there. A number that hardly ever
# changed in training would otherwise swamp all others when it does.
MAX_SCALED = 5.0
OUTCOMES = ("reward", "success", "steps", "value")


class Condition(nn.Module):
    """A frame's condition: the actions that led to it, the state before them, the instruction."""

    def __init__(self, config: DynamicsConfig, word_count: int) -> None:
        super().__init__()
        width, inputs = config.width, config.actions_per_frame * (ACTION_DIM + 1)
        self.words = WordEncoder(word_count, width)
        self.actions = nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width))
        self.state = nn.Sequential(
            nn.Linear(config.state_dim, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.no_actions_embed = nn.Parameter(torch.zeros(width))

    def forward(self, actions: Tensor, executed: Tensor, states: Tensor, text: Tensor) -> Tensor:
        """(b, t, w) from scaled actions (b, t, k, 7), which of them were `executed` (b, t, k),
        scaled states (b, t, state_dim) before them and the instruction (b, w).

        A frame none of whose actions were executed is the first that is known.
        """
        actions, states = (x.clamp(-MAX_SCALED, MAX_SCALED) for x in (actions, states))
        marked = executed.to(actions.dtype)
        inputs = torch.cat([actions * marked[..., None], marked[..., None]], -1).flatten(2)
        none = (marked.sum(-1, keepdim=True) == 0).to(actions.dtype)  # (b, t, 1)
        led = self.actions(inputs) * (1 - none) + self.no_actions_embed * none
        return led + self.state(states) + text[:, None]


@dataclass(frozen=True)
class Outcome:
    """What a frame's features say of it, one row each."""

    reward: Tensor  # (b,)
    success: Tensor  # (b,) logits
    steps: Tensor  # (b,) log(1 + control steps to the goal)
    value: Tensor  # (b,) logits of the discounted success
    state_change: Tensor  # (b, state_dim) scaled, since the frame before

    def repeat(self, times: int) -> Outcome:
        return Outcome(*(getattr(self, name).repeat_interleave(times, 0) for name in _FIELDS))


_FIELDS = (*OUTCOMES, "state_change")


class OutcomeHeads(nn.Module):
    """Reward, success, steps to the goal, value and the robot's next state from a frame's features
    and its condition, as how far the arm moves is all but written in the actions.

    Each of a few learned queries chooses where to look: the item that decides is small, and a mean
    over all places would drown it.
    """

    def __init__(self, width: int, state_dim: int, queries: int = 4) -> None:
        super().__init__()
        self.look = nn.Linear(width, queries)
        last = nn.Linear(width, len(OUTCOMES) + state_dim)
        self.layers = nn.Sequential(nn.Linear((queries + 1) * width, width), nn.SiLU(), last)
        nn.init.normal_(last.weight, std=0.002)
        nn.init.zeros_(last.bias)

    def forward(self, features: Tensor, condition: Tensor) -> Outcome:
        """(b, s, w), (b, w) -> one row each."""
        weights = self.look(features).softmax(1)  # (b, s, queries)
        seen = (weights.transpose(1, 2) @ features).flatten(1)  # (b, queries * w)
        numbers = self.layers(torch.cat([seen, condition], 1)).float()
        reward, success, steps, value = numbers[:, : len(OUTCOMES)].unbind(1)
        return Outcome(reward, success, steps, value, numbers[:, len(OUTCOMES) :])


@dataclass(frozen=True)
class OutcomeTargets:
    """What came true, nan where nobody knows."""

    reward: Tensor  # (b,) sum over the frame's actions
    success: Tensor  # (b,) 1: done within these actions
    steps: Tensor  # (b,) control steps from here to the goal
    value: Tensor  # (b,) discounted success
    state_change: Tensor  # (b, state_dim) scaled

    def loss(self, outcome: Outcome, rows: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Sum of the mean losses over `rows` (b,) bool, and each by itself."""
        losses = {
            "reward": _mean(lambda x, y: (x - y) ** 2, outcome.reward, self.reward, rows),
            "success": _mean(_binary, outcome.success, self.success, rows),
            "steps": _mean(
                lambda x, y: F.smooth_l1_loss(x, y, reduction="none"),
                outcome.steps,
                torch.log1p(self.steps),
                rows,
            ),
            "value": _mean(_binary, outcome.value, self.value, rows),
            "state": _mean(
                _near_squared,
                outcome.state_change,
                self.state_change,
                rows[:, None].expand_as(self.state_change),
            )
            * self.state_change.shape[1],  # of whole states: roll-outs go on from them
        }
        total = torch.stack(list(losses.values())).sum()
        return total, {name: value.item() for name, value in losses.items()}


def _near_squared(predicted: Tensor, targets: Tensor) -> Tensor:
    """Squared up to one standard deviation, then linear: where a turn passes pi its vector jumps by
    hundreds of them, and squares of that would leave nothing of a clipped gradient to all else.
    """
    return 2 * F.smooth_l1_loss(predicted, targets, reduction="none")


def _binary(logits: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def _mean(distance, predicted: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
    known = rows & ~torch.isnan(targets)
    losses = distance(predicted, torch.nan_to_num(targets)) * known
    return losses.sum() / known.sum().clamp(min=1)
