"""The gate a policy passes before it may move a robot: it fits, it looks, it listens, it is itself.

The original OpenVLA ran for months on newer libraries with its image silently ignored. So the
network's own numbers are compared here, not only the action that is left of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from policies.interface import ToolLimits, UnfitPolicyError
from policies.openvla.config import CheckpointError
from policies.openvla.expectations import has_expectations, read_expectations
from policies.openvla.stages import exact_arithmetic, model_pixels
from policies.openvla.statistics import check_statistics
from policies.openvla.text import encode_prompt
from policies.openvla.verify import replay

if TYPE_CHECKING:
    from policies.openvla.policy import OpenVLAPolicy

BLACK, WHITE = 0, 255
LEAST_CHANGE = 1e-4  # of the largest logit of a number; a dead input changes nothing at all
PROMPTS = 4  # instructions of one length that are compared
# For checkpoints that name no words of their own.
COMMON_WORDS = ("red", "blue", "cup", "block", "left", "right", "up", "down", "open", "close")
NAMED_FAILURES = 3


def check_alive(policy: OpenVLAPolicy, limits: ToolLimits) -> None:
    """Raises `UnfitPolicyError` naming what is wrong; well under 2 s for a small model."""
    check_statistics(policy.statistics, policy.config.rate_hz, limits)
    with exact_arithmetic():
        check_looks_and_listens(policy)
    check_golden(policy)


def check_looks_and_listens(policy: OpenVLAPolicy) -> None:
    """Black against white and one instruction against others change the next number's logits."""
    prompts = equal_prompts(policy)
    looks = number_logits(policy, [(BLACK, prompts[0]), (WHITE, prompts[0])])
    if _change(looks) < _least_change(policy):
        raise UnfitPolicyError(
            "the policy ignores the image: a black and a white one give the same logits "
            f"(they differ by {_change(looks):.2g} of the largest, at least "
            f"{_least_change(policy):.2g} expected)"
        )
    listens = number_logits(policy, [(WHITE, prompt) for prompt in prompts])
    if _change(listens) < _least_change(policy):
        raise UnfitPolicyError(
            f"the policy ignores the instruction: {len(prompts)} different ones give the same "
            f"logits (they differ by {_change(listens):.2g} of the largest, at least "
            f"{_least_change(policy):.2g} expected)"
        )


def check_golden(policy: OpenVLAPolicy) -> None:
    """What the folder says it computes is what comes out here."""
    if policy.folder is None or not has_expectations(policy.folder):
        return
    try:
        expectations = read_expectations(policy.folder)
        report = replay(policy.model, expectations, policy.tokenizer, training=False)
    except CheckpointError as error:
        raise UnfitPolicyError(f"golden outputs: {error}") from error
    if not report.ok:
        named = "; ".join(str(figure) for figure in report.failed[:NAMED_FAILURES])
        raise UnfitPolicyError(
            f"golden outputs: {len(report.failed)} of {len(report.figures)} figures differ: {named}"
        )


def equal_prompts(policy: OpenVLAPolicy) -> list[list[int]]:
    """Prompts that differ in one word and are equally long, so that only the word can matter.

    Two at least, `PROMPTS` at most, in words the policy knows.
    """
    by_length: dict[int, list[list[int]]] = {}
    for word in policy.config.instruction_words or COMMON_WORDS:
        ids = encode_prompt(policy.tokenizer, word)
        if ids not in by_length.setdefault(len(ids), []):
            by_length[len(ids)].append(ids)
    prompts = max(by_length.values(), key=len)[:PROMPTS]
    if len(prompts) < 2:
        raise UnfitPolicyError(
            "the policy ignores the instruction: its tokenizer writes all words alike, or it knows "
            "only one"
        )
    return prompts


@torch.inference_mode()
def number_logits(policy: OpenVLAPolicy, inputs: list[tuple[int, list[int]]]) -> NDArray:
    """(b, bins): logits of the first number for each (brightness, equally long prompt); of a model
    with a chunk head its numbers, (b, numbers).

    Every input is computed by itself: rows of one batch may be rounded differently.
    """
    model = policy.model
    size = model.config.image_sizes[0]
    proprio = model.config.proprio
    rows = []
    for brightness, prompt in inputs:
        image = np.full((size, size, 3), brightness, np.uint8)
        state = None
        if proprio is not None:
            state = torch.zeros(1, proprio.dim, dtype=model.dtype, device=model.device)
        pixels = model_pixels(model, image)
        if model.chunk_head is not None:
            context = model.embed_context(pixels, state)
            rows.append(model.predict_numbers(context, [prompt])[0])
            continue
        hidden = model(pixels, torch.tensor([prompt], device=model.device), state)[0, -1]
        logits = model.language_model.lm_head(hidden)
        rows.append(logits[policy.numbers.first_id : policy.numbers.vocab_size])
    return torch.stack(rows).float().cpu().numpy()


def _change(logits: NDArray) -> float:
    """How far rows of logits are from the first, as a share of the largest."""
    return float(np.abs(logits[1:] - logits[:1]).max() / max(np.abs(logits).max(), 1e-30))


def _least_change(policy: OpenVLAPolicy) -> float:
    return max(LEAST_CHANGE, torch.finfo(policy.model.dtype).eps)
