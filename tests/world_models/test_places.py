"""Keeping what is where in the tokens."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.training.loop import LoopConfig, TrainingError
from world_models.config import TINY
from world_models.identity import Labelled
from world_models.places import UNIT_M, PlaceReader
from world_models.training import TrainConfig, train_world_model


def views(count=64, classes=2, seed=0):
    """A bright dot of one of two colors in a dark frame, whose place is known."""
    rng, size = np.random.default_rng(seed), TINY.tokenizer.image_size_px
    images = np.zeros((count, size, size, 3), dtype=np.uint8)
    positions = np.full((count, classes, 3), np.nan)
    for row in range(count):
        kind, (x, y) = row % classes, rng.integers(size - 3, size=2)
        images[row, y : y + 4, x : x + 4, kind] = 255
        positions[row, kind] = (x / size, y / size, 0.0)
    return Labelled(images, positions)


def test_the_loss_is_of_what_is_there_alone():
    given = views(2)
    positions = np.full((2, 2, 3), np.nan)
    positions[0, 1] = (0.1, 0.0, 0.0)
    positions[1, 0] = (0.0, 0.0, 0.2)
    reader = PlaceReader(TINY.tokenizer, replace(given, positions=positions))
    torch.nn.init.zeros_(reader.read.weight)
    torch.nn.init.zeros_(reader.read.bias)
    codes = torch.zeros(2, TINY.tokenizer.side**2, len(TINY.tokenizer.levels), requires_grad=True)
    loss, away_m = reader.loss(codes, positions)
    # The mean is (0.05, 0, 0.1): each of both is 0.05 and 0.1 away; being there is even chance.
    assert loss.item() == pytest.approx(0.15 / UNIT_M + np.log(2))
    assert away_m.item() == pytest.approx(np.hypot(0.05, 0.1))
    nothing, none_m = reader.loss(codes, positions * np.nan)
    assert nothing.item() == pytest.approx(np.log(2)) and none_m.item() == 0.0


def test_views_that_say_nothing_or_are_of_another_size_are_refused():
    given = views()
    with pytest.raises(ValueError, match="expected items whose places are known"):
        PlaceReader(TINY.tokenizer, replace(given, positions=given.positions * np.nan))
    with pytest.raises(ValueError, match=r"views: expected \(16, 16, 3\), got \(8, 8, 3\)"):
        PlaceReader(TINY.tokenizer, replace(given, images=given.images[:, ::2, ::2]))


def learn(recordings, output, labelled, steps=80, **config):
    reports = []
    training, held_out = recordings.split(0.15)
    model = train_world_model(
        training, held_out, "front", output,
        LoopConfig(
            steps=steps, batch_size=16, learning_rate=2e-3, warmup_steps=5, report_every_steps=10,
            precision="fp32", save_every_steps=40,
        ),
        torch.device("cpu"), lambda step, figures: reports.append(figures),
        TrainConfig(TINY, tokenizer_share=0.9, tokenizer_learning_rate=3e-3, **config),
        labelled=labelled,
    )  # fmt: skip
    return model, [each["place_error_cm"] for each in reports if "place_error_cm" in each]


def test_places_are_learned_and_are_no_part_of_the_checkpoint(recordings, tmp_path):
    model, errors = learn(recordings, tmp_path / "with", views(), place_weight=1.0)
    assert errors[-1] < 0.7 * errors[0]
    without, none = learn(recordings, tmp_path / "without", None, steps=10)
    assert not none
    assert set(model.state_dict()) == set(without.state_dict())


def test_another_weight_or_number_of_views_is_another_run(recordings, tmp_path):
    learn(recordings, tmp_path, views(), steps=10)
    with pytest.raises(TrainingError, match="place weight"):
        learn(recordings, tmp_path, views(), steps=10, place_weight=0.5)
    with pytest.raises(TrainingError, match="labelled views"):
        learn(recordings, tmp_path, views(32), steps=10)
    with pytest.raises(ValueError, match="place_weight: expected 0 or more, got -1"):
        TrainConfig(TINY, place_weight=-1.0)
