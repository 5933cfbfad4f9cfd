"""Resampling by stamps, against values worked out by hand."""

import numpy as np
import pytest

from vla_ros.recording.resample import (
    Series,
    ages_ns,
    hold,
    interpolate,
    interpolate_poses,
    newest,
    rising,
    ticks_ns,
)

EPOCH = 1_700_000_000 * 10**9  # nanoseconds that a double cannot hold


def series(times, values):
    return Series(EPOCH + np.array(times), np.array(values, float).reshape(len(times), -1))


def at(*times):
    return EPOCH + np.array(times)


def test_ticks_begin_half_a_period_late_and_stay_within():
    assert ticks_ns(EPOCH, EPOCH + 10**9, 4).tolist() == at(
        125 * 10**6, 375 * 10**6, 625 * 10**6, 875 * 10**6
    ).tolist()  # fmt: skip
    assert len(ticks_ns(EPOCH, EPOCH, 10)) == 0
    jitter = np.random.default_rng(0).uniform(-0.045, 0.045, 1000)
    stamps = EPOCH + np.round((np.arange(1000) * 0.1 + jitter - jitter[0]) * 1e9).astype(np.int64)
    chosen = newest(stamps, ticks_ns(int(stamps[0]), int(stamps[-1]), 10)[:900])
    assert np.abs(np.diff(chosen) - 1).max() <= 1
    assert np.mean(np.diff(chosen) == 1) > 0.7  # in spite of 45 % jitter


def test_the_newest_is_never_later():
    stamps = at(0, 10, 20)
    assert newest(stamps, at(-1, 0, 9, 10, 25)).tolist() == [-1, 0, 0, 1, 2]
    assert ages_ns(stamps, at(-1, 0, 9, 25)).tolist() == [1, 0, 9, 5]
    assert hold(series([0, 10], [1, 2]), at(-5, 9, 10)).tolist() == [[1], [1], [2]]


def test_straight_lines_are_exact_to_the_nanosecond():
    line = series([0, 4, 8], [0.0, 4.0, 0.0])
    assert interpolate(line, at(-1, 1, 3, 6, 9))[:, 0].tolist() == [0.0, 1.0, 3.0, 2.0, 0.0]


def test_rotations_take_the_short_way_whatever_their_sign():
    half = np.sqrt(0.5)
    poses = series([0, 10], [[0, 0, 0, 1, 0, 0, 0], [1, 2, 3, -half, 0, 0, -half]])
    (middle,) = interpolate_poses(poses, at(5))
    assert middle[:3] == pytest.approx([0.5, 1.0, 1.5])
    assert middle[3:] == pytest.approx([np.cos(np.pi / 8), 0, 0, np.sin(np.pi / 8)])
    (alone,) = interpolate_poses(series([0], [[0, 0, 0, 1, 0, 0, 0]]), at(7))
    assert alone.tolist() == [0, 0, 0, 1, 0, 0, 0]


def test_late_and_doubled_stamps_are_left_out():
    assert rising(np.array([1, 3, 2, 3, 5])).tolist() == [0, 1, 4]
    assert rising(np.zeros(0, np.int64)).tolist() == []
    with pytest.raises(ValueError, match="one row of values for each stamp"):
        Series(np.zeros(2, np.int64), np.zeros((3, 1)))
