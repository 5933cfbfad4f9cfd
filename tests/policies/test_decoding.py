"""Decoding with a static cache gives the tokens that decoding without any cache gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from policies.openvla.checkpoint import load_model
from policies.openvla.decoding import GreedyDecoder
from policies.openvla.preprocess import pixel_values

FOLDER = Path(__file__).parents[1] / "fixtures" / "openvla_reference"


@torch.inference_mode()
def without_cache(model, context, prompt, count) -> tuple[list[int], torch.Tensor]:
    """The tokens of one prompt, the whole sequence computed anew for each; the last logits."""
    ids = list(prompt)
    for _ in range(count):
        hidden = model.language_model.model(
            inputs_embeds=model.splice(context, torch.tensor([ids])), use_cache=False
        ).last_hidden_state
        logits = model.language_model.lm_head(hidden[:, -1])
        ids.append(int(logits.argmax()))
    return ids[len(prompt) :], logits[0]


@torch.inference_mode()
def test_the_reference_tokens_in_one_batch():
    expected = load_file(FOLDER / "expected.safetensors")
    model = load_model(FOLDER)
    images = [np.asarray(Image.open(FOLDER / f"image_{i}.png").convert("RGB")) for i in range(4)]
    context = model.embed_context(torch.cat([pixel_values(image, 224) for image in images]), None)
    prompts = [expected[f"{index}.input_ids"].tolist() for index in range(4)]
    first: list[torch.Tensor] = []
    tokens = GreedyDecoder(model, 7).decode(context, prompts, first.append)
    for index in range(4):
        assert tokens[index].tolist() == expected[f"{index}.generated_ids"].tolist()
        wanted = expected[f"{index}.last_logits"]
        assert np.abs(first[0][index].numpy() - wanted).max() < 1e-4 * np.abs(wanted).max()


@torch.inference_mode()
def test_in_bfloat16_the_cache_changes_nothing_either():
    """Against the same numbers without a cache; float32's tokens may be others (1 of 4 rows)."""
    expected = load_file(FOLDER / "expected.safetensors")
    model = load_model(FOLDER, torch.bfloat16)
    images = [np.asarray(Image.open(FOLDER / f"image_{i}.png").convert("RGB")) for i in range(4)]
    pixels = torch.cat([pixel_values(image, 224) for image in images]).bfloat16()
    context = model.embed_context(pixels, None)
    prompts = [expected[f"{index}.input_ids"].tolist() for index in range(4)]
    last: list[torch.Tensor] = []
    tokens = GreedyDecoder(model, 7).decode(
        context, prompts, lambda step: last.append(step.clone())
    )
    same = 0
    for index in range(4):
        alone, logits = without_cache(model, context[index : index + 1], prompts[index], 7)
        assert tokens[index].tolist() == alone
        assert (last[-1][index] - logits).abs().max() < 0.02 * logits.abs().max()
        same += alone == expected[f"{index}.generated_ids"].tolist()
    assert same >= 2


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
@torch.inference_mode()
def test_rows_do_not_disturb_each_other(tiny_model, compiled):
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(3, 5, 32, generator=generator)
    prompts = [[1, 300, 301, 302, 303, 304, 305], [1, 310], [1, 300, 320, 330]]
    decoder = GreedyDecoder(tiny_model, 6, compiled)
    logits: list[torch.Tensor] = []
    tokens = decoder.decode(context, prompts, lambda step: logits.append(step.clone()))
    assert tokens.shape == (3, 6) and len(logits) == 6
    for row, prompt in enumerate(prompts):
        alone, last = without_cache(tiny_model, context[row : row + 1], prompt, 6)
        assert tokens[row].tolist() == alone
        torch.testing.assert_close(logits[-1][row], last, rtol=1e-4, atol=1e-5)
        # The cache is used again, with another number of rows and a shorter prompt.
        assert decoder.decode(context[row : row + 1], [prompt])[0].tolist() == alone
    assert torch.equal(decoder.decode(context, prompts), tokens)


def test_bad_prompts(tiny_model):
    context = torch.zeros(2, 5, 32)
    with pytest.raises(ValueError, match="expected 2 lists of token ids, got 1"):
        GreedyDecoder(tiny_model, 3).decode(context, [[1]])
    with pytest.raises(ValueError, match="expected 2 lists"):
        GreedyDecoder(tiny_model, 3).decode(context, [[1], []])
    with pytest.raises(ValueError, match="count: expected 1 or more tokens, got 0"):
        GreedyDecoder(tiny_model, 0)
