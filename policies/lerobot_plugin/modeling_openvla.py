"""OpenVLA as LeRobot's `PreTrainedPolicy`: its loss for `lerobot-train`, its actions for
`lerobot-eval`. Network, loss and decoding are those of `policies.openvla` and `policies.training`.
"""

from __future__ import annotations

import copy
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor

from policies.interface import ACTION_DIM
from policies.lerobot_plugin.configuration_openvla import OpenVLALeRobotConfig
from policies.lerobot_plugin.convert import Batch, to_examples, to_observations
from policies.lerobot_plugin.initial import Parts, from_checkpoint, from_dataset, unforeseen
from policies.openvla.checkpoint import load_model, save_checkpoint
from policies.openvla.config import CheckpointError, OpenVLAConfig
from policies.openvla.policy import OpenVLAPolicy
from policies.openvla.statistics import ActionStatistics
from policies.openvla.text import load_tokenizer
from policies.training.batches import BatchMaker
from policies.training.loop import use_plain_attention
from policies.training.objective import Learner


class OpenVLALeRobotPolicy(PreTrainedPolicy):
    """The type `openvla`. A saved folder opens in LeRobot and in `policies.factory.load_policy`."""

    config_class = OpenVLALeRobotConfig
    name = "openvla"
    config: OpenVLALeRobotConfig

    def __init__(
        self,
        config: OpenVLALeRobotConfig,
        dataset_stats: dict | None = None,
        dataset_meta: Any = None,
        parts: Parts | None = None,
        **_: Any,
    ) -> None:
        """`parts`: network and tokenizer; without them, those of `config.checkpoint`, or new ones
        for the dataset. `dataset_stats` are LeRobot's and not used: the network has its own.
        """
        super().__init__(config)
        if parts is None and config.checkpoint:
            parts = from_checkpoint(config.checkpoint, dataset_meta)
        elif parts is None and dataset_meta is not None:
            parts = from_dataset(dataset_meta, config.camera)
        elif parts is None:
            raise CheckpointError(
                "openvla: expected --policy.path, --policy.checkpoint or a dataset to begin with"
            )
        self.model, self.tokenizer = parts
        self.model.config = with_one_statistics(self.model.config, config.unnorm_key)
        config.openvla = self.model.config.to_dict()
        config.camera = self.model.config.camera
        config.validate_features()
        self._queue: deque[Tensor] = deque()
        self._actor: tuple[torch.device, OpenVLAPolicy] | None = None
        self._learner: list[Learner] = []  # a list: its parameters are those of `model`
        self._unforeseen = None  # (n, k): which actions of a dataset's chunks are no labels
        if dataset_meta is not None:
            self._unforeseen = unforeseen(dataset_meta, config.chunk_length)

    # --- training ---------------------------------------------------------------------------

    def train(self, mode: bool = True) -> OpenVLALeRobotPolicy:
        if mode:
            use_plain_attention(self.model, self._device)
        return super().train(mode)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Next-token loss over the numbers of a batch, and its parts.

        Cross-entropy of the tokens that name the action (before them, for models with grounding,
        where things are), teacher forcing; for chunk heads L1 over the chunk's numbers. Noise and
        augmentation follow torch's seed.
        """
        config = self.config
        model = self.model.config
        learner = self._objective()
        names = model.grounding.names if model.grounding else ()
        examples = to_examples(
            batch,
            config.image_key,
            model.image_sizes[0],
            names,
            config.with_state,
            self._unforeseen,
        )
        rng = np.random.default_rng(int(torch.randint(2**31, (1,))))
        rows = np.arange(len(examples))
        made = learner.maker.make(examples, rows, rng, augment=self.training and config.augment)
        return learner.loss(examples, made)

    def get_optim_params(self) -> list[dict[str, Any]]:
        """Matrices decay; norms, biases and embeddings do not."""
        decayed: list[Tensor] = []
        other: list[Tensor] = []
        for name, value in self.named_parameters():
            if value.requires_grad:
                (decayed if value.ndim >= 2 and "embed" not in name else other).append(value)
        return [{"params": decayed}, {"params": other, "weight_decay": 0.0}]

    def _objective(self) -> Learner:
        if not self._learner or self._learner[0].maker.device != self._device:
            config = self.model.config
            maker = BatchMaker(
                config,
                self.tokenizer,
                ActionStatistics.from_norm_stats(config.norm_stats, None, ACTION_DIM),
                self._device,
            )
            learner = Learner(
                self.model, maker, self.tokenizer, sigma_bins=self.config.label_sigma_bins
            )
            self._learner = [learner]
        return self._learner[0]

    # --- acting -----------------------------------------------------------------------------

    def reset(self) -> None:
        self._queue.clear()
        self._act().reset()

    @torch.no_grad()
    def predict_action_chunk(self, batch: Batch, **_: Any) -> Tensor:
        """(b, k, 7): the next actions in every row."""
        self.eval()
        actor = self._act()
        config = self.config
        observations = to_observations(batch, config.camera, config.image_key, config.with_state)
        chunks = actor.predict_chunks(observations)
        actions = np.stack([chunk.actions for chunk in chunks])
        return torch.from_numpy(actions).float().to(self._device)

    @torch.no_grad()
    def select_action(self, batch: Batch, **_: Any) -> Tensor:
        """(b, 7): the next action; the network runs again when its last chunk is used up."""
        if not self._queue:
            self._queue.extend(self.predict_action_chunk(batch).unbind(1))
        return self._queue.popleft()

    def _act(self) -> OpenVLAPolicy:
        if self._actor is None or self._actor[0] != self._device:
            actor = OpenVLAPolicy.of(self.name, self.model, self.tokenizer, str(self._device))
            self._actor = (self._device, actor)
        return self._actor[1]

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    # --- files ------------------------------------------------------------------------------

    def _save_pretrained(
        self, save_directory: Path, state_dict: dict[str, Tensor] | None = None
    ) -> None:
        """OpenVLA's layout, with LeRobot's `config.json` around ours."""
        if state_dict is not None:
            raise CheckpointError(
                "openvla: a model that is spread over several GPUs (FSDP) cannot be saved; use DDP"
            )
        save_checkpoint(save_directory, self.model, self.model.config, self.tokenizer)
        config = copy.copy(self.config)
        config.checkpoint = None  # the folder stands for itself
        config.openvla = self.model.config.to_dict()
        config._save_pretrained(save_directory)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_name_or_path: str | Path,
        *,
        config: PreTrainedConfig | None = None,
        dataset_meta: Any = None,
        **_: Any,
    ) -> OpenVLALeRobotPolicy:
        """Open a folder that `lerobot-train` wrote, nothing else. Raises `CheckpointError`."""
        folder = Path(pretrained_name_or_path)
        if config is None:
            config = PreTrainedConfig.from_pretrained(folder)
        if not isinstance(config, OpenVLALeRobotConfig):
            raise CheckpointError(f"{folder}: type: expected openvla, got {config.type}")
        parts = (load_model(folder), load_tokenizer(folder))
        policy = cls(config, dataset_meta=dataset_meta, parts=parts)
        return policy.to(config.device).eval()


def with_one_statistics(config: OpenVLAConfig, unnorm_key: str | None) -> OpenVLAConfig:
    """Keep the statistics of one dataset, the only one without a key; a folder that is saved then
    needs none. Raises `CheckpointError` with the choices.
    """
    key = ActionStatistics.from_norm_stats(config.norm_stats, unnorm_key, ACTION_DIM).key
    return replace(config, norm_stats={key: config.norm_stats[key]})
