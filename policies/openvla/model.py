"""OpenVLA's network (arXiv 2406.09246) on current timm and transformers.

Two vision towers see the same image; the patch features of each tower's second-to-last block are
stacked on channels, projected by a connector (the original's: a three-layer MLP) and inserted
behind the language model's first token. Attribute names follow the original, so that its weights
load by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import timm
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.modeling_outputs import BaseModelOutputWithPast

from policies.openvla.attention import additive_mask, pad_prompts
from policies.openvla.chunk_head import ChunkHead, slot_attention, slot_positions
from policies.openvla.config import OpenVLAConfig
from policies.openvla.connectors import build_connector
from policies.openvla.pyramid_drop import LayerOutputs, run_dropping


class VisionBackbone(nn.Module):
    """DINOv2 (`featurizer`) and SigLIP (`fused_featurizer`), stacked on channels."""

    featurizer: Any  # timm's VisionTransformer
    fused_featurizer: Any

    def __init__(self, config: OpenVLAConfig) -> None:
        super().__init__()
        towers = config.vision_towers or ({},) * len(config.timm_model_ids)
        self.featurizer, self.fused_featurizer = (
            _tower(name, size, overrides)
            for name, size, overrides in zip(
                config.timm_model_ids, config.image_sizes, towers, strict=True
            )
        )
        self.embed_dim: int = self.featurizer.embed_dim + self.fused_featurizer.embed_dim

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(b, 6, h, w), three channels normalized for each tower -> (b, patches, embed_dim)."""
        first, second = pixel_values.split(3, dim=1)
        return torch.cat(
            [patch_features(self.featurizer, first), patch_features(self.fused_featurizer, second)],
            dim=2,
        )


def _tower(name: str, image_size_px: int, overrides: dict[str, Any]) -> nn.Module:
    """A timm vision transformer; `overrides` are its sizes and, as `timm_id`, its architecture."""
    sizes = {key: value for key, value in overrides.items() if key != "timm_id"}
    name = overrides.get("timm_id", name)
    return timm.create_model(name, pretrained=False, num_classes=0, img_size=image_size_px, **sizes)


def patch_features(tower: Any, images: Tensor) -> Tensor:
    """(b, patches, width): output of the second-to-last block, no final norm, no prefix tokens."""
    (features,) = tower.forward_intermediates(
        images,
        indices=[len(tower.blocks) - 2],
        stop_early=True,
        norm=False,
        output_fmt="NLC",
        intermediates_only=True,
    )
    return features


class ProprioProjector(nn.Module):
    """The robot's normalized state as one token (OpenVLA-OFT, arXiv 2502.19645)."""

    def __init__(self, state_dim: int, llm_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(state_dim, llm_dim)
        self.fc2 = nn.Linear(llm_dim, llm_dim)
        self.act = nn.GELU()

    def forward(self, state: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(state))).unsqueeze(1)  # (b, 1, llm_dim)


