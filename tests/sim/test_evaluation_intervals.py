"""Tests and intervals against published figures and hand calculations."""

import pytest

from sim.evaluation.intervals import Paired, mcnemar_exact, paired_difference_interval


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 5, 1.0),
        (0, 5, 2 / 2**5),
        (1, 9, 2 * (1 + 10) / 2**10),
        (7, 1, 2 * (1 + 8) / 2**8),  # Fagerland, Lydersen and Laake 2014, Table 1: p = 0.070
    ],
)
def test_mcnemars_exact_p(only_a, only_b, p):
    assert mcnemar_exact(Paired(10, only_a, only_b, 3)) == pytest.approx(p)


def test_newcombes_interval():
    """Airway hyper-responsiveness before and after a transplantation, 1, 1, 7 and 12 children.

    M. W. Fagerland, S. Lydersen, P. Laake 2014, Statistics in Medicine 33:2850, Table 1 and 5.
    """
    pair = Paired(both=1, only_a=7, only_b=1, neither=12)
    assert pair.difference == pytest.approx(-0.286, abs=5e-4)
    low, high = paired_difference_interval(pair)
    assert (low, high) == pytest.approx((-0.507, -0.026), abs=5e-4)


def test_turning_the_policies_round_turns_the_interval():
    pair = Paired(both=30, only_a=4, only_b=11, neither=5)
    turned = Paired(both=30, only_a=11, only_b=4, neither=5)
    low, high = paired_difference_interval(pair)
    assert paired_difference_interval(turned) == pytest.approx((-high, -low))


@pytest.mark.parametrize(
    "pair", [Paired(10, 0, 0, 0), Paired(0, 0, 0, 10), Paired(0, 10, 0, 0), Paired(0, 0, 10, 0)]
)
def test_intervals_at_the_edges_hold_the_difference(pair):
    low, high = paired_difference_interval(pair)
    assert -1.0 <= low <= pair.difference <= high <= 1.0
    assert high - low > 0.05


def test_agreement_narrows_the_interval():
    alike = paired_difference_interval(Paired(50, 0, 0, 50))
    unlike = paired_difference_interval(Paired(25, 25, 25, 25))
    assert alike[1] - alike[0] < unlike[1] - unlike[0]


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (1, -1, 2, 3)])
def test_counts_that_cannot_be(counts):
    with pytest.raises(ValueError, match="expected counts of 0 or more"):
        Paired(*counts)
