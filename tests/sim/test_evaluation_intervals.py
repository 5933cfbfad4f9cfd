"""Tests and intervals against published figures and hand calculations."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.evaluation.intervals import (
    Paired,
    clustered_difference,
    clustered_rate,
    mcnemar_exact,
    paired_difference_interval,
    wilson_interval,
)

counts = st.integers(0, 300)
pairs = st.tuples(counts, counts, counts, counts).filter(any).map(lambda four: Paired(*four))


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


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_any_wilson_interval_holds_its_rate_and_mirrors_its_failures(numbers):
    successes, trials = numbers
    low, high = wilson_interval(successes, trials)
    assert 0.0 <= low <= successes / trials <= high <= 1.0
    assert wilson_interval(trials - successes, trials) == pytest.approx((1 - high, 1 - low))
    wide = wilson_interval(successes, trials, confidence=0.99)
    assert wide[0] <= low and high <= wide[1]
    more = wilson_interval(10 * successes, 10 * trials)
    assert more[1] - more[0] < high - low


@given(pairs)
def test_any_mcnemar_p_is_the_binomials_and_the_same_turned_round(pair):
    p = mcnemar_exact(pair)
    assert 0.0 < p <= 1.0
    few, n = min(pair.only_a, pair.only_b), pair.only_a + pair.only_b
    tail = sum(comb(n, k) for k in range(few + 1)) / 2**n
    assert p == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar_exact(Paired(pair.neither, pair.only_b, pair.only_a, pair.both)) == p


@given(pairs)
def test_any_paired_interval_holds_the_difference_and_turns_round(pair):
    low, high = paired_difference_interval(pair)
    assert -1.0 <= low <= pair.difference <= high <= 1.0
    turned = Paired(pair.both, pair.only_b, pair.only_a, pair.neither)
    assert paired_difference_interval(turned) == pytest.approx((-high, -low))


def test_scenes_that_repeat_themselves_tell_no_more_than_once():
    gains, many = [1] * 12 + [-1] * 4 + [0] * 24, 15
    generators = (np.random.default_rng(seed) for seed in (0, 0))
    once = clustered_difference(gains, [1] * 40, next(generators))
    again = clustered_difference([many * gain for gain in gains], [many] * 40, next(generators))
    assert once == pytest.approx(again)
    paired = Paired(both=24, only_a=4, only_b=12, neither=0)
    assert once[:2] == pytest.approx(paired_difference_interval(paired), abs=0.03)
    assert once[2] == pytest.approx(mcnemar_exact(paired), abs=0.02)


def test_gains_beyond_their_episodes_are_refused():
    with pytest.raises(ValueError, match="at most its episodes"):
        clustered_difference([2], [1], np.random.default_rng(0))


def test_a_rate_over_scenes_by_hand():
    """Of 4 scenes twice each: p = 1/2, variance 4/3 * (1 + 1) / 8^2 = 1/24, so 1/4 / (1/24) = 6."""
    low, high, effective = clustered_rate([2, 1, 1, 0], [2, 2, 2, 2])
    assert effective == pytest.approx(6.0)
    assert (low, high) == pytest.approx(wilson_interval(3, 6))


def test_a_scene_that_repeats_itself_counts_once():
    outcomes = [1] * 13 + [0] * 7
    *interval, effective = clustered_rate([5 * each for each in outcomes], [5] * 20)
    assert effective == 20 and interval == pytest.approx(wilson_interval(13, 20))


@pytest.mark.parametrize("each", [0, 3])
def test_a_rate_of_all_or_none_has_an_interval_of_as_many_as_there_are_scenes(each):
    *interval, effective = clustered_rate([each] * 12, [3] * 12)
    assert effective == 12 and interval == pytest.approx(wilson_interval(12 * (each > 0), 12))


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)).map(sorted), min_size=1))
def test_any_rate_over_scenes_counts_from_one_a_scene_to_all_episodes(scenes):
    successes, episodes = zip(*((few, max(1, many)) for few, many in scenes), strict=True)
    low, high, effective = clustered_rate(successes, episodes)
    rate = sum(successes) / sum(episodes)
    assert -1e-12 <= low <= rate + 1e-12 and rate - 1e-12 <= high <= 1.0 + 1e-12
    assert len(scenes) <= effective <= sum(episodes)


def test_the_interval_over_scenes_holds_the_true_rate_as_often_as_it_says():
    """Four variants, in which half of a scene's variance is common: Wilson's of all holds 79 %."""
    rng = np.random.default_rng(0)
    held = {"scenes": 0, "episodes": 0}
    for _ in range(1000):
        common, own = rng.random((20, 1)) < 0.7, rng.random((20, 4)) < 0.7
        outcomes = np.where(rng.random((20, 4)) < np.sqrt(0.5), common, own)
        low, high, _ = clustered_rate(outcomes.sum(axis=1), [4] * 20)
        held["scenes"] += low <= 0.7 <= high
        low, high = wilson_interval(int(outcomes.sum()), 80)
        held["episodes"] += low <= 0.7 <= high
    assert held["scenes"] > 920 and held["episodes"] < 850


@pytest.mark.parametrize(
    ("successes", "episodes", "message"),
    [
        ([], [], "one episode or more"),
        ([0], [0], "one episode or more"),
        ([1], [1, 1], "one episode or more"),
        ([2], [1], "at most as many successes"),
    ],
)
def test_scenes_that_cannot_be(successes, episodes, message):
    with pytest.raises(ValueError, match=message):
        clustered_rate(successes, episodes)
