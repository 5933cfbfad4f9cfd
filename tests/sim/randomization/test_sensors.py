"""Images and readings lose what they are told to lose, no more."""

import numpy as np
import pytest

from sim.randomization.sensors import misread_gripper, misread_joints, worsen

GREY = np.full((64, 64, 3), 128, np.uint8)


def rng():
    return np.random.default_rng(0)


def test_nothing_drawn_nothing_lost():
    image = rng().integers(0, 256, (32, 32, 3), np.uint8)
    np.testing.assert_array_equal(worsen(image, {}, rng()), image)


def test_noise_has_the_deviation_asked_for():
    noisy = worsen(GREY, {"image_noise": 10.0}, rng())
    assert noisy.std() == pytest.approx(10.0, rel=0.05)
    assert noisy.mean() == pytest.approx(128.0, abs=0.5)


@pytest.mark.parametrize(
    ("values", "expected"),
    [({"exposure": 0.5}, 64), ({"exposure": 3.0}, 255), ({"gamma": 2.0}, 255 * (128 / 255) ** 2)],
)
def test_exposure_and_gamma(values, expected):
    assert worsen(GREY, values, rng())[0, 0, 0] == round(expected)


def test_blur_is_a_gaussian_whose_width_goes_with_the_image():
    widths = []
    for size in (112, 224):
        image = np.zeros((size, size, 3), np.uint8)
        image[:, size // 2] = 255
        profile = worsen(image, {"image_blur_px": 4.0}, rng())[0, :, 0].astype(float)
        place = np.arange(size) - size // 2
        widths.append(np.sqrt(np.sum(profile * place**2) / profile.sum()))
    assert widths[1] == pytest.approx(4.0, rel=0.05)
    assert widths[0] == pytest.approx(2.0, rel=0.05)


def test_readings():
    joints = np.zeros(7)
    assert np.all(misread_joints(joints, {}, rng()) == 0.0)
    np.testing.assert_array_equal(
        misread_joints(joints, {"joint_bias_rad": [0.01] * 7}, rng()), np.full(7, 0.01)
    )
    openings = [misread_gripper(1.0, {"gripper_noise": 0.1}, np.random.default_rng(s))
                for s in range(50)]  # fmt: skip
    assert max(openings) == 1.0 and 0.6 < min(openings) < 0.95
