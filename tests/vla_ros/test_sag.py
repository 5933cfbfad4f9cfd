"""What an arm sags is no reason to hold it anew; anything else is."""

import numpy as np
import pytest

from vla_ros.sag import Sag

MS = 1_000_000
HELD = 10**12


@pytest.fixture
def sag():
    """Of two joints; the first came to rest 0.03 rad from where it was held."""
    it = Sag(2, most_rad=0.1, noise_rad=0.005, within_ns=1000 * MS)
    it.hold(HELD)
    it.see(np.array([0.01, 0.0]), HELD, HELD + 20 * MS)
    it.see(np.array([0.03, 0.0]), HELD, HELD + 400 * MS)
    return it


@pytest.mark.parametrize("gap_rad", [0.0, 0.02, 0.03, 0.034, -0.004])
def test_what_it_sags_and_less_is_explained(sag, gap_rad):
    assert sag.explains(np.array([gap_rad, 0.0]))


@pytest.mark.parametrize("gap_rad", [(0.036, 0.0), (-0.006, 0.0), (0.03, 0.006)])
def test_another_gap_is_not(sag, gap_rad):
    assert not sag.explains(np.array(gap_rad))


def test_without_a_hold_nothing_but_noise_is_explained():
    it = Sag(2, 0.1, 0.005, 1000 * MS)
    it.see(np.array([0.03, 0.0]), HELD, HELD + 20 * MS)
    assert not it.explains(np.array([0.03, 0.0]))
    assert it.explains(np.array([0.004, 0.0]))


@pytest.mark.parametrize(
    ("end_ns", "stamp_ns"),
    [(HELD, HELD + 1001 * MS), (HELD, HELD - MS), (HELD + 1, HELD + 500 * MS)],
    ids=["too late", "on the way there", "something else was sent"],
)
def test_what_is_seen_at_another_time_is_no_sag(sag, end_ns, stamp_ns):
    sag.see(np.array([0.08, 0.0]), end_ns, stamp_ns)
    assert not sag.explains(np.array([0.08, 0.0]))


def test_further_than_an_arm_may_sag_is_not_explained_but_known(sag):
    far = np.array([0.2, 0.0])
    sag.see(far, HELD, HELD + 900 * MS)
    assert not sag.explains(far)
    assert sag.is_all(far + 0.004)
    assert not sag.is_all(far + 0.006)


def test_a_clock_that_is_set_changes_nothing(sag):
    sag.shift(-(10**10))
    assert sag.counts(HELD - 10**10, HELD - 10**10 + 900 * MS)
    assert not sag.counts(HELD, HELD + 900 * MS)
