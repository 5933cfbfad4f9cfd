"""Joints are read by name."""

import numpy as np
import pytest

from vla_ros.joints import JointsError, positions_by_name


def test_order_is_the_readers_not_the_messages():
    values = positions_by_name(["c", "a", "b"], [3, 1, 2], ["a", "b"])
    np.testing.assert_array_equal(values, [1, 2])


@pytest.mark.parametrize(
    ("names", "positions", "reason"),
    [
        (["a"], [1, 2], "one position for each of 1 names, got 2"),
        (["a", "x"], [1, 2], r"expected \['b'\] among the names, got \['a', 'x'\]"),
        (["a", "b"], [1, float("inf")], "finite"),
    ],
)
def test_what_cannot_be_read_is_refused(names, positions, reason):
    with pytest.raises(JointsError, match=reason):
        positions_by_name(names, positions, ["a", "b"])
