"""Pretraining on labelled views: see what is where, bind the named thing, name the action.

Trains a fresh model on everything simulation can label: class and position per patch, contrast of
images with captions, the named things' positions and the expert's action for instructions that fit
the view. `policies.training.train` goes on from it with demonstrations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from policies.openvla.checkpoint import save_checkpoint
from policies.openvla.config import ConnectorConfig
from policies.openvla.state import state_vector
from policies.openvla.statistics import ActionStatistics
from policies.training.batches import BatchMaker
from policies.training.examples import Examples, PatchLabels
from policies.training.initial import fit_tokenizer, fresh_model, mini_config
from policies.training.loop import Loop, LoopConfig, use_plain_attention
from policies.training.objective import Learner, SeeingHeads
from policies.training.processes import rank
from policies.training.validation import Validation, validator

VALIDATION_VIEWS = 600


def views_as_examples(
    views: Mapping[str, NDArray], class_names: tuple[str, ...]
) -> tuple[Examples, Examples]:
    """(training, validation) from the arrays of `sim.views.load_views`; the last views validate."""
    count = len(views["image"])
    if count <= VALIDATION_VIEWS:
        raise ValueError(f"views: expected more than {VALIDATION_VIEWS}, got {count}")
    cut = count - VALIDATION_VIEWS
    states = state_vector(views["ee_position"], views["ee_quaternion"], views["gripper_opening"])
    target_items = nearest_items(views["targets"], views["item_positions"], views["item_classes"])
    grounding = np.concatenate([views["targets"][..., :2], views["goals"][..., :2]], axis=-1)
    parts = []
    for rows in (slice(0, cut), slice(cut, None)):
        parts.append(
            Examples(
                images=views["image"][rows],
                states=states[rows].astype(np.float32),
                instructions=[[str(text) for text in row] for row in views["instructions"][rows]],
                grounding=grounding[rows].astype(np.float32),
                actions=views["actions"][rows].astype(np.float32),
                later_actions=views["later_actions"][rows].astype(np.float32),
                patches=PatchLabels(
                    item_classes=views["item_classes"][rows],
                    item_positions=views["item_positions"][rows].astype(np.float32),
                    patch_items=views["patch_items"][rows],
                    target_items=target_items[rows],
                    captions=[str(text) for text in views["caption"][rows]],
                    class_names=class_names,
                ),
            )
        )
    return parts[0], parts[1]


def nearest_items(targets: NDArray, positions: NDArray, classes: NDArray) -> NDArray[np.int64]:
    """(n, m, 3) targets, (n, items, 3) positions, (n, items) classes -> (n, m) item indices."""
    distances = np.linalg.norm(targets[:, :, None] - positions[:, None], axis=-1)
    return np.where(classes[:, None] >= 0, distances, np.inf).argmin(-1)


def pretrain(
    training: Examples,
    validation: Examples,
    output: Path,
    config: LoopConfig,
    device: torch.device,
    report: Callable[[int, dict[str, float]], None],
    on_validation: Callable[[int, Validation], None],
    dataset_name: str = "vla_ros_sim",
    connector: ConnectorConfig | None = None,
) -> None:
    """Train a fresh `openvla-mini` on views and write it to `output`; resumes what was begun."""
    texts = sorted({text for row in training.instructions for text in row})
    captions = training.patches.captions[:2000] if training.patches else []
    tokenizer = fit_tokenizer([*texts, *captions])
    model_config = mini_config(training, dataset_name, connector)
    statistics = ActionStatistics.from_norm_stats(model_config.norm_stats, dataset_name)
    model = fresh_model(model_config, config.seed).to(device)
    use_plain_attention(model, device)
    maker = BatchMaker(model_config, tokenizer, statistics, device)
    assert training.patches is not None
    heads = SeeingHeads(model, training.patches.class_count, len(tokenizer)).to(device)
    names = training.patches.class_names
    learner = Learner(model, maker, tokenizer, heads, names).to(device)

    def loss(rng: np.random.Generator):
        rows = rng.integers(len(training), size=loop.rows_per_step)
        return learner.loss(training, maker.make(training, rows, rng))

    loop = Loop(learner, loss, config, output, device)
    loop.resume()
    loop.run(report, validator(learner, maker, training, validation, on_validation))
    if rank() == 0:
        save_checkpoint(output, model, model_config, tokenizer, torch.bfloat16)
