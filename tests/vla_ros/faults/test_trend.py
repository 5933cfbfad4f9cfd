"""A leak is found, noise is not called one, and too little is not called flat."""

import numpy as np
import pytest
from scipy import stats

from vla_ros.faults.trend import FALLS, FLAT, GROWS, UNCLEAR, fit

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
    assert trend.per_hour == pytest.approx(3.0)
    assert trend.low == pytest.approx(3.0)
    assert trend.verdict == GROWS
    assert fit(TIMES_S, 100 + 3.0 * TIMES_S / 3600, tolerance=4.0).verdict == FLAT
    assert fit(TIMES_S, 100 - 3.0 * TIMES_S / 3600, tolerance=1.0).verdict == FALLS


def test_what_never_changes_is_flat():
    trend = fit(np.arange(100.0), np.full(100, 104.67), 1.0)
    assert (trend.low, trend.per_hour, trend.high) == (0.0, 0.0, 0.0)
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
    """What a fixed piece of work takes on a shared machine [ms]: now 2, now 3."""
    generator = np.random.default_rng(seed)
    return 2.0 + np.repeat(generator.random(30), 60)


def test_slow_minutes_of_the_machine_are_told_from_what_the_program_gains():
    covered = 0
    for seed in range(10):
        took = slow_minutes(seed)
        latency = 20.0 * took + noise(0.5, seed)
        assert fit(TIMES_S, latency, 10.0).verdict == UNCLEAR
        steady = fit(TIMES_S, latency, 10.0, (TIMES_S, took))
        assert steady.verdict == FLAT
        assert steady.per_machine == pytest.approx(20.0 * np.median(took[360:]), rel=0.2)
        worse = fit(TIMES_S, latency + 30.0 * TIMES_S / 3600, 10.0, (TIMES_S, took))
        assert worse.verdict == GROWS
        covered += worse.low < 30.0 < worse.high
    assert covered >= 8  # of 10, at 95 % each


def test_a_steady_machine_changes_nothing():
    values = 100 + 40.0 * TIMES_S / 3600 + noise(0.3)
    alone = fit(TIMES_S, values, 20.0)
    beside = fit(TIMES_S, values, 20.0, (TIMES_S, np.full(1800, 2.0)))
    assert beside.per_hour == pytest.approx(alone.per_hour, rel=1e-6)


def test_the_interval_is_that_of_scipy():
    values = 100 + 40.0 * TIMES_S / 3600 + noise(0.3)
    after = np.arange(1800) >= 360
    blocks = np.digitize(TIMES_S[after], np.linspace(TIMES_S[after][0], TIMES_S[-1], 21)[1:-1])
    hours = [TIMES_S[after][blocks == block].mean() / 3600 for block in range(20)]
    line = stats.linregress(hours, [np.median(values[after][blocks == b]) for b in range(20)])
    trend = fit(TIMES_S, values, 20.0)
    assert trend.per_hour == pytest.approx(line.slope)
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
