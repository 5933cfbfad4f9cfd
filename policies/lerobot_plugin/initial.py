"""Where a LeRobot run begins: a checkpoint in OpenVLA's layout, or a new model for a dataset."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import torch
from lerobot.utils.constants import ACTION, OBS_STATE
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from policies.factory import policy_folder
from policies.openvla.checkpoint import load_model
from policies.openvla.config import CheckpointError
from policies.openvla.model import OpenVLA
from policies.openvla.state import DATASET_STATE_NAMES, state_vector
from policies.openvla.text import load_tokenizer
from policies.training.demonstrations import EXECUTED, later_actions
from policies.training.examples import Examples
from policies.training.initial import fit_tokenizer, fresh_model, mini_config, words_of

Parts = tuple[OpenVLA, PreTrainedTokenizerFast]


def from_checkpoint(name_or_path: str, dataset_meta: Any = None) -> Parts:
    """A shipped policy's name or a folder; with a dataset, its words become known words.

    Statistics and tokenizer stay the checkpoint's. Raises `CheckpointError`.
    """
    folder = policy_folder(name_or_path)
    model = load_model(folder)
    if dataset_meta is not None:
        known = model.config.instruction_words
        if known is not None:
            words = {*known, *words_of(instructions(dataset_meta))}
            model.config = replace(model.config, instruction_words=tuple(sorted(words)))
        model.config = replace(model.config, rate_hz=float(dataset_meta.fps))
    return model, load_tokenizer(folder)


def from_dataset(dataset_meta: Any, camera: str) -> Parts:
    """A small model with random weights, its statistics and tokenizer fitted to a dataset.

    Weights are drawn from torch's present seed. Raises `CheckpointError` for a dataset whose state
    or action is not ours.
    """
    names = tuple(dataset_meta.features.get(OBS_STATE, {}).get("names") or ())
    if names != DATASET_STATE_NAMES:
        raise CheckpointError(
            f"{OBS_STATE}: expected {list(DATASET_STATE_NAMES)}, the dataset has {list(names)}"
        )
    actions, states = [], []
    for file in sorted((dataset_meta.root / "data").rglob("*.parquet")):
        table = pyarrow.parquet.read_table(file, columns=[OBS_STATE, ACTION])
        actions.append(np.stack(table[ACTION].to_numpy()))
        states.append(np.stack(table[OBS_STATE].to_numpy()))
    action, state = np.concatenate(actions), np.concatenate(states)
    texts = instructions(dataset_meta)
    examples = Examples(
        images=np.zeros((len(action), 1, 1, 3), np.uint8),
        states=state_vector(state[:, :3], state[:, 3:7], state[:, 7]).astype(np.float32),
        instructions=[texts] * len(action),
        grounding=np.zeros((len(action), 1, 4), np.float32),
        actions=action[:, None].astype(np.float32),
    )
    config = mini_config(examples, dataset_meta.repo_id.split("/")[-1])
    config = replace(
        config,
        camera=camera,
        rate_hz=float(dataset_meta.fps),
        instruction_words=words_of(texts),
    )
    return fresh_model(config, torch.initial_seed()), fit_tokenizer(texts)


def unforeseen(dataset_meta: Any, chunk_length: int) -> NDArray[np.bool_] | None:
    """(n, chunk_length): which of the actions from a frame on nobody could foresee there.

    Where the arm was told other things than its label (`executed_action`), what follows answers a
    disturbance: `vla-ros train` leaves it out of a chunk, and so does this. By the column `index`.
    None for a dataset that does not tell, or has none.
    """
    if EXECUTED not in dataset_meta.features or chunk_length == 1:
        return None
    tables = [
        pyarrow.parquet.read_table(file, columns=["index", "episode_index", ACTION, EXECUTED])
        for file in sorted((dataset_meta.root / "data").rglob("*.parquet"))
    ]
    table = pyarrow.concat_tables(tables).sort_by("index")
    action, executed = (np.stack(table[key].to_numpy()) for key in (ACTION, EXECUTED))
    followed = np.all(np.abs(executed - action) < 1e-6, axis=1)
    if followed.all():
        return None
    index, episode = (table[key].to_numpy() for key in ("index", "episode_index"))
    if not np.array_equal(index, np.arange(len(index))):
        raise CheckpointError(f"{dataset_meta.root}: index: expected 0 to {len(index) - 1}")
    starts = np.flatnonzero(np.diff(episode, prepend=-1))
    later = later_actions(action, followed, starts, chunk_length)
    return np.concatenate([np.zeros((len(index), 1), bool), np.isnan(later).any(2)], axis=1)


def instructions(dataset_meta: Any) -> list[str]:
    """Every instruction of a dataset, once."""
    return [str(text) for text in dataset_meta.tasks.index]