class OpenVLA(nn.Module):
    """Image, instruction and (optionally) state to next-token logits."""

    def __init__(self, config: OpenVLAConfig) -> None:
        super().__init__()
        self.config = config
        self.quantization: str | None = None  # see `policies.openvla.quantization`
        llm_config = LlamaConfig(**{**config.text_config, "torch_dtype": None})
        llm_config._attn_implementation = "sdpa"
        self.vision_backbone = VisionBackbone(config)
        self.projector = build_connector(
            config.connector, self.vision_backbone.embed_dim, llm_config.hidden_size
        )
        self.language_model = LlamaForCausalLM(llm_config)
        self.proprio_projector = (
            ProprioProjector(config.proprio.dim, llm_config.hidden_size) if config.proprio else None
        )
        self.chunk_head = (
            ChunkHead(
                config.grounded_numbers,
                config.chunk.length,
                config.chunk.blocks,
                llm_config.hidden_size,
                with_state=config.proprio is not None,
            )
            if config.chunk
            else None
        )

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, and of the pixels and states it takes."""
        return self.language_model.get_input_embeddings().weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.language_model.get_input_embeddings().weight.device

    def embed_context(self, pixel_values: Tensor, state: Tensor | None) -> Tensor:
        """(b, 6, h, w) and (b, n) -> (b, patches [+ 1], llm_dim), what stands behind BOS."""
        return self.append_state(self.projector(self.vision_backbone(pixel_values)), state)

    def append_state(self, projected: Tensor, state: Tensor | None) -> Tensor:
        """Add the state's token to projected patches, if this model has one."""
        if self.proprio_projector is None:
            return projected
        if state is None:
            raise ValueError("state: this model has a state token and expects a state, got none")
        token = self.proprio_projector(state.to(projected.dtype))
        return torch.cat([projected, token], dim=1)

    def splice(self, context: Tensor, input_ids: Tensor) -> Tensor:
        """Insert the context behind the first token: (b, 1 + context + rest, llm_dim)."""
        tokens = self.language_model.get_input_embeddings()(input_ids)
        return torch.cat([tokens[:, :1], context.to(tokens.dtype), tokens[:, 1:]], dim=1)

    def predict_numbers(self, context: Tensor, prompts: Sequence[Sequence[int]]) -> Tensor:
        """(b, c, llm_dim) and b prompts -> the chunk head's numbers (b, grounded + 7 k)."""
        if self.chunk_head is None:
            raise ValueError("chunk: this model has no chunk head; it decodes token by token")
        padded, lengths = pad_prompts(prompts, behind=len(self.chunk_head.slots))
        device = context.device
        return self.slot_outputs(context, padded.to(device), lengths.to(device))[0]

    def slot_outputs(
        self,
        context: Tensor,
        input_ids: Tensor,
        lengths: Tensor,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> tuple[Tensor, BaseModelOutputWithPast | LayerOutputs]:
        """One pass with the chunk head's slots behind each prompt.

        `input_ids` (b, n): prompts of `lengths` (b,), padded on the right by at least the count of
        slots. Returns the numbers (b, grounded + 7 k) in [-1, 1] and the language model's output.
        """
        if self.chunk_head is None:
            raise ValueError("chunk: this model has no chunk head; it decodes token by token")
        slots = self.chunk_head.slots
        embeddings = self.splice(context, input_ids)
        rows = torch.arange(len(embeddings), device=embeddings.device)[:, None]
        spliced = lengths + context.shape[1]
        places = slot_positions(spliced, len(slots))
        state_token = None if self.proprio_projector is None else context[:, -1]
        embeddings = embeddings.index_put((rows, places), slots.to(embeddings.dtype)[None])
        allowed = slot_attention(spliced, len(slots), embeddings.shape[1])
        drop = self.config.pyramid_drop
        if drop is not None:
            shorter = run_dropping(
                self.language_model.model,
                embeddings,
                allowed,
                context.shape[1] - (self.proprio_projector is not None),
                spliced - 1,
                dict.fromkeys(drop.layers, drop.keep),
            )
            places = places - (embeddings.shape[1] - shorter.last_hidden_state.shape[1])
            return self.chunk_head(shorter.last_hidden_state[rows, places], state_token), shorter
        output = self.language_model.model(
            inputs_embeds=embeddings,
            attention_mask=additive_mask(allowed, embeddings.dtype)[:, None],
            use_cache=False,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        return self.chunk_head(output.last_hidden_state[rows, places], state_token), output

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, state: Tensor | None = None
    ) -> Tensor:
        """Final hidden states (b, 1 + context + tokens - 1, llm_dim).

        Sequences are padded on the right; attention is causal, so padding reaches no real token
        and needs no mask. Apply `language_model.lm_head` where logits are wanted.
        """
        embeddings = self.splice(self.embed_context(pixel_values, state), input_ids)
        return self.language_model.model(
            inputs_embeds=embeddings, use_cache=False
        ).last_hidden_state
