"""Replays a checkpoint's expectations: every figure, how far it is off, and how far it may be.

Everything is derived from the files: how many images and tokens there are, how the figures were
sampled, and which of them are given at all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from policies.openvla.checkpoint import load_model
from policies.openvla.config import CheckpointError
from policies.openvla.expectations import Expectations, read_expectations
from policies.openvla.model import OpenVLA
from policies.openvla.stages import Stages, exact_arithmetic, run_stages, training_loss
from policies.openvla.statistics import ActionStatistics
from policies.openvla.text import encode_prompt, load_tokenizer
from policies.openvla.tokens import ActionTokenizer

PIXELS = 1e-5
RELATIVE = 1e-4  # of the largest number: features, projection, logits
ACTION = 1e-9
LOSS = 1e-4
GRADIENT = 1e-3  # relative
DECODED = 1e-12
EXACT = 0.0
NAMES = (
    "pixel values", "patch features", "projection", "prompt tokens", "training loss",
    "gradient norms", "token table", "parameters",
)  # fmt: skip
ORDER = ("pixel_values", "patch_features", "projected", "last_logits", "generated_ids")
# What takes `RELATIVE`'s place where a network computes in a shorter type than float32: so many
# times the type's resolution, and with quantized weights so much more.
REDUCED = 3.0
QUANTIZED = {"int8": 0.03, "int8-dynamic": 0.08, "int4": 0.1}


@dataclass(frozen=True)
class Figure:
    """One comparison."""

    name: str  # "logits"
    where: str  # "image 0"
    deviation: float  # infinite where the two cannot be compared
    tolerance: float
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is near enough; a deviation that is not a number is not."""
        return self.deviation <= self.tolerance

    def __str__(self) -> str:
        text = f"{self.name} ({self.where}): deviation {self.deviation:.3g}, at most"
        return f"{text} {self.tolerance:.3g} expected" + (f"; {self.detail}" * bool(self.detail))


@dataclass(frozen=True)
class Report:
    """All comparisons, and what the files hold that was not compared."""

    figures: tuple[Figure, ...]
    not_checked: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return bool(self.figures) and not self.failed

    @property
    def failed(self) -> list[Figure]:
        return [figure for figure in self.figures if not figure.ok]

    @property
    def not_given(self) -> list[str]:
        """Figures of any checkpoint that the files say nothing about."""
        given = {figure.name for figure in self.figures}
        return [name for name in NAMES if name not in given]

    def worst(self) -> list[Figure]:
        """Of every name the figure that is furthest off, in order."""
        worst: dict[str, Figure] = {}
        for figure in self.figures:
            before = worst.get(figure.name)
            if before is None or _badness(figure) > _badness(before):
                worst[figure.name] = figure
        return list(worst.values())

    def count(self, name: str) -> int:
        """How many comparisons have this name."""
        return sum(figure.name == name for figure in self.figures)


def verify(
    folder: Path, device: str = "cpu", dtype: str = "float32", quantization: str | None = None
) -> Report:
    """Load a checkpoint folder and replay the expectations it comes with, see `replay`.

    `dtype` and `quantization`: as of `policies.factory.load_policy`. Raises `CheckpointError` for a
    folder that has none or does not load.
    """
    expectations = read_expectations(folder)
    tokenizer = load_tokenizer(folder) if (folder / "tokenizer.json").is_file() else None
    model = load_model(folder, getattr(torch, dtype), device)
    if quantization is not None:
        from policies.openvla.quantization import quantize  # needs torchao, which takes a second

        quantize(model, quantization)
    return replay(model, expectations, tokenizer)


def replay(
    model: OpenVLA,
    expectations: Expectations,
    tokenizer: PreTrainedTokenizerFast | None = None,
    training: bool = True,
) -> Report:
    """Compare what `model` computes with `expectations`; `training` includes loss and gradients.

    Prompts are compared where there is a `tokenizer`. A model in a shorter type than float32, or
    with quantized weights, is compared as far as these reach: its tokens may differ, so they and
    the training are left out.
    """
    exact = _is_exact(model)
    figures: list[Figure] = []
    seen: set[str] = set()
    with exact_arithmetic():
        for index in expectations.cases:
            figures += _case(model, expectations, index, tokenizer, seen)
        if "train.input_ids" in expectations.tensors and training and exact:
            figures += _training(model, expectations, seen)
    figures += _token_table(model, expectations, seen)
    if "params" in expectations.about:
        count = sum(weight.numel() for weight in model.parameters())
        figures.append(
            Figure("parameters", "model", abs(count - expectations.about["params"]), EXACT)
        )
    return Report(tuple(figures), tuple(sorted(set(expectations.tensors) - seen)))


