"""Not more than asked for, and nothing lost to jitter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.pacing import Pacer

MS = 1_000_000


def passed(pacer, stamps_ns):
    kept = []
    for stamp_ns in stamps_ns:
        if pacer.allows(stamp_ns):
            pacer.take(stamp_ns)
            kept.append(stamp_ns)
    return kept


def test_a_camera_of_the_same_rate_loses_nothing_to_jitter():
    jitter = np.random.default_rng(0).integers(-16 * MS, 1, 900)
    stamps = 1_000 * MS + (np.arange(900) * 1e9 / 30).astype(int) + jitter
    assert len(passed(Pacer(30.0), stamps.tolist())) == 900


@pytest.mark.parametrize("camera_hz", [25, 30, 60, 1000])
def test_a_faster_camera_is_thinned_to_the_rate(camera_hz):
    stamps = 1_000 * MS + (np.arange(camera_hz * 60) * 1e9 / camera_hz).astype(int)
    kept = passed(Pacer(10.0), stamps.tolist())
    assert len(kept) == pytest.approx(600, abs=2)
    assert np.ptp(np.diff(kept[5:])) <= 1e9 / camera_hz + 1


def test_a_clock_that_was_set_back_does_not_stop_it():
    pacer = Pacer(10.0)
    assert passed(pacer, [10_000 * MS, 10_100 * MS]) == [10_000 * MS, 10_100 * MS]
    assert passed(pacer, [5_000 * MS, 5_001 * MS, 5_100 * MS]) == [5_000 * MS, 5_100 * MS]


@given(
    st.lists(st.integers(0, 500 * MS), min_size=1, max_size=200),
    st.floats(0.5, 100.0),
)
def test_never_more_than_the_rate_and_one(gaps_ns, rate_hz):
    stamps = np.cumsum(gaps_ns).tolist()
    kept = passed(Pacer(rate_hz), stamps)
    for first in range(len(kept)):
        periods = (kept[-1] - kept[first]) / (1e9 / rate_hz)
        assert len(kept) - first <= periods + 2.01
