"""A leak is found, noise is not called one, and too little is not called flat."""

import numpy as np
import pytest
from scipy import stats

from vla_ros.faults.trend import FALLS, FLAT, GROWS, UNCLEAR, compare_pairs, fit

TIMES_S = np.arange(0.0, 1800.0, 1.0)


def noise(scale, seed=0):
    """Correlated, as memory and latency are."""
    generator = np.random.default_rng(seed)
    values = np.zeros(len(TIMES_S))
    for index in range(1, len(values)):
        values[index] = 0.9 * values[index - 1] + generator.normal(0, scale)
    return values


def test_a_line_is_found_exactly():
    trend = fit(TIMES_S, 100 + 3.0 * TIMES_S / 3600, tolerance=1.0)
    assert trend.change == pytest.approx(3.0)
    assert trend.low == pytest.approx(3.0)
    assert trend.verdict == GROWS
    assert fit(TIMES_S, 100 + 3.0 * TIMES_S / 3600, tolerance=4.0).verdict == FLAT
    assert fit(TIMES_S, 100 - 3.0 * TIMES_S / 3600, tolerance=1.0).verdict == FALLS


def test_what_never_changes_is_flat():
    trend = fit(np.arange(100.0), np.full(100, 104.67), 1.0)
    assert (trend.low, trend.change, trend.high) == (0.0, 0.0, 0.0)
    assert trend.verdict == FLAT


def test_a_leak_shows_through_noise_and_its_interval_holds_it():
    trend = fit(TIMES_S, 100 + 40.0 * TIMES_S / 3600 + noise(0.3), tolerance=20.0)
    assert trend.low < 40.0 < trend.high
    assert trend.verdict == GROWS


def test_noise_alone_is_flat_and_its_interval_covers_none_nearly_always():
    trends = [fit(TIMES_S, 100 + noise(0.1, seed), tolerance=20.0) for seed in range(40)]
    assert all(trend.verdict == FLAT for trend in trends)
    assert sum(trend.low <= 0 <= trend.high for trend in trends) >= 34


def test_a_jump_while_warming_up_does_not_count():
    values = np.where(TIMES_S < 200, 50.0, 100.0) + noise(0.01)
    assert fit(TIMES_S, values, tolerance=5.0).verdict == FLAT


def test_what_varies_too_much_is_unclear():
    assert fit(TIMES_S, 100 + noise(30.0), tolerance=5.0).verdict == UNCLEAR


def slow_minutes(seed):
    """What a shared machine makes of a latency [ms], every half minute: it has slow ones."""
    generator = np.random.default_rng(seed)
    drift = np.repeat(generator.normal(0, 6.0, 6), 8)  # pairs of halves next to each other
    return 35.0 + drift + generator.normal(0, 1.5, 48)


def test_slow_minutes_of_the_machine_are_told_from_what_the_program_gains():
    covered = 0
    for seed in range(20):
        fresh, aged = slow_minutes(seed).reshape(24, 2).T
        assert compare_pairs(aged, fresh, 5.0).verdict == FLAT
        worse = compare_pairs(aged + 8.0, fresh, 5.0)
        assert worse.verdict == GROWS
        covered += worse.low < 8.0 < worse.high
    assert covered >= 17  # of 20, at 95 % each


def test_the_interval_of_pairs_is_that_of_scipy():
    fresh, aged = slow_minutes(3).reshape(24, 2).T
    trend = compare_pairs(aged, fresh, 5.0)
    expected = stats.ttest_rel(aged, fresh).confidence_interval(0.95)
    assert (trend.low, trend.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


@pytest.mark.parametrize(
    ("aged", "fresh", "reason"),
    [([1.0, 2.0], [1.0, 2.0], "expected 3 pairs"), ([1.0] * 3, [1.0] * 4, "as many finite"),
     ([1.0] * 3, [1.0, 2.0, np.nan], "as many finite")],
)  # fmt: skip
def test_too_few_pairs_are_refused(aged, fresh, reason):
    with pytest.raises(ValueError, match=reason):
        compare_pairs(aged, fresh, 5.0)


def test_the_interval_is_that_of_scipy():
    values = 100 + 40.0 * TIMES_S / 3600 + noise(0.3)
    after = np.arange(1800) >= 360
    blocks = np.digitize(TIMES_S[after], np.linspace(TIMES_S[after][0], TIMES_S[-1], 21)[1:-1])
    hours = [TIMES_S[after][blocks == block].mean() / 3600 for block in range(20)]
    line = stats.linregress(hours, [np.median(values[after][blocks == b]) for b in range(20)])
    trend = fit(TIMES_S, values, 20.0)
    assert trend.change == pytest.approx(line.slope)
    assert trend.high - trend.low == pytest.approx(2 * stats.t.ppf(0.975, 18) * line.stderr)


@pytest.mark.parametrize(
    ("times", "values", "reason"),
    [
        ([], [], "expected 40 samples after warming up, got 0"),
        (TIMES_S[:30], np.zeros(30), "expected 40 samples"),
        (TIMES_S, np.zeros(3), "as many finite values"),
        (TIMES_S, np.full(1800, np.nan), "as many finite values"),
    ],
)
def test_too_little_is_refused(times, values, reason):
    with pytest.raises(ValueError, match=reason):
        fit(times, values, 1.0)
