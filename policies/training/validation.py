"""How well a model names the numbers of held-out examples, beside a constant that sees nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from policies.interface import ACTION_NAMES
from policies.training.batches import BatchMaker
from policies.training.examples import Examples
from policies.training.objective import Learner, bin_errors

MAX_VALIDATION_ROWS = 1200


@dataclass(frozen=True)
class Validation:
    """How well numbers are named, in bins, beside a constant that knows only the median."""

    names: tuple[str, ...]
    model_bins: NDArray[np.float64]
    constant_bins: NDArray[np.float64]


def validator(
    learner: Learner,
    maker: BatchMaker,
    training: Examples,
    validation: Examples,
    on_validation: Callable[[int, Validation], None],
    in_bf16: bool = False,
) -> Callable[[int], None]:
    """What the training loop calls with its step; the constant is the median of `training`."""
    constant = training_median(training, maker)
    rows = np.arange(0, len(validation), max(1, len(validation) // MAX_VALIDATION_ROWS))

    def validate(step: int) -> None:
        with torch.autocast(maker.device.type, torch.bfloat16, enabled=in_bf16):
            ours, theirs = bin_errors(learner, validation, rows, constant)
        on_validation(step, Validation(number_names(maker), ours, theirs))

    return validate


def training_median(examples: Examples, maker: BatchMaker) -> NDArray[np.float64]:
    """The median of every number over some training rows, (numbers,) in [-1, 1]."""
    rng = np.random.default_rng(0)
    rows = rng.integers(len(examples), size=min(4096, 4 * len(examples)))
    values = [  # in parts: a batch holds the images too
        maker.make(examples, rows[start : start + 64], rng, augment=False).values.cpu().numpy()
        for start in range(0, len(rows), 64)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numbers that nobody knows
        median = np.nanmedian(np.concatenate(values), axis=0)
    return np.nan_to_num(median)


def number_names(maker: BatchMaker) -> tuple[str, ...]:
    """The names of the numbers in a row of a batch's values."""
    grounding = maker.config.grounding
    names = [*(grounding.names if grounding else ()), *ACTION_NAMES]
    for step in range(2, maker.chunk_length + 1):
        names += [f"{name}_{step}" for name in ACTION_NAMES]
    return tuple(names)
