"""Boxes and limits: whatever numbers they are made of, they are meant or refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vla_ros.errors import LimitsError
from vla_ros.limits import ABOVE_ZERO, FR3_LIMITS, Box, Limits

numbers = st.floats(width=64)
corners = st.tuples(numbers, numbers, numbers)
points = arrays(float, (4, 3), elements=st.floats(-2, 2))


@given(corners, corners, points)
def test_any_box_is_refused_or_tells_inside_from_outside(low, high, places):
    try:
        box = Box(low, high)
    except LimitsError:
        assert not (np.all(np.isfinite([low, high])) and np.all(np.array(low) < high))
        return
    excess_m = box.excess_m(places)
    inside = np.all((places >= low) & (places <= high), axis=1)
    np.testing.assert_array_equal(excess_m == 0, inside)
    moved = np.clip(places, low, high)
    assert np.all(box.excess_m(moved) == 0)
    np.testing.assert_allclose(np.abs(moved - places).max(axis=1), excess_m)


@given(*[arrays(float, 2, elements=numbers)] * 5, numbers)
def test_any_limits_are_refused_or_finite_and_in_order(low, high, speed, acceleration, jerk, share):
    try:
        limits = Limits(low, high, speed, acceleration, jerk, velocity_fraction=share)
    except LimitsError:
        return
    assert np.all(limits.position_lower_rad < limits.position_upper_rad)
    rates = [limits.allowed_velocity_rad_s, limits.acceleration_rad_s2, limits.jerk_rad_s3]
    assert np.all(np.isfinite(rates)) and np.all(np.array(rates) >= 0)
    assert np.all(limits.allowed_velocity_rad_s <= speed)


@given(st.floats(0.01, 1.0))
def test_slower_is_slower_everywhere(share):
    slow = FR3_LIMITS.scaled(share)
    np.testing.assert_allclose(
        slow.allowed_velocity_rad_s, share * FR3_LIMITS.allowed_velocity_rad_s
    )
    assert slow.speed_m_s == pytest.approx(share * FR3_LIMITS.speed_m_s)
    assert slow.turn_rad_s == pytest.approx(share * FR3_LIMITS.turn_rad_s)
    np.testing.assert_array_equal(slow.acceleration_rad_s2, FR3_LIMITS.acceleration_rad_s2)


@pytest.mark.parametrize("name", ABOVE_ZERO)
def test_a_limit_with_which_nothing_could_move_is_refused(name):
    with pytest.raises(LimitsError, match=f"{name}: expected a number above 0, got 0"):
        replace(FR3_LIMITS, **{name: 0.0})


@pytest.mark.parametrize("corner", ["abc", None, (None, 1, 2), 3, {"x": 1}])
def test_a_box_of_what_are_no_numbers_is_refused(corner):
    with pytest.raises(LimitsError, match="box: expected x, y, z"):
        Box(corner, (1.0, 1.0, 1.0))
