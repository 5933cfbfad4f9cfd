"""From patch features to the language model's tokens: several published ways, one interface.

| type | source | tokens |
|---|---|---|
| openvla | OpenVLA's three-layer fused MLP (arXiv 2406.09246) | one a patch |
| linear | LLaVA (arXiv 2304.08485) | one a patch |
| mlp | LLaVA-1.5's two layers (arXiv 2310.03744) | one a patch |
| qformer | BLIP-2's querying transformer (arXiv 2301.12597) | `queries` |
| perceiver | Flamingo's Perceiver resampler (arXiv 2204.14198) | `queries` |
| moe | ChartMoE's mixture of experts, top-k of some MLPs (arXiv 2409.03277) | one a patch |

`pool` 2 joins 2 x 2 neighbouring patches on channels first (NVILA's spatial-to-channel compression,
arXiv 2412.04468): a quarter of the tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.openvla.config import ConnectorConfig


class Projector(nn.Module):
    """The original's fused projector: up to four times the width, then to the language model's."""

    def __init__(self, vision_dim: int, llm_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(vision_dim, 4 * vision_dim)
        self.fc2 = nn.Linear(4 * vision_dim, llm_dim)
        self.fc3 = nn.Linear(llm_dim, llm_dim)
        self.act = nn.GELU()

    def forward(self, features: Tensor) -> Tensor:
        return self.fc3(self.act(self.fc2(self.act(self.fc1(features)))))


class MLP(nn.Module):
    """Two layers with a GELU between."""

    def __init__(self, vision_dim: int, llm_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(vision_dim, llm_dim)
        self.fc2 = nn.Linear(llm_dim, llm_dim)

    def forward(self, features: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(features)))


class MixtureOfExperts(nn.Module):
    """Every token goes through the `active` MLPs that a linear router scores highest for it."""

    def __init__(self, vision_dim: int, llm_dim: int, experts: int, active: int) -> None:
        super().__init__()
        self.router = nn.Linear(vision_dim, experts, bias=False)
        self.experts = nn.ModuleList(MLP(vision_dim, llm_dim) for _ in range(experts))
        self.active = active
        self.imbalance = torch.zeros(())  # of the last call, a loss to add while training

    def forward(self, features: Tensor) -> Tensor:
        scores = self.router(features).float().softmax(-1)  # (b, n, experts)
        best, chosen = scores.topk(self.active, dim=-1)
        gates = torch.zeros_like(scores).scatter(-1, chosen, best / best.sum(-1, keepdim=True))
        # Few small experts: computing all of them costs less than moving tokens around.
        outputs = torch.stack([expert(features) for expert in self.experts], dim=-1)
        # Switch Transformer's balance loss (arXiv 2101.03961, eq. 4): 1 when all share alike.
        share = (gates > 0).float().mean((0, 1)) / self.active
        self.imbalance = len(self.experts) * (share * scores.mean((0, 1))).sum()
        return (outputs * gates[..., None, :].to(outputs.dtype)).sum(-1)


class QFormer(nn.Module):
    """Learned queries that look at the patches (transformers' BLIP-2 module)."""

    def __init__(self, vision_dim: int, llm_dim: int, config: ConnectorConfig) -> None:
        super().__init__()
        from transformers import Blip2QFormerConfig, Blip2QFormerModel

        self.queries = nn.Parameter(0.02 * torch.randn(config.queries, llm_dim))
        self.model = Blip2QFormerModel(
            Blip2QFormerConfig(
                hidden_size=llm_dim,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                intermediate_size=4 * llm_dim,
                encoder_hidden_size=vision_dim,
                cross_attention_frequency=1,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
            )
        )
        self.out = nn.Linear(llm_dim, llm_dim)

    def forward(self, features: Tensor) -> Tensor:
        queries = self.queries.expand(len(features), -1, -1)
        found = self.model(query_embeds=queries, encoder_hidden_states=features)
        return self.out(found.last_hidden_state)


class Perceiver(nn.Module):
    """Learned latents that look at the patches and themselves (transformers' IDEFICS module)."""

    def __init__(self, vision_dim: int, llm_dim: int, config: ConnectorConfig) -> None:
        super().__init__()
        from transformers.models.idefics.configuration_idefics import IdeficsConfig
        from transformers.models.idefics.perceiver import IdeficsPerceiverResampler

        sizes = IdeficsConfig(vision_config={"embed_dim": llm_dim})
        self.fc_in = nn.Linear(vision_dim, llm_dim)
        self.resampler = IdeficsPerceiverResampler(
            sizes, llm_dim, config.layers, config.heads, llm_dim // config.heads, config.queries
        )
        self.fc_out = nn.Linear(llm_dim, llm_dim)

    def forward(self, features: Tensor) -> Tensor:
        return self.fc_out(self.resampler(self.fc_in(features)))


class Pooled(nn.Module):
    """Joins neighbouring patches on channels before another connector."""

    def __init__(self, pool: int, connector: nn.Module) -> None:
        super().__init__()
        self.pool = pool
        self.connector = connector

    def forward(self, features: Tensor) -> Tensor:
        return self.connector(space_to_channel(features, self.pool))


def space_to_channel(features: Tensor, pool: int) -> Tensor:
    """(b, s^2, d) -> (b, (s / pool)^2, pool^2 d), the patches of a square image row by row."""
    rows, count, width = features.shape
    side = round(count**0.5)
    if side * side != count or side % pool:
        raise ValueError(
            f"pool: expected a square of patches whose side is a multiple of {pool}, got {count}"
        )
    blocks = features.view(rows, side // pool, pool, side // pool, pool, width)
    return blocks.transpose(2, 3).reshape(rows, (side // pool) ** 2, pool * pool * width)


def build_connector(config: ConnectorConfig | None, vision_dim: int, llm_dim: int) -> nn.Module:
    """The connector of a checkpoint: (b, patches, vision_dim) -> (b, tokens, llm_dim)."""
    if config is None:
        return Projector(vision_dim, llm_dim)
    inner_dim = vision_dim * config.pool**2
    makers = {
        "openvla": lambda: Projector(inner_dim, llm_dim),
        "linear": lambda: nn.Linear(inner_dim, llm_dim),
        "mlp": lambda: MLP(inner_dim, llm_dim),
        "moe": lambda: MixtureOfExperts(inner_dim, llm_dim, config.experts, config.active_experts),
        "qformer": lambda: QFormer(inner_dim, llm_dim, config),
        "perceiver": lambda: Perceiver(inner_dim, llm_dim, config),
    }
    connector = makers[config.type]()
    return connector if config.pool == 1 else Pooled(config.pool, connector)
