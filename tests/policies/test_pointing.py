from types import SimpleNamespace

import numpy as np
import pytest
import torch

from policies.openvla.text import encode_prompt
from policies.training.examples import PatchLabels
from policies.training.initial import fit_tokenizer
from policies.training.pointing import POINTING_HEAD, WordPointing

CLASSES = ("red cube", "red bowl", "blue cube")
INSTRUCTION = "put the red cube into the red bowl"


@pytest.fixture(scope="module")
def tokenizer():
    return fit_tokenizer([INSTRUCTION, "lift the blue cube"])


@pytest.fixture(scope="module")
def pointing(tokenizer):
    return WordPointing(tokenizer, CLASSES, layers=4)


def test_a_colour_names_all_of_it_and_a_shape_behind_it_only_both(tokenizer, pointing):
    ids = np.array([encode_prompt(tokenizer, INSTRUCTION)])
    words = [tokenizer.decode([token]).strip() for token in ids[0]]
    names = pointing.named_classes(ids)[0]
    said = [
        (word, [CLASSES[i] for i in np.nonzero(row)[0]])
        for word, row in zip(words, names, strict=True)
        if row.any()
    ]
    assert said == [
        ("red", ["red cube", "red bowl"]),
        ("cube", ["red cube"]),
        ("red", ["red cube", "red bowl"]),
        ("bowl", ["red bowl"]),
    ]


def test_number_tokens_name_nothing(pointing):
    assert not pointing.named_classes(np.array([[600, 767]])).any()


def test_loss_is_the_attention_on_what_is_named_by_hand(tokenizer, pointing):
    ids = encode_prompt(tokenizer, INSTRUCTION)
    patches = PatchLabels(
        item_classes=np.array([[0, 1]]),  # a red cube and a red bowl
        item_positions=np.zeros((1, 2, 3), np.float32),
        patch_items=np.array([[0, 1, -1, -1]]),
        target_items=np.zeros((1, 1), np.int64),
        captions=[""],
        class_names=CLASSES,
    )
    batch = SimpleNamespace(
        input_ids=torch.tensor([ids]),
        last_prompt=torch.tensor([len(ids) - 1]),
        rows=np.array([0]),
    )
    length = len(ids) + 4
    attention = torch.zeros(1, 2, length, length)
    attention[0, POINTING_HEAD, :, 1] = 0.5  # the first patch, behind BOS
    attention[0, POINTING_HEAD, :, 2] = 0.25
    attention[0, POINTING_HEAD, :, 0] = 0.25
    # "red" sees both (0.75), "cube" the first (0.5), "red" both, "bowl" the second (0.25).
    expected = -np.log([0.75, 0.5, 0.75, 0.25]).mean()
    loss = pointing.loss((attention,) * 4, batch, patches)
    assert loss.item() == pytest.approx(expected, abs=1e-6)
