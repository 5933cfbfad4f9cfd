"""Telling the decoder where to look: from a name to what is seen, from a number to the name.

Binding words to what is seen is what takes long to learn from actions: left alone, the model says
that the named thing is where the gripper is, and stays there. So it is shown the way, in three
steps. While it reads "green" one attention head looks at what is green, and at "cylinder" behind it
at the green cylinder; from what that word has then become, a linear probe tells where the cylinder
is; and while it names the target's position one head of the next layer looks at that word. These
are losses on views, where simulation knows the truth; nothing changes at run time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from policies.training.batches import Batch
from policies.training.examples import PatchLabels

POINTING_LAYER = 1  # the second: the first can already tell a word what stands before it
ROUTING_LAYER = 2  # the next
POINTING_HEAD = 0  # in both
POSITION_SCALE_M = 0.1  # positions are regressed in this unit,
CENTRE_M = (0.48, 0.0, 0.03)  # from the middle of the table, base frame


@dataclass(frozen=True)
class Layout:
    """How a model lays out its sequence."""

    first_number: int = 0  # tokens from the prompt's last to where the first number is named
    pool: int = 1  # patches along a side that share a token
    tokens_are_patches: bool = True  # otherwise no token can be pointed at


class WordPointing(nn.Module):
    """Which words of a prompt name which classes of things, and the losses on their attention."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        class_names: tuple[str, ...],
        layers: int,
        hidden_size: int,
    ) -> None:
        super().__init__()
        self.layer = min(POINTING_LAYER, layers - 1)
        self.routing_layer = min(ROUTING_LAYER, layers - 1)
        self.position = nn.Linear(hidden_size, 3)
        texts = [tokenizer.decode([token]).strip() for token in range(len(tokenizer))]
        # (vocabulary, classes): whether the token is a word of the class's name
        self._names = np.array(
            [[text != "" and text in name.split() for name in class_names] for text in texts]
        )

    def named_classes(
        self, token_ids: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(b, n) token ids -> what each token names, (b, n, classes), mostly nothing; and whether
        it ends a full name, (b, n).

        A colour names everything of that colour; a shape behind a colour only what is both.
        """
        known = np.minimum(token_ids, len(self._names) - 1)
        names = self._names[known] & (token_ids < len(self._names))[..., None]
        before = np.zeros_like(names)
        before[:, 1:] = names[:, :-1]
        both = names & before
        ends = both.any(-1)
        return np.where(ends[..., None], both, names), ends

    def losses(
        self,
        attentions: tuple[Tensor, ...],
        hidden_states: tuple[Tensor, ...],
        batch: Batch,
        patches: PatchLabels,
        layout: Layout = Layout(),  # noqa: B008 (frozen)
    ) -> dict[str, Tensor]:
        """The three losses, by name; without the first where tokens are no patches.

        `attentions`: per layer (b, heads, n, n) over the spliced sequence; `hidden_states`: before
        the first layer and after each, (b, n, hidden).
        """
        ids = batch.input_ids.cpu().numpy()
        in_prompt = np.arange(ids.shape[1]) <= batch.last_prompt.cpu().numpy()[:, None]
        classes, ends = self.named_classes(ids)
        classes, ends = classes & in_prompt[..., None], ends & in_prompt
        # Tokens may be dropped on the way: what stands before the prompt becomes shorter.
        placed, routed = hidden_states[self.layer + 1], attentions[self.routing_layer]
        pointed = attentions[self.layer]
        losses = {
            "placing": self._placing(
                placed, classes, ends, placed.shape[1] - ids.shape[1], batch, patches
            ),
            "routing": self._routing(
                routed, ends, routed.shape[-1] - ids.shape[1], batch, layout.first_number
            ),
        }
        if layout.tokens_are_patches:
            losses["pointing"] = self._pointing(
                pointed, classes, pointed.shape[-1] - ids.shape[1], batch, patches, layout.pool
            )
        return losses

    def _pointing(
        self,
        attention: Tensor,
        classes: NDArray[np.bool_],
        context: int,
        batch: Batch,
        patches: PatchLabels,
        pool: int,
    ) -> Tensor:
        """-log of the attention given to patches that show what a word names, averaged over words.

        Words that name nothing visible do not count.
        """
        rows, words = np.nonzero(classes.any(-1))
        index = patches.patch_items[batch.rows]  # (b, patches)
        shown = np.take_along_axis(patches.item_classes[batch.rows], np.maximum(index, 0), axis=1)
        # (words, patches): whether the patch shows what the word names
        mask = np.take_along_axis(classes[rows, words], shown[rows], axis=1) & (index[rows] >= 0)
        if pool > 1:  # a token shows what any of its patches shows
            side = round(mask.shape[1] ** 0.5)
            blocks = mask.reshape(len(mask), side // pool, pool, side // pool, pool)
            mask = blocks.any((2, 4)).reshape(len(mask), -1)
        attention = attention[:, POINTING_HEAD]  # (b, n, n)
        count = mask.shape[1]
        device = attention.device
        looked = attention[
            torch.as_tensor(rows, device=device), torch.as_tensor(words + context, device=device)
        ][:, 1 : 1 + count]
        given = (looked.float() * torch.as_tensor(mask, device=device)).sum(-1)
        visible = torch.as_tensor(mask.any(-1), device=device)
        return -(given.clamp(min=1e-6).log() * visible).sum() / visible.sum().clamp(min=1)

    def _placing(
        self,
        hidden: Tensor,
        classes: NDArray[np.bool_],
        ends: NDArray[np.bool_],
        context: int,
        batch: Batch,
        patches: PatchLabels,
    ) -> Tensor:
        """Mean error of the probe that reads a thing's position from its name, in its unit."""
        rows, words = np.nonzero(ends)
        item_classes = patches.item_classes[batch.rows][rows]  # (words, items)
        named = np.take_along_axis(classes[rows, words], np.maximum(item_classes, 0), axis=1)
        named &= item_classes >= 0
        positions = patches.item_positions[batch.rows][rows, named.argmax(1)]  # (words, 3)
        there = named.any(1)
        device = hidden.device
        read = self.position(
            hidden[
                torch.as_tensor(rows, device=device),
                torch.as_tensor(words + context, device=device),
            ]
        ).float()
        wanted = (positions - np.array(CENTRE_M)) / POSITION_SCALE_M
        error = (read - torch.as_tensor(wanted, dtype=torch.float32, device=device)).abs().mean(1)
        weight = torch.as_tensor(there, dtype=torch.float32, device=device)
        return (error * weight).sum() / weight.sum().clamp(min=1)

    def _routing(
        self,
        attention: Tensor,
        ends: NDArray[np.bool_],
        context: int,
        batch: Batch,
        offset: int,
    ) -> Tensor:
        """-log of the attention that naming numbers gives the names they are about.

        The first two numbers (the target's place) are about the first name, the next two (where it
        should go) about the last.
        """
        length = ends.shape[1]
        first, last = ends.argmax(1), length - 1 - ends[:, ::-1].argmax(1)  # (b,)
        names = np.stack([first, first, last, last], axis=1) + context  # (b, 4)
        device = attention.device
        first_number = batch.last_prompt[:, None] + context + offset
        where = first_number + torch.arange(4, device=device)  # (b, 4)
        rows = torch.arange(len(ends), device=device)[:, None]
        given = attention[:, POINTING_HEAD][rows, where, torch.as_tensor(names, device=device)]
        has_name = torch.as_tensor(ends.any(1), device=device)[:, None].expand_as(given)
        return -(given.float().clamp(min=1e-6).log() * has_name).sum() / has_name.sum().clamp(min=1)
