"""Drift: figures that stay where a model keeps its world, and fall where it loses it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from world_models.drift import Imagination, Reference, drift_figures, imagine_on, measure_drift
from world_models.dynamics import Decoding
from world_models.identity import Labelled, agreement, contents_of, fit_identity, labels_of
from world_models.interface import Context
from world_models.timing import frame_rate

SIZE_PX = 16
CLASSES = 3
COLORS = ((220, 60, 60), (60, 220, 60), (60, 60, 220))


def scenes(count: int, seed: int) -> Labelled:
    """Some of three squares, each in its own row and anywhere along it."""
    rng = np.random.default_rng(seed)
    images = np.full((count, SIZE_PX, SIZE_PX, 3), 20, dtype=np.uint8)
    positions = np.full((count, CLASSES, 3), np.nan)
    for image, places in zip(images, positions, strict=True):
        for index in np.flatnonzero(rng.random(CLASSES) < 0.6):
            left = int(rng.integers(SIZE_PX - 4))
            image[5 * index : 5 * index + 4, left : left + 4] = COLORS[index]
            places[index] = (left / 100, 0.0, 0.1)
    return Labelled(images, positions)


class Sharp(torch.nn.Module):
    """Writes frames down as their own pixels, averaged over 2x2: a tokenizer without an error."""

    def __call__(self, images):
        return torch.nn.functional.avg_pool2d(images, 2).flatten(2).transpose(1, 2)

    def encode(self, images):
        return None, self(images)


@pytest.fixture(scope="module")
def model(make_model):
    model = make_model("flow")
    model.write_down = Sharp()
    return model


@pytest.fixture(scope="module")
def probe(model):
    return fit_identity(model, scenes(600, seed=0))


@pytest.fixture
def reference():
    """Nothing moves."""
    shown = scenes(8, seed=1)
    instants = np.array([0, 2, 4])
    return Reference(
        frames_ahead=instants,
        images=np.repeat(shown.images[:, None], 3, axis=1),
        positions=np.repeat(shown.positions[:, None], 3, axis=1),
        context=Context(
            shown.images[:, None],
            np.zeros((8, 1, 14)),
            np.zeros((8, 0, 2, 7)),
            ("move the bar right",) * 8,
        ),
        actions=np.zeros((8, 4, 2, 7)),
    )


def figures(model, probe, reference, images):
    """Of a model that imagines these `images` (b, t, s, s, 3)."""
    flat = images.reshape(-1, *images.shape[2:])
    contents = contents_of(model, flat).unflatten(0, images.shape[:2])
    real = contents_of(model, reference.images.reshape(flat.shape)).unflatten(0, images.shape[:2])
    imagined = Imagination(images, contents, np.zeros(images.shape[1]))
    return drift_figures(reference, imagined, probe, real)


def test_the_probe_knows_what_is_there_and_where(model, probe):
    fresh = scenes(200, seed=2)
    contents = contents_of(model, fresh.images)
    assert agreement(probe.present(contents), fresh.present)["f1"] > 0.95
    errors = np.linalg.norm(probe.positions(contents, fresh.present) - fresh.positions, axis=-1)
    assert np.nanmean(errors) < 0.01  # of squares that are anywhere within 12 cm
    assert np.isnan(errors[~fresh.present]).all()


def test_a_world_that_stays_does_not_drift(model, probe, reference):
    for row in figures(model, probe, reference, reference.images):
        assert row["identity_f1_imagined"] == row["identity_f1_real"] > 0.9
        assert row["identity_f1_to_start_imagined"] == 1.0
        assert row["item_error_m_imagined"] == row["item_error_m_real"] < 0.015
        assert row["psnr_db"] == row["psnr_db_first_frame_repeated"] == 60.0


def test_a_world_whose_items_vanish_is_found_out(model, probe, reference):
    images = reference.images.copy()
    images[:, 2] = 20
    rows = figures(model, probe, reference, images)
    assert rows[2]["identity_f1_imagined"] < 0.2 < rows[1]["identity_f1_imagined"]
    assert rows[2]["identity_f1_to_start_imagined"] < 0.2
    assert rows[2]["contrast_imagined"] == 0 < rows[2]["contrast_real"]
    assert rows[2]["psnr_db"] < rows[2]["psnr_db_first_frame_repeated"]


def test_a_world_whose_items_move_is_found_out(model, probe, reference):
    images = reference.images.copy()
    images[:, 1:] = np.roll(images[:, 1:], 4, axis=3)
    rows = figures(model, probe, reference, images)
    assert rows[1]["item_error_m_imagined"] > rows[1]["item_error_m_real"] + 0.02


def test_items_that_change_places_with_others_are_found_out(model, probe, reference):
    """Identity, and not only that there is something: red becomes green."""
    images = reference.images[..., [1, 0, 2]]
    row = figures(model, probe, reference, images)[0]
    assert row["identity_f1_imagined"] < row["identity_f1_real"] - 0.1


def test_a_minute_is_what_next_gives_again_and_again(make_model, reference):
    model = make_model()
    imagined = imagine_on(model, reference, Decoding(2), seed=3)
    latent = model.encode(reference.context)
    for frame in range(4):
        latent = model.next(latent, reference.actions[:, frame], Decoding(2))
    np.testing.assert_array_equal(imagined.images[:, 2], model.decode(latent))
    assert imagined.images.shape == reference.images.shape
    assert imagined.change.shape == (3,) and (imagined.change >= 0).all()


@pytest.mark.parametrize("kind", ["masked", "flow"])
def test_every_figure_is_there(make_model, reference, kind):
    model = make_model(kind)
    probe = fit_identity(model, scenes(300, seed=0))
    found = measure_drift(model, reference, probe, Decoding(1), seed=0)
    assert found["starts"] == 8 and found["seconds"] == pytest.approx(0.8)  # 4 frames at 5 Hz
    assert [row["seconds"] for row in found["curve"]] == pytest.approx([0.0, 0.4, 0.8])
    assert 0 <= found["identity_f1_at_end"] <= 1


def test_references_that_make_no_sense_are_refused(reference):
    with pytest.raises(ValueError, match="frames_ahead: expected at most 4"):
        replace(reference, frames_ahead=np.array([0, 5, 9]))
    with pytest.raises(ValueError, match="frames_ahead: expected 0 and then more"):
        replace(reference, frames_ahead=np.array([1, 2, 4]))


def test_agreement_by_hand():
    found = np.array([[True, True, False], [False, True, False]])
    true = np.array([[True, False, False], [False, True, True]])
    assert agreement(found, true) == pytest.approx(
        {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3}
    )
    assert agreement(~found & found, true)["f1"] == 0.0


def test_labels_are_by_name():
    rows = labels_of([["b", "other"], []], [np.ones((2, 3)), np.zeros((0, 3))], ("a", "b"))
    assert np.isnan(rows[0, 0]).all() and (rows[0, 1] == 1).all() and np.isnan(rows[1]).all()


def test_frame_rates_come_from_the_clock(make_model, reference):
    ticks = iter(np.arange(0, 100, 0.05))
    found = frame_rate(make_model(), reference.context, Decoding(1), 5, lambda: float(next(ticks)))
    assert found["frames_per_s"] == pytest.approx(20.0)
    assert found["frame_ms_p95"] == pytest.approx(50.0)
