"""Metrics against calculations by hand."""

import numpy as np
import pytest

from world_models.metrics import area_under_roc, calibration_error, psnr, reliability, ssim


def frames(value: int) -> np.ndarray:
    return np.full((1, 16, 16, 3), value, dtype=np.uint8)


def test_psnr_by_hand():
    assert psnr(frames(100), frames(110))[0] == pytest.approx(20 * np.log10(255 / 10))
    assert psnr(frames(7), frames(7))[0] == 60.0


def test_ssim_is_one_for_equal_frames_and_falls_with_noise():
    rng = np.random.default_rng(0)
    real = rng.integers(0, 255, (2, 16, 16, 3)).astype(np.uint8)
    noisy = np.clip(real + rng.normal(0, 30, real.shape), 0, 255).astype(np.uint8)
    np.testing.assert_allclose(ssim(real, real), 1.0, atol=1e-5)
    assert (ssim(real, noisy) < 0.95).all()
    assert ssim(real[:1], real[:1]).shape == (1,)


def test_calibration_by_hand():
    """Nine of ten came true where 0.75 was said, one of ten where 0.25 was: off by 0.15 each."""
    said = np.array([0.75] * 10 + [0.25] * 10)
    true = np.array([1] * 9 + [0] * 1 + [1] * 1 + [0] * 9)
    assert calibration_error(said, true) == pytest.approx(0.15, abs=1e-6)
    assert calibration_error(np.array([1.0, 0.0]), np.array([1.0, 0.0])) == pytest.approx(0.0)
    assert np.isnan(calibration_error(np.array([]), np.array([])))


def test_reliability_holds_what_the_calibration_error_is_made_of():
    rng = np.random.default_rng(0)
    said = rng.uniform(size=400)
    true = (rng.uniform(size=400) < said**2).astype(float)  # overconfident
    bins = reliability(said, true)
    assert len(bins) == 10 and sum(row["count"] for row in bins) == 400
    gap = sum(row["count"] * abs(row["predicted"] - row["true"]) for row in bins) / 400
    assert gap == pytest.approx(calibration_error(said, true), abs=1e-6)
    assert reliability(np.array([1.0, 0.98]), np.array([1, 0])) == [
        {"predicted": pytest.approx(0.99), "true": 0.5, "count": 2}
    ]
    assert reliability(np.array([]), np.array([])) == []


def test_ranking_by_hand():
    scores, labels = np.array([0.9, 0.4, 0.4, 0.1]), np.array([1, 1, 0, 0])
    assert area_under_roc(scores, labels) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert np.isnan(area_under_roc(scores, np.zeros(4)))
