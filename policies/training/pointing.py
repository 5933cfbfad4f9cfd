"""Telling the decoder where to look while it reads a name.

Binding words to what is seen is what takes long to learn from actions: left alone, the model takes
whatever is nearest to the gripper, and stays there. So while it reads "green" one attention head is
to look at what is green, and at "cylinder" behind it at the green cylinder. This is a loss on the
words of the instruction; nothing changes at run time.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from policies.training.batches import Batch
from policies.training.examples import PatchLabels

POINTING_LAYER = 1  # the second: the first can already tell a word what stands before it
POINTING_HEAD = 0


class WordPointing:
    """Which words of a prompt name which classes of things."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, class_names: tuple[str, ...], layers: int
    ) -> None:
        self.layer = min(POINTING_LAYER, layers - 1)
        texts = [tokenizer.decode([token]).strip() for token in range(len(tokenizer))]
        # (vocabulary, classes): whether the token is a word of the class's name
        self._names = np.array(
            [[text != "" and text in name.split() for name in class_names] for text in texts]
        )

    def named_classes(self, token_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(b, n) token ids -> (b, n, classes): what each token names; mostly nothing.

        A colour names everything of that colour; a shape behind a colour only what is both.
        """
        known = np.minimum(token_ids, len(self._names) - 1)
        names = self._names[known] & (token_ids < len(self._names))[..., None]
        before = np.zeros_like(names)
        before[:, 1:] = names[:, :-1]
        both = names & before
        return np.where(both.any(-1, keepdims=True), both, names)

    def loss(self, attentions: tuple[Tensor, ...], batch: Batch, patches: PatchLabels) -> Tensor:
        """-log of the attention given to patches that show what a word names, averaged over words.

        `attentions`: per layer (b, heads, n, n) over the spliced sequence. Words that name nothing
        visible do not count.
        """
        ids = batch.input_ids.cpu().numpy()
        in_prompt = np.arange(ids.shape[1]) <= batch.last_prompt.cpu().numpy()[:, None]
        classes = self.named_classes(ids) & in_prompt[..., None]
        rows, words = np.nonzero(classes.any(-1))
        index = patches.patch_items[batch.rows]  # (b, patches)
        shown = np.take_along_axis(patches.item_classes[batch.rows], np.maximum(index, 0), axis=1)
        # (words, patches): whether the patch shows what the word names
        mask = np.take_along_axis(classes[rows, words], shown[rows], axis=1) & (index[rows] >= 0)
        attention = attentions[self.layer][:, POINTING_HEAD]  # (b, n, n)
        count = index.shape[1]
        context = attention.shape[1] - ids.shape[1]
        device = attention.device
        looked = attention[
            torch.as_tensor(rows, device=device), torch.as_tensor(words + context, device=device)
        ][:, 1 : 1 + count]
        given = (looked.float() * torch.as_tensor(mask, device=device)).sum(-1)
        visible = torch.as_tensor(mask.any(-1), device=device)
        return -(given.clamp(min=1e-6).log() * visible).sum() / visible.sum().clamp(min=1)
