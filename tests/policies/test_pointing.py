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
    return WordPointing(tokenizer, CLASSES, layers=4, hidden_size=8)


def test_a_colour_names_all_of_it_and_a_shape_behind_it_only_both(tokenizer, pointing):
    ids = np.array([encode_prompt(tokenizer, INSTRUCTION)])
    words = [tokenizer.decode([token]).strip() for token in ids[0]]
    names, ends = (array[0] for array in pointing.named_classes(ids))
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
    assert [word for word, end in zip(words, ends, strict=True) if end] == ["cube", "bowl"]


def test_number_tokens_name_nothing(pointing):
    assert not pointing.named_classes(np.array([[600, 767]]))[0].any()


def test_losses_by_hand(tokenizer, pointing):
    ids = encode_prompt(tokenizer, INSTRUCTION)
    words = [tokenizer.decode([token]).strip() for token in ids]
    patches = PatchLabels(
        item_classes=np.array([[0, 1]]),  # a red cube and a red bowl
        item_positions=np.array([[[0.58, 0.0, 0.03], [0.48, 0.1, 0.03]]], np.float32),
        patch_items=np.array([[0, 1, -1, -1]]),
        target_items=np.zeros((1, 1), np.int64),
        captions=[""],
        class_names=CLASSES,
    )
    batch = SimpleNamespace(
        input_ids=torch.tensor([[*ids, 600, 600, 600]]),
        last_prompt=torch.tensor([len(ids) - 1]),
        rows=np.array([0]),
    )
    length = len(ids) + 3 + 4
    attention = torch.zeros(1, 2, length, length)
    attention[0, POINTING_HEAD, :, 1] = 0.5  # the first patch, behind BOS
    attention[0, POINTING_HEAD, :, 2] = 0.25
    attention[0, POINTING_HEAD, :, 4 + words.index("cube")] = 0.2
    attention[0, POINTING_HEAD, :, 4 + words.index("bowl")] = 0.05
    with torch.no_grad():
        pointing.position.weight.zero_()
        pointing.position.bias.zero_()  # says that everything is in the middle of the table
    hidden = (torch.zeros(1, length, 8),) * 5
    losses = pointing.losses((attention,) * 4, hidden, batch, patches)
    # "red" sees both patches (0.75), "cube" the first (0.5), "red" both, "bowl" the second (0.25).
    expected = -np.log([0.75, 0.5, 0.75, 0.25]).mean()
    assert losses["pointing"].item() == pytest.approx(expected, abs=1e-6)
    # The cube is 1 unit off in x, the bowl 1 unit in y, of 3 coordinates each.
    assert losses["placing"].item() == pytest.approx(1 / 3, abs=1e-5)
    # The target's two numbers look at "cube" (0.2), the goal's two at "bowl" (0.05).
    assert losses["routing"].item() == pytest.approx(-np.log([0.2, 0.05]).mean(), abs=1e-6)
