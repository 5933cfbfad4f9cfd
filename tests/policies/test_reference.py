"""Our OpenVLA against numbers from the original implementation (see the fixture's README)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from policies.openvla.checkpoint import load_model
from policies.openvla.preprocess import pixel_values
from policies.openvla.statistics import ActionStatistics
from policies.openvla.tokens import ActionTokenizer

FOLDER = Path(__file__).parents[1] / "fixtures" / "openvla_reference"


@pytest.fixture(scope="module")
def expected():
    return load_file(FOLDER / "expected.safetensors")


@pytest.fixture(scope="module")
def model():
    return load_model(FOLDER)


def relative(ours, theirs) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize("index", range(4))
@torch.inference_mode()
def test_image_to_action(index, model, expected):
    image = np.asarray(Image.open(FOLDER / f"image_{index}.png").convert("RGB"))
    pixels = pixel_values(image, 224)
    assert (
        np.abs(pixels[0, :, ::4, ::4].numpy() - expected[f"{index}.pixel_values_stride4"]).max()
        < 1e-5
    )
    features = model.vision_backbone(pixels)
    assert relative(features[0, ::16].numpy(), expected[f"{index}.patch_features"]) < 1e-4
    projected = model.projector(features)
    assert relative(projected[0, ::16].numpy(), expected[f"{index}.projected"]) < 1e-4
    ids = torch.from_numpy(expected[f"{index}.input_ids"])[None]
    generated = []
    for _ in range(7):
        hidden = model(pixels, ids)
        logits = model.language_model.lm_head(hidden[:, -1])
        if not generated:
            assert relative(logits[0].numpy(), expected[f"{index}.last_logits"]) < 1e-4
        generated.append(int(logits.argmax()))
        ids = torch.cat([ids, torch.tensor([[generated[-1]]])], dim=1)
    assert generated == expected[f"{index}.generated_ids"].tolist()
    tokens = ActionTokenizer(model.config.tokenizer_vocab_size)
    for key in model.config.norm_stats:
        statistics = ActionStatistics.from_norm_stats(model.config.norm_stats, key)
        action = statistics.unnormalize(tokens.decode(np.array(generated)))
        assert np.abs(action - expected[f"{index}.action.{key}"]).max() < 1e-9


def test_token_table(model, expected):
    tokens = ActionTokenizer(model.config.tokenizer_vocab_size)
    assert (tokens.encode(expected["tokenizer.actions"]) == expected["tokenizer.token_ids"]).all()
    decoded = tokens.decode(expected["tokenizer.token_ids"])
    assert np.abs(decoded - expected["tokenizer.decoded"]).max() < 1e-12


def test_training_loss_and_gradients(model, expected):
    about = json.loads((FOLDER / "expected.json").read_text())["train"]
    images = [np.asarray(Image.open(FOLDER / f"image_{i}.png").convert("RGB")) for i in (0, 1)]
    pixels = torch.cat([pixel_values(image, 224) for image in images])
    ids = torch.from_numpy(expected["train.input_ids"])
    labels = torch.from_numpy(expected["train.labels"])
    hidden = model(pixels, ids)
    logits = model.language_model.lm_head(hidden)
    patches = logits.shape[1] - ids.shape[1]
    # Labels shift by one; the patches behind the first token have none.
    spliced = torch.cat([labels[:, :1], torch.full((2, patches), -100), labels[:, 1:]], dim=1)
    loss = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), spliced[:, 1:].flatten(), ignore_index=-100
    )
    assert abs(loss.item() - about["loss"]) < 1e-4 * about["loss"]
    loss.backward()
    gradients = dict(model.named_parameters())
    for name, norm in about["grad_norm"].items():
        assert gradients[name].grad.norm().item() == pytest.approx(norm, rel=1e-3), name
