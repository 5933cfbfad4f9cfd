"""OpenVLA-OFT's action head: a whole chunk of actions from one forward pass (arXiv 2502.19645).

Learned slots stand behind the prompt, one for each step of the chunk (and, in models with
grounding, one for each number named before the action). Every slot sees the prompt and all other
slots; a small residual MLP reads the actions off what the slots have become, trained by L1
regression. OFT has one slot for every number of an action and joins their outputs before the MLP;
one for each step does the same with a seventh of the sequence.

Token by token, a model with grounding reads the positions it has named before it names the action.
Here all come from the same pass, so the MLP is handed the named numbers, and the state's token.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from policies.interface import ACTION_DIM


class ChunkHead(nn.Module):
    """Slots, and what reads numbers in [-1, 1] off them."""

    def __init__(
        self, grounded: int, length: int, blocks: int, hidden_size: int, with_state: bool
    ) -> None:
        super().__init__()
        self.grounded = grounded
        self.slots = nn.Parameter(0.02 * torch.randn(grounded + length, hidden_size))
        self.grounding = nn.Linear(hidden_size, grounded) if grounded else None
        self.fc_in = nn.Linear(hidden_size, hidden_size)
        self.fc_named = None
        if grounded:
            known = grounded + hidden_size * with_state
            self.fc_named = nn.Linear(known, hidden_size, bias=False)
            nn.init.zeros_(self.fc_named.weight)  # what it adds is learned
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(hidden_size), nn.Linear(hidden_size, hidden_size), nn.ReLU())
            for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(hidden_size)
        self.fc_out = nn.Linear(hidden_size, ACTION_DIM)

    def forward(self, hidden: Tensor, state_token: Tensor | None = None) -> Tensor:
        """(b, slots, hidden) -> (b, grounded + 7 k): what is named first, then k actions.

        `state_token`: (b, hidden), of models that have one.
        """
        named, steps = hidden[:, : self.grounded], hidden[:, self.grounded :]
        features = self.fc_in(steps)
        numbers = None
        if self.grounding is not None and self.fc_named is not None:
            # Slot i names number i: the diagonal of (slots, numbers).
            numbers = torch.diagonal(self.grounding(named), dim1=1, dim2=2)  # (b, grounded)
            known = (
                [numbers, state_token.to(hidden.dtype)] if state_token is not None else [numbers]
            )
            features = features + self.fc_named(torch.cat(known, dim=1))[:, None]
        features = torch.relu(features)
        for block in self.blocks:
            features = features + block(features)
        actions = self.fc_out(self.norm(features)).flatten(1)  # (b, 7 k)
        return actions if numbers is None else torch.cat([numbers, actions], dim=1)


def slot_positions(lengths: Tensor, count: int) -> Tensor:
    """(b,) prompt lengths -> (b, count) positions of the slots behind each prompt."""
    return lengths[:, None] + torch.arange(count, device=lengths.device)


def slot_attention(lengths: Tensor, count: int, total: int) -> Tensor:
    """(b, total, total): who may look at whom.

    Prompts look back, as ever; slots look at the prompt and at every slot. What is padded behind
    them is seen by no one before it.
    """
    places = torch.arange(total, device=lengths.device)
    causal = places[None, :] <= places[:, None]  # (total, total)
    first, end = lengths[:, None], lengths[:, None] + count
    is_slot = (places >= first) & (places < end)  # (b, total)
    return causal | (is_slot[:, :, None] & is_slot[:, None, :])
