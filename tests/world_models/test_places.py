"""Keeping places in the tokens."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.training.features import DatasetError
from policies.training.loop import LoopConfig, TrainingError
from world_models.config import TINY
from world_models.places import UNIT_M, PlaceReader, Places
from world_models.training import TrainConfig, train_world_model

NAMES = ("bar", "dot")


def labelled(recordings, texts=("move the bar", "touch the dot")):
    """The toy's recordings, whose instructions name one item or the other."""
    names = tuple(texts[episode % 2] for episode in range(recordings.episodes))
    return replace(recordings, instructions=names)


def test_labels_are_of_rows_that_name_an_item_whose_place_is_known(recordings):
    given = labelled(recordings, ("move the bar", "move"))
    targets = given.targets.copy()
    targets[0] = np.nan
    places = Places.of(replace(given, targets=targets), NAMES)
    named = given.episode_of_rows() % 2 == 0
    assert places.classes[0] == -1
    np.testing.assert_array_equal(places.classes[1:], np.where(named, 0, -1)[1:])
    assert np.isfinite(places.positions).all()


def test_without_a_label_it_is_refused(recordings):
    with pytest.raises(DatasetError, match="target_position whose instruction names one of bar"):
        Places.of(labelled(recordings, ("move", "move")), NAMES)
    nowhere = replace(labelled(recordings), targets=recordings.targets * np.nan)
    with pytest.raises(DatasetError, match="the datasets have none"):
        Places.of(nowhere, NAMES)


def test_the_loss_is_the_error_of_the_named_items_alone():
    places = Places(np.array([1, -1, 0]), np.array([[0.1, 0, 0], [9, 9, 9], [0, 0, 0.2]], "f4"))
    reader = PlaceReader(TINY.tokenizer, places)
    torch.nn.init.zeros_(reader.read.weight)
    torch.nn.init.zeros_(reader.read.bias)
    codes = torch.zeros(3, TINY.tokenizer.side**2, len(TINY.tokenizer.levels), requires_grad=True)
    # The mean is (0.05, 0, 0.1): each of both is 0.05 and 0.1 away.
    error = reader.loss(codes, places, np.arange(3))
    assert error.item() == pytest.approx((0.15 / 3) / UNIT_M)
    none = reader.loss(codes, places, np.array([1]))
    none.backward()
    assert none.item() == 0.0 and codes.grad.abs().sum() == 0


def learn(recordings, output, place_weight, steps=60, **config):
    reports = []
    training, held_out = labelled(recordings).split(0.15)
    model = train_world_model(
        training, held_out, "front", output,
        LoopConfig(
            steps=steps, batch_size=16, learning_rate=2e-3, warmup_steps=5, report_every_steps=10,
            precision="fp32", save_every_steps=30,
        ),
        torch.device("cpu"), lambda step, figures: reports.append(figures),
        TrainConfig(
            TINY, tokenizer_share=0.9, tokenizer_learning_rate=3e-3, place_weight=place_weight,
            class_names=NAMES, **config,
        ),
    )  # fmt: skip
    return model, [each["place_error_cm"] for each in reports if "place_error_cm" in each]


def test_places_are_learned_and_are_no_part_of_the_checkpoint(recordings, tmp_path):
    model, errors = learn(recordings, tmp_path / "with", 1.0)
    assert errors[-1] < 0.7 * errors[0]
    without, none = learn(recordings, tmp_path / "without", 0.0)
    assert not none
    assert set(model.state_dict()) == set(without.state_dict())


def test_another_weight_is_another_run(recordings, tmp_path):
    learn(recordings, tmp_path, 1.0, steps=10)
    with pytest.raises(TrainingError, match="place weight"):
        learn(recordings, tmp_path, 0.5, steps=10)
    with pytest.raises(ValueError, match="place_weight: expected 0 or more, got -1"):
        TrainConfig(TINY, place_weight=-1.0)