# --- an image -------------------------------------------------------------------------------


def _case(
    model: OpenVLA,
    expectations: Expectations,
    index: int,
    tokenizer: PreTrainedTokenizerFast | None,
    seen: set[str],
) -> Iterator[Figure]:
    expected = expectations.case(index)
    where = f"image {index}"
    if "input_ids" not in expected:
        raise CheckpointError(f"{expectations.folder}: expected {index}.input_ids, found none")
    generated = expected.get("generated_ids")
    count = model.config.numbers_per_action if generated is None else generated.size
    stages = run_stages(
        model, expectations.image(index), expected["input_ids"], expected.get("state"), count
    )
    exact = _is_exact(model)
    relative, measure = (RELATIVE, _relative) if exact else (_reach(model), _overall)
    seen |= {f"{index}.{name}" for name in ("input_ids", "state")}
    for name in sorted(expected, key=_order):
        value = expected[name]
        figure: Figure | None = None
        base, stride = _sampling(name)
        if base == "pixel_values":
            pixels = max(PIXELS, _type_reach(model))
            figure = _sampled(
                "pixel values", where, stages.pixel_values, value, stride, pixels, _absolute, 2
            )
        elif base == "patch_features":
            figure = _sampled(
                "patch features", where, stages.patch_features, value, stride, relative, measure
            )
        elif base == "projected":
            figure = _sampled(
                "projection", where, stages.projected, value, stride, relative, measure
            )
        elif name == "numbers":
            figure = _compare("numbers", where, stages.numbers, value, relative, measure)
        elif name == "last_logits":
            ours = (
                stages.logits[0] if len(stages.logits) else stages.numbers
            )  # a chunk head: no fit
            figure = _compare("logits", where, ours, value, relative, measure)
        elif name == "generated_ids" and exact:
            figure = _tokens(where, stages.generated_ids, value)
        elif name.startswith("action.") and exact:
            figure = _action(model, where, name.removeprefix("action."), stages, value)
        if figure is not None:
            seen.add(f"{index}.{name}")
            yield figure
    instruction = expectations.about_case(index).get("instruction")
    if tokenizer is not None and instruction is not None:
        ours = np.array(encode_prompt(tokenizer, instruction))
        yield _compare("prompt tokens", where, ours, expected["input_ids"], EXACT, _differing)


def _is_exact(model: OpenVLA) -> bool:
    return model.dtype == torch.float32 and model.quantization is None


def _type_reach(model: OpenVLA) -> float:
    """How far off a shorter type than float32 may be; 0 for float32."""
    return 0.0 if model.dtype == torch.float32 else REDUCED * torch.finfo(model.dtype).eps


def _reach(model: OpenVLA) -> float:
    """How far off the type and the quantized weights may be, together."""
    return _type_reach(model) + QUANTIZED.get(model.quantization or "", 0.0)


def _order(name: str) -> int:
    """Along the network, actions last."""
    base, _ = _sampling(name)
    return ORDER.index(base) if base in ORDER else len(ORDER)


def _sampling(name: str) -> tuple[str, int | None]:
    """ "pixel_values_stride4" -> ("pixel_values", 4); without a stride it is found by the shape."""
    match = re.fullmatch(r"(.+)_stride(\d+)", name)
    return (match[1], int(match[2])) if match else (name, None)


def _sampled(
    name: str,
    where: str,
    ours: NDArray,
    expected: NDArray,
    stride: int | None,
    tolerance: float,
    measure: Callable[[NDArray, NDArray], float],
    axes: int = 1,
) -> Figure:
    """Compare every so manieth row (`axes` 2: every so manieth pixel) of `ours` with `expected`.

    Without a `stride`, every one that gives the expected number of rows is tried: a network that
    computes something else fits none of them.
    """
    axis = 1 if axes == 2 else 0  # pixels have their channels first
    length = ours.shape[axis]
    strides = [stride] if stride else range(1, length + 1)
    candidates = [
        ours[:, ::step, ::step] if axes == 2 else ours[::step]
        for step in strides
        if expected.ndim == ours.ndim and math.ceil(length / step) == expected.shape[axis]
    ]
    figures = [
        _compare(name, where, candidate, expected, tolerance, measure) for candidate in candidates
    ]
    if not figures:
        detail = f"expected shape {expected.shape} is no sample of {ours.shape}"
        return Figure(name, where, math.inf, tolerance, detail)
    return min(figures, key=_badness)


def _tokens(where: str, ours: NDArray, expected: NDArray) -> Figure:
    figure = _compare("greedy tokens", where, ours, expected, EXACT, _differing)
    detail = "" if figure.ok else f"expected {expected.tolist()}, got {ours.tolist()}"
    return Figure(figure.name, where, figure.deviation, EXACT, detail)


