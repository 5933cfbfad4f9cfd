"""The jerk of a motion against calculation by hand, and who may watch a world."""

import numpy as np
import pytest

from sim.evaluation.smoothness import Smoothness, root_mean_square_jerk
from sim.scene import Item, Scene
from sim.tabletop import Tabletop


def test_jerk_of_a_cubic_motion_is_its_third_derivative():
    times = np.arange(50) * 0.02
    velocities = np.column_stack([0.5 * 3.0 * times**2, 0.5 * 4.0 * times**2])  # jerks 3 and 4
    assert root_mean_square_jerk(velocities, 0.02) == pytest.approx(np.sqrt((9 + 16) / 2))


def test_an_even_motion_has_none_and_two_samples_tell_nothing():
    assert root_mean_square_jerk(np.full((10, 7), 0.3), 0.02) == 0.0
    assert root_mean_square_jerk(np.array([[0.0], [9.0]]), 0.02) == 0.0
    assert Smoothness().jerk_rad_s3 == 0.0


def test_only_what_is_watched_counts():
    world = Tabletop(Scene((Item("cube", "red", (0.5, 0.0)),)))
    smoothness = Smoothness()
    with smoothness.watching(world):
        world.advance(0.2)
    still = smoothness.jerk_rad_s3
    world.advance(0.3, world.joint_positions + 0.2)  # nobody watches
    assert smoothness.jerk_rad_s3 == still
    with smoothness.watching(world):
        world.advance(0.3, world.joint_positions - 0.2)
    assert smoothness.jerk_rad_s3 > 10 * max(still, 1.0)
