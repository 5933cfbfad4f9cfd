"""Labelled views of randomized scenes: labels stay true, folders do not mix ranges."""

import itertools

import numpy as np
import pytest

from sim import views
from sim.pretraining import CLASS_NAMES, ViewSampler
from sim.randomization import PRESETS
from sim.randomization.domain import Domain, Range


def sample(domain, count=3):
    return list(itertools.islice(iter(ViewSampler(np.random.default_rng(4), domain=domain)), count))


def test_views_without_a_domain_are_what_they_were():
    for usual, nominal in zip(sample(PRESETS["nominal"]), sample(Domain("none", "", {})),
                              strict=True):  # fmt: skip
        np.testing.assert_array_equal(usual.image, nominal.image)


def test_what_only_cameras_see_changes_images_alone():
    visual = PRESETS["train"].restricted_to(["lighting", "textures", "sensors"])
    for usual, changed in zip(sample(PRESETS["nominal"]), sample(visual), strict=True):
        assert np.abs(usual.image.astype(int) - changed.image).mean() > 3.0
        np.testing.assert_array_equal(usual.patch_items, changed.patch_items)
        np.testing.assert_array_equal(usual.item_positions, changed.item_positions)
        np.testing.assert_array_equal(usual.actions, changed.actions)
        assert usual.instructions == changed.instructions


def test_every_view_has_a_light_of_its_own():
    tables = [view.image[60:100].mean(axis=(0, 1)) for view in sample(PRESETS["textures"], 4)]
    for first, second in itertools.combinations(tables, 2):
        assert np.abs(first - second).max() > 3.0


def test_labels_are_in_the_base_frame_whatever_the_tables_height():
    higher = Domain("higher", "", {"table": {"height_m": Range(0.05, 0.05)}})
    for usual, raised in zip(sample(PRESETS["nominal"]), sample(higher), strict=True):
        for name in ("ee_position", "targets", "goals"):
            difference = getattr(raised, name) - getattr(usual, name)
            np.testing.assert_allclose(difference[..., 2], 0.05, atol=2e-3)
        there = usual.item_classes >= 0
        np.testing.assert_allclose(
            (raised.item_positions - usual.item_positions)[there, 2], 0.05, atol=2e-3
        )
        np.testing.assert_allclose(raised.actions, usual.actions, atol=5e-3)


def test_the_hard_domain_keeps_its_labels_true():
    for view in sample(PRESETS["hard"], 4):
        seen = set(view.patch_items[view.patch_items >= 0])
        assert seen <= set(np.flatnonzero(view.item_classes >= 0))
        named = [CLASS_NAMES[index].split()[0] for index in view.item_classes if index >= 0]
        assert all(any(color in text for color in named) for text in view.instructions)


def test_a_folder_keeps_to_its_ranges(tmp_path, monkeypatch):
    monkeypatch.setattr(views, "SHARD_VIEWS", 2)
    folder = tmp_path / "views"
    with pytest.raises(ValueError, match="bad.yaml"):
        next(views.make_views(folder, 2, 0, 28, 1, randomization="bad.yaml"))
    assert not folder.exists()
    assert list(views.make_views(folder, 2, 0, 28, 1, randomization="lighting")) == [0, 2]
    assert list(views.make_views(folder, 4, 0, 28, 1, randomization="lighting")) == [2, 4]
    assert views.load_views(folder)["image"].shape == (4, 28, 28, 3)
    for other in ("nominal", "hard"):
        with pytest.raises(ValueError, match="drawn from other ranges than"):
            next(views.make_views(folder, 4, 0, 28, 1, randomization=other))
    plain = tmp_path / "plain"
    assert list(views.make_views(plain, 2, 0, 28, 1)) == [0, 2]
    with pytest.raises(ValueError, match="choose another folder"):
        next(views.make_views(plain, 2, 0, 28, 1, randomization="train"))
    assert not (plain / views.RANGES_FILE).exists()
