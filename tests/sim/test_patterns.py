"""Patterns as they are repeated."""

import numpy as np
import pytest

from sim.patterns import PATTERNS, TEXTURE_PX, pattern, tiled


@pytest.mark.parametrize("kind", PATTERNS)
def test_a_pattern_only_darkens_and_by_its_contrast_at_most(kind):
    shades = pattern(kind, 0.4)
    assert shades.shape == (TEXTURE_PX, TEXTURE_PX, 3) and shades.dtype == np.uint8
    assert shades.max() > 250 and shades.min() >= round(255 * 0.6)
    assert (shades.min() < 160) == (kind != "plain")
    np.testing.assert_array_equal(shades, pattern(kind, 0.4))  # noise, too


def test_tiles_repeat_along_each_side():
    shades = pattern("checker", 1.0)
    four = tiled(shades, 4.0)
    np.testing.assert_array_equal(tiled(shades, 1.0), shades)
    np.testing.assert_array_equal(four, np.tile(four[:16, :16], (4, 4, 1)))
    assert four[0, 0, 0] == 255 and four[0, 8, 0] == 0 and four[8, 8, 0] == 255
