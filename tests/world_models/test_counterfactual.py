"""Events in imagination: figures that tell a model that follows a prompt from one that does not."""

import numpy as np
import pytest
import torch

from world_models.counterfactual import event_figures
from world_models.drift import Imagination, Reference
from world_models.identity import IdentityProbe
from world_models.interface import Context
from world_models.probe import Probe


def world(picture: int, place: float) -> Reference:
    """Two episodes of two instants that look and stay like this; one item of two is named."""
    positions = np.full((2, 2, 2, 3), np.nan)
    positions[:, :, 1] = (place, 0.0, 0.0)
    images = np.full((2, 2, 16, 16, 3), picture, dtype=np.uint8)
    context = Context(images[:, :1], np.zeros((2, 1, 14)), np.zeros((2, 0, 2, 7)), ("go",) * 2)
    return Reference(np.array([0, 1]), images, positions, context, np.zeros((2, 1, 2, 7)))


def imagined(picture: int, place: float) -> Imagination:
    images = np.full((2, 2, 16, 16, 3), picture, dtype=np.uint8)
    contents = torch.full((2, 2, 1, 1), place)
    return Imagination(images, contents, np.zeros(2))


@pytest.fixture
def probe():
    """The item's x is the one number that contents have."""
    weights = torch.zeros(2, 3, dtype=torch.float64)
    weights[0, 0] = 1.0
    nothing = torch.zeros(2, 2, dtype=torch.float64)
    return IdentityProbe(nothing, 0.5, Probe({1: weights}, None), None)


def test_a_model_that_follows_the_prompt(probe):
    before, event = world(100, 0.4), world(60, 0.5)
    for row in event_figures(before, event, imagined(100, 0.4), imagined(60, 0.5), probe):
        assert row["psnr_db_prompted"] == row["psnr_db_without_event"] == 60.0
        assert row["psnr_db_unprompted"] == row["effect_db"] == row["imagined_effect_db"] < 20
        assert row["item_error_m_prompted"] == pytest.approx(0.0, abs=1e-6)
        assert row["item_error_m_unprompted"] == pytest.approx(0.1, abs=1e-6)
        assert row["item_moved_m"] == pytest.approx(0.1)


def test_a_model_that_ignores_it(probe):
    before, event = world(100, 0.4), world(60, 0.5)
    for row in event_figures(before, event, imagined(100, 0.4), imagined(100, 0.4), probe):
        assert row["imagined_effect_db"] == 60.0  # none at all
        assert row["psnr_db_prompted"] == row["psnr_db_unprompted"] < 20
        assert row["item_error_m_prompted"] == pytest.approx(row["item_error_m_unprompted"])
