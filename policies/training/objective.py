"""What is minimised: naming numbers, and (with views) seeing what is where."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from policies.openvla.connectors import MixtureOfExperts
from policies.openvla.model import OpenVLA, patch_features
from policies.training.batches import Batch, BatchMaker
from policies.training.examples import Examples
from policies.training.losses import l1_loss, number_loss, original_loss, siglip_loss
from policies.training.pointing import (
    CENTRE_M,
    POINTING_LAYER,
    POSITION_SCALE_M,
    Layout,
    WordPointing,
)

SIGMA_BINS = 2.0  # width of the soft labels
TEXT_WIDTH = 128
IMBALANCE_WEIGHT = 0.01  # Switch Transformer's
L1_WEIGHT = 10.0  # of regressed numbers, beside the other losses


class SeeingHeads(nn.Module):
    """Heads that only pretraining needs: class and position per patch, image-text contrast."""

    def __init__(self, model: OpenVLA, class_count: int, vocab_size: int) -> None:
        super().__init__()
        width = model.vision_backbone.embed_dim
        siglip_width = model.vision_backbone.fused_featurizer.embed_dim
        self.patch_class = nn.Linear(width, class_count + 1)  # the last class: nothing
        self.patch_position = nn.Linear(width, 3)
        self.text = nn.EmbeddingBag(vocab_size, TEXT_WIDTH, mode="mean", padding_idx=0)
        self.text_head = nn.Sequential(
            nn.Linear(TEXT_WIDTH, TEXT_WIDTH), nn.GELU(), nn.Linear(TEXT_WIDTH, siglip_width)
        )
        self.scale = nn.Parameter(torch.tensor(float(np.log(10.0))))
        self.bias = nn.Parameter(torch.tensor(-5.0))


class Learner(nn.Module):
    """A model with its objective over one or several sets of examples."""

    def __init__(
        self,
        model: OpenVLA,
        maker: BatchMaker,
        tokenizer: PreTrainedTokenizerFast,
        heads: SeeingHeads | None = None,
        class_names: tuple[str, ...] = (),
        sigma_bins: float = SIGMA_BINS,
    ) -> None:
        super().__init__()
        text_config = maker.config.text_config
        self.pointing = (
            WordPointing(
                tokenizer,
                class_names,
                int(text_config["num_hidden_layers"]),
                int(text_config["hidden_size"]),
            )
            if class_names
            else None
        )
        self.model = model
        self.heads = heads
        self.maker = maker
        self.sigma_bins = sigma_bins
        self._tokenizer = tokenizer
        self._captions: dict[str, list[int]] = {}

    def loss(self, examples: Examples, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The total and its parts."""
        model = self.model
        backbone = model.vision_backbone
        first, second = batch.pixel_values.split(3, dim=1)
        siglip_features = patch_features(backbone.fused_featurizer, second)
        features = torch.cat([patch_features(backbone.featurizer, first), siglip_features], dim=2)
        patches = examples.patches
        batch = self._with_own_names(features, batch)
        outputs, attentions, hidden = self._outputs(features, batch, patches is not None)
        if self.maker.end_token:
            total = original_loss(outputs, batch.values, self.maker.action_tokenizer)
            return total, {"action": total.item()}
        if model.chunk_head is None:
            tokenizer = self.maker.action_tokenizer
            per_number = number_loss(outputs, batch.values, tokenizer, self.sigma_bins)
        else:
            per_number = L1_WEIGHT * l1_loss(outputs, batch.values)
        grounded = self.maker.config.grounded_numbers
        known = ~torch.isnan(batch.values[:, grounded:]).all(0)  # views know no later actions
        total = per_number[grounded:][known].mean()
        figures = {"action": total.item()}
        if grounded:
            total = total + per_number[:grounded].mean()
            figures["grounding"] = per_number[:grounded].mean().item()
        if patches is not None and self.pointing is not None:
            shown = self.pointing.losses(attentions, hidden, batch, patches, self._layout())
            total = total + torch.stack(list(shown.values())).sum()
            figures |= {name: value.item() for name, value in shown.items()}
        experts = [part for part in model.projector.modules() if isinstance(part, MixtureOfExperts)]
        for part in experts:  # else a few experts take all tokens
            total = total + IMBALANCE_WEIGHT * part.imbalance
            figures["imbalance"] = part.imbalance.item()
        if patches is not None and self.heads is not None:
            rows = batch.rows[:: batch.instructions_per_image]
            seeing, parts = self._seeing_loss(examples, rows, features, siglip_features)
            total = total + seeing
            figures |= parts
        return total, figures

    def _outputs(
        self, features: Tensor, batch: Batch, with_attention: bool = False
    ) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """(b, numbers, vocabulary) logits at the positions that name numbers (and the end, where
        there is an end token); of a model with a chunk head the numbers themselves, (b, numbers) in
        [-1, 1].

        With `with_attention` (which needs "eager") also every layer's attention, (b, heads, n, n),
        and the hidden states before the first layer and after each, (b, n, hidden).
        """
        model = self.model
        features = features.repeat_interleave(batch.instructions_per_image, dim=0)
        context = model.append_state(
            model.projector(features), batch.states if model.proprio_projector else None
        )
        if model.chunk_head is not None:
            numbers, output = model.slot_outputs(
                context, batch.input_ids, batch.last_prompt + 1, with_attention, with_attention
            )
            return numbers, output.attentions or (), output.hidden_states or ()
        output = model.language_model.model(
            inputs_embeds=model.splice(context, batch.input_ids),
            use_cache=False,
            output_attentions=with_attention,
            output_hidden_states=with_attention,
        )
        hidden = output.last_hidden_state
        count = self.maker.numbers + int(self.maker.end_token)
        offsets = torch.arange(count, device=hidden.device)
        where = batch.last_prompt[:, None] + context.shape[1] + offsets  # (b, numbers)
        rows = torch.arange(len(hidden), device=hidden.device)[:, None]
        logits = model.language_model.lm_head(hidden[rows, where])
        return logits, output.attentions or (), output.hidden_states or ()

    def _layout(self) -> Layout:
        config = self.maker.config
        connector, drop = config.connector, config.pyramid_drop
        resampled = connector is not None and not connector.tokens_are_patches
        dropped_before = min(drop.layers) if drop else POINTING_LAYER + 1
        return Layout(
            first_number=int(config.chunk is not None),
            pool=connector.pool if connector else 1,
            tokens_are_patches=not resampled and dropped_before > POINTING_LAYER,
        )

    @torch.no_grad()
    def _with_own_names(self, features: Tensor, batch: Batch) -> Batch:
        """Where nobody knows what should be named before the action, let the model name it.

        A robot's dataset does not say where things were. At run time the model reads its own
        naming, so that is what must stand before the action here too.
        """
        grounded = self.maker.config.grounded_numbers
        unknown = torch.isnan(batch.values[:, :grounded]).all(1)  # (b,)
        if not grounded or self.model.chunk_head is not None or not unknown.any():
            return batch
        tokenizer = self.maker.action_tokenizer
        ids = batch.input_ids.clone()
        rows = torch.nonzero(unknown)[:, 0]
        for index in range(grounded):
            logits = self._outputs(features, replace(batch, input_ids=ids))[0][rows, index]
            of_numbers = logits[:, tokenizer.first_id : tokenizer.vocab_size]
            ids[rows, batch.last_prompt[rows] + 1 + index] = tokenizer.first_id + of_numbers.argmax(
                -1
            )
        return replace(batch, input_ids=ids)

    @torch.no_grad()
    def numbers(self, features: Tensor, batch: Batch) -> NDArray[np.float64]:
        """(b, numbers) in [-1, 1]: the model's choice of each, those before it given."""
        batch = self._with_own_names(features, batch)
        outputs = self._outputs(features, batch)[0].float()
        if self.model.chunk_head is not None:
            return outputs.clamp(-1.0, 1.0).cpu().numpy().astype(np.float64)
        outputs = outputs[:, : self.maker.numbers]
        tokenizer = self.maker.action_tokenizer
        first = tokenizer.first_id
        chosen = outputs[..., first : tokenizer.vocab_size].argmax(-1).cpu().numpy() + first
        return tokenizer.decode(chosen)

    def _seeing_loss(
        self, examples: Examples, rows: NDArray, features: Tensor, siglip_features: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        patches, heads = examples.patches, self.heads
        assert patches is not None and heads is not None
        device = features.device
        index = patches.patch_items[rows]  # (b, patches)
        seen = index >= 0
        lookup = np.where(seen, index, 0)
        classes = np.take_along_axis(patches.item_classes[rows], lookup, axis=1)
        classes = np.where(seen, classes, patches.class_count)
        positions = np.take_along_axis(patches.item_positions[rows], lookup[..., None], axis=1)
        class_logits = heads.patch_class(features).float()
        weight = torch.ones(patches.class_count + 1, device=device)
        weight[-1] = 0.1  # most patches show nothing
        class_loss = F.cross_entropy(
            class_logits.flatten(0, 1), torch.as_tensor(classes, device=device).flatten(), weight
        )
        mask = torch.as_tensor(seen, device=device)
        wanted = torch.as_tensor(positions - np.array(CENTRE_M), dtype=torch.float32, device=device)
        error = (heads.patch_position(features).float() - wanted / POSITION_SCALE_M)[mask].abs()
        position_loss = error.mean()
        contrast = self._contrast([patches.captions[row] for row in rows], siglip_features)
        hit = (
            class_logits.argmax(-1)[mask] == torch.as_tensor(classes, device=device)[mask]
        ).float()
        return class_loss + position_loss + 0.1 * contrast, {
            "patch_accuracy": hit.mean().item(),
            "patch_error_cm": position_loss.item() * POSITION_SCALE_M * 100.0,
            "contrast": contrast.item(),
        }

    def _contrast(self, captions: list[str], siglip_features: Tensor) -> Tensor:
        tower, heads = self.model.vision_backbone.fused_featurizer, self.heads
        assert heads is not None
        pooled = tower.attn_pool(tower.norm(tower.blocks[-1](siglip_features)))
        ids = [self._caption(text) for text in captions]
        longest = max(len(sequence) for sequence in ids)
        padded = torch.zeros(len(ids), longest, dtype=torch.int64, device=pooled.device)
        for row, sequence in enumerate(ids):
            padded[row, : len(sequence)] = torch.tensor(sequence)
        texts = heads.text_head(heads.text(padded))
        return siglip_loss(pooled.float(), texts.float(), heads.scale, heads.bias)

    def _caption(self, text: str) -> list[int]:
        if text not in self._captions:
            self._captions[text] = self._tokenizer.encode(" " + text, add_special_tokens=False)
        return self._captions[text]


@torch.no_grad()
def bin_errors(
    learner: Learner, examples: Examples, rows: NDArray, constant: NDArray
) -> tuple[NDArray, NDArray]:
    """Mean distance in bins per number, (numbers,), of the model and of a constant.

    `constant` (numbers,): the training set's median of every number, in [-1, 1]. While the two are
    equal the model is blind, whatever its loss. Teacher forcing; greedy choice among the numbers.
    Of a chunk the later actions follow the first.
    """
    maker = learner.maker
    width = 2.0 / (maker.action_tokenizer.bins - 1)  # of a bin
    errors, constant_errors, counts = (np.zeros(maker.numbers) for _ in range(3))
    rng = np.random.default_rng(0)
    for start in range(0, len(rows), 64):
        batch = maker.make(examples, rows[start : start + 64], rng, augment=False)
        chosen = learner.numbers(learner.model.vision_backbone(batch.pixel_values), batch)
        truth = np.clip(batch.values.cpu().numpy(), -1.0, 1.0)
        known = ~np.isnan(truth)
        errors += np.where(known, np.abs(chosen - truth), 0.0).sum(0) / width
        constant_errors += np.where(known, np.abs(constant - truth), 0.0).sum(0) / width
        counts += known.sum(0)
    return errors / np.maximum(counts, 1), constant_errors / np.maximum(counts, 1)