def _action(model: OpenVLA, where: str, key: str, stages: Stages, expected: NDArray) -> Figure:
    name = f"action {key}"
    try:
        statistics = ActionStatistics.from_norm_stats(model.config.norm_stats, key, expected.size)
    except CheckpointError as error:
        return Figure(name, where, math.inf, ACTION, str(error))
    values = _number_tokens(model).decode(stages.generated_ids[-expected.size :])
    ours = statistics.unnormalize(values)
    return _compare(name, where, ours, expected, ACTION, _absolute)


# --- the rest -------------------------------------------------------------------------------


def _training(model: OpenVLA, expectations: Expectations, seen: set[str]) -> Iterator[Figure]:
    tensors = expectations.tensors
    about = expectations.about.get("train", {})
    rows = range(len(tensors["train.input_ids"]))
    norms: dict[str, float] = about.get("grad_norm", {})
    loss, gradients = training_loss(
        model,
        [expectations.image(row) for row in rows],
        [expectations.case(row).get("state") for row in rows],
        tensors["train.input_ids"],
        tensors["train.labels"],
        tuple(norms),
    )
    seen |= {f"train.{name}" for name in ("input_ids", "labels", "attention_mask", "loss")}
    expected = tensors["train.loss"] if "train.loss" in tensors else about.get("loss")
    if expected is not None:
        yield _compare("training loss", "train", _array(loss), _array(expected), LOSS, _absolute)
    for name, norm in norms.items():
        yield _compare(
            "gradient norms", name, _array(gradients[name]), _array(norm), GRADIENT, _relative
        )
    if "train.actions" in tensors and "train.action_token_ids" in tensors:
        seen |= {"train.actions", "train.action_token_ids"}
        ours = _number_tokens(model).encode(tensors["train.actions"])
        ids = tensors["train.action_token_ids"]
        yield _compare("token table", "train.actions", ours, ids, EXACT, _differing)


def _token_table(model: OpenVLA, expectations: Expectations, seen: set[str]) -> Iterator[Figure]:
    tensors, numbers = expectations.tensors, _number_tokens(model)
    ids = tensors.get("tokenizer.token_ids")
    if ids is None:
        return
    seen.add("tokenizer.token_ids")
    if "tokenizer.actions" in tensors:
        seen.add("tokenizer.actions")
        ours = numbers.encode(tensors["tokenizer.actions"])
        yield _compare("token table", "actions to ids", ours, ids, EXACT, _differing)
    if "tokenizer.decoded" in tensors:
        seen.add("tokenizer.decoded")
        yield _compare(
            "decoded numbers",
            "ids to actions",
            numbers.decode(ids),
            tensors["tokenizer.decoded"],
            DECODED,
            _absolute,
        )


def _number_tokens(model: OpenVLA) -> ActionTokenizer:
    return ActionTokenizer(model.config.tokenizer_vocab_size, model.config.n_action_bins)


# --- measures -------------------------------------------------------------------------------


def _compare(
    name: str,
    where: str,
    ours: NDArray,
    expected: NDArray,
    tolerance: float,
    measure: Callable[[NDArray, NDArray], float],
) -> Figure:
    if ours.shape != expected.shape:
        detail = f"expected shape {expected.shape}, got {ours.shape}"
        return Figure(name, where, math.inf, tolerance, detail)
    return Figure(name, where, measure(ours, expected), tolerance)


def _absolute(ours: NDArray, expected: NDArray) -> float:
    return float(np.abs(ours.astype(np.float64) - expected).max(initial=0.0))


def _relative(ours: NDArray, expected: NDArray) -> float:
    """The largest difference, as a share of the largest number expected."""
    scale = float(np.abs(expected).max(initial=0.0))
    return _absolute(ours, expected) / (scale or 1.0)


def _overall(ours: NDArray, expected: NDArray) -> float:
    """The length of all differences together, as a share of that of the numbers expected.

    Coarse arithmetic may well turn one number that stands at an edge, a gripper about to close.
    """
    length = float(np.linalg.norm(expected.astype(np.float64)))
    return float(np.linalg.norm(ours.astype(np.float64) - expected)) / (length or 1.0)


def _differing(ours: NDArray, expected: NDArray) -> float:
    return float(np.count_nonzero(ours != expected))


def _badness(figure: Figure) -> float:
    """Rises with how far a figure is off; what is not a number is worst."""
    if math.isnan(figure.deviation):
        return math.inf
    return figure.deviation / figure.tolerance if figure.tolerance else figure.deviation


def _array(value: Any) -> NDArray[np.float64]:
    return np.asarray(value, np.float64).reshape(-1)
