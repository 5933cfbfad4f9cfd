"""Training on demonstrations, from a pretrained checkpoint or from random weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from policies.openvla.checkpoint import load_model, save_checkpoint
from policies.openvla.config import ConnectorConfig, DropConfig
from policies.openvla.model import OpenVLA
from policies.openvla.statistics import ActionStatistics
from policies.openvla.text import load_tokenizer
from policies.training.batches import BatchMaker
from policies.training.demonstrations import Demonstrations, join
from policies.training.examples import Examples
from policies.training.features import DatasetError
from policies.training.initial import (
    add_chunk_head,
    exchange_connector,
    fit_tokenizer,
    fresh_model,
    mini_config,
    words_of,
)
from policies.training.loop import Loop, LoopConfig, use_plain_attention
from policies.training.objective import Learner
from policies.training.processes import rank
from policies.training.validation import Validation, validator


@dataclass(frozen=True)
class TrainConfig:
    """Beyond the loop's settings."""

    validation_share: float = 0.05  # of each dataset's episodes, the last ones
    views_share: float = 0.6  # of the steps, when views are given
    instructions_per_view: int = 2  # sequences per image of the views
    dataset_name: str = "vla_ros_sim"  # the statistics' key
    connector: ConnectorConfig | None = None  # exchange the model's for a fresh one of this kind
    pyramid_drop: DropConfig | None = None  # drop image tokens between layers from now on
    chunk_length: int | None = None  # give the model a head for so many actions at once


def split_demonstrations(
    datasets: Sequence[Demonstrations], validation_share: float
) -> tuple[Examples, Examples]:
    """(training, validation); the last episodes of every dataset validate."""
    training, validation = [], []
    for dataset in datasets:
        episodes = len(dataset.episode_starts)
        if episodes < 2:
            raise DatasetError(f"dataset: expected at least 2 episodes, got {episodes}")
        held_out = max(1, int(round(episodes * validation_share)))
        cut = int(dataset.episode_starts[episodes - held_out])
        training.append(dataset.examples.rows(slice(0, cut)))
        validation.append(dataset.examples.rows(slice(cut, None)))
    return join(training), join(validation)


def frame_rate_hz(datasets: Sequence[Demonstrations]) -> float:
    """The one that all datasets have; raises `DatasetError` when they differ."""
    rates = sorted({dataset.rate_hz for dataset in datasets})
    if len(rates) != 1:
        raise DatasetError(f"datasets: expected one frame rate, got {rates}")
    return rates[0]


def train(
    datasets: Sequence[Demonstrations],
    output: Path,
    loop_config: LoopConfig,
    device: torch.device,
    report: Callable[[int, dict[str, float]], None],
    on_validation: Callable[[int, Validation], None],
    initial: Path | None = None,
    views: Examples | None = None,
    config: TrainConfig = TrainConfig(),  # noqa: B008 (frozen)
) -> None:
    """Train on demonstrations and write a checkpoint folder; resumes what was begun in `output`.

    `initial`: the checkpoint to begin from; its statistics and tokenizer are kept. `views`:
    labelled views mixed in, so that what pretraining taught is not forgotten.
    """
    rate_hz = frame_rate_hz(datasets)
    training, validation = split_demonstrations(datasets, config.validation_share)
    model, tokenizer = starting_model(training, initial, config, loop_config.seed)
    model.config = replace(model.config, rate_hz=rate_hz)
    model = model.to(device)
    use_plain_attention(model, device)
    statistics = ActionStatistics.from_norm_stats(model.config.norm_stats, None)
    maker = BatchMaker(model.config, tokenizer, statistics, device)
    names = views.patches.class_names if views is not None and views.patches else ()
    learner = Learner(model, maker, tokenizer, class_names=names).to(device)

    def loss(rng: np.random.Generator):
        examples, each = training, 1
        # Drawn alike in all processes: they must train the same parameters.
        turn = np.random.default_rng((loop_config.seed, loop.step)).uniform()
        if views is not None and turn < config.views_share:
            examples, each = views, config.instructions_per_view
        rows = rng.integers(len(examples), size=max(1, loop.rows_per_step // each))
        batch = maker.make(examples, rows, rng, instructions_per_image=each)
        return learner.loss(examples, batch)

    loop = Loop(learner, loss, loop_config, output, device)
    loop.resume()
    loop.run(report, validator(learner, maker, training, validation, on_validation))
    if rank() == 0:
        save_checkpoint(output, model, model.config, tokenizer, torch.bfloat16)


def starting_model(
    training: Examples, initial: Path | None, config: TrainConfig, seed: int
) -> tuple[OpenVLA, PreTrainedTokenizerFast]:
    """A fresh model fitted to the examples, or that of `initial`, with the parts asked for."""
    texts = [text for row in training.instructions for text in row]
    if initial is None:
        tokenizer = fit_tokenizer(texts)
        model = fresh_model(mini_config(training, config.dataset_name), seed)
    else:
        tokenizer = load_tokenizer(initial)
        model = load_model(initial)
        known = model.config.instruction_words
        if known is not None:
            words = tuple(sorted({*known, *words_of(texts)}))
            model.config = replace(model.config, instruction_words=words)
    if config.connector is not None:
        model = exchange_connector(model, config.connector, seed)
    if config.chunk_length is not None:
        model = add_chunk_head(model, config.chunk_length, seed)
    if config.pyramid_drop is not None:
        model.config = replace(model.config, pyramid_drop=config.pyramid_drop)
    return model, tokenizer
