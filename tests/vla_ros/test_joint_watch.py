"""Joint states that are old, from the future or leap are not believed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_ros.joint_watch import (
    BEYOND_RAD,
    LEAP_RESTING_NS,
    LEAP_WORKING_NS,
    MARGIN_RAD,
    WINDOW_NS,
    JointRange,
    JointWatch,
)
from vla_ros.limits import FR3_LIMITS

MS = 1_000_000
HOME = np.zeros(7)
TIMEOUT = 200 * MS
NOW = 10**12


@pytest.fixture
def watch():
    it = JointWatch(FR3_LIMITS.velocity_rad_s, TIMEOUT)
    assert it.add(HOME, NOW, NOW, working=False)
    return it


def feed(watch, positions, for_ms, working, begin_ns=NOW, period_ms=16):
    """How long after `begin_ns` [ms] the positions were believed; None: never."""
    for passed_ms in range(period_ms, for_ms, period_ms):
        now_ns = begin_ns + passed_ms * MS
        if watch.add(positions, now_ns, now_ns, working):
            return passed_ms
    return None


def test_what_is_believed_is_fresh_until_the_time_out(watch):
    np.testing.assert_array_equal(watch.fresh(NOW + TIMEOUT), HOME)
    assert watch.fresh(NOW + TIMEOUT + 1) is None


@pytest.mark.parametrize(
    ("age_ms", "problem"),
    [(201, "201 ms old"), (-201, "201 ms ahead of this machine's clock"), (3_600_000, "old")],
)
def test_old_and_future_ones_are_not_believed_however_often_they_come(watch, age_ms, problem):
    now_ns = NOW
    for _ in range(30):
        now_ns += 16 * MS
        assert not watch.add(HOME, now_ns - age_ms * MS, now_ns, working=True)
    assert problem in watch.problem
    assert watch.fresh(now_ns) is None


def test_an_arm_at_full_speed_is_believed(watch):
    positions = HOME
    for index in range(1, 50):
        positions = positions + FR3_LIMITS.velocity_rad_s * 0.016
        now_ns = NOW + index * 16 * MS
        assert watch.add(positions, now_ns, now_ns, working=True)


def test_a_leap_at_work_is_doubted_for_long_and_one_at_rest_for_a_moment(watch):
    leapt = HOME + [0, 0.4, 0, 0, 0, 0, 0]
    believed_ms = feed(watch, leapt, 4000, working=True)
    assert believed_ms * MS >= LEAP_WORKING_NS
    other = JointWatch(FR3_LIMITS.velocity_rad_s, TIMEOUT)
    other.add(HOME, NOW, NOW, working=False)
    believed_ms = feed(other, leapt, 4000, working=False)
    assert LEAP_RESTING_NS <= believed_ms * MS <= LEAP_RESTING_NS + 40 * MS


def test_the_reason_says_by_how_much_it_leapt(watch):
    assert not watch.add(HOME + 0.5, NOW, NOW, working=True)
    assert watch.problem == "joint states leapt by 0.50 rad"
    assert watch.add(HOME + MARGIN_RAD / 2, NOW, NOW, working=True)
    assert watch.problem == ""


def test_a_wild_encoder_is_never_believed(watch):
    generator = np.random.default_rng(0)
    for index in range(1, 300):
        now_ns = NOW + index * 16 * MS
        wild = HOME + generator.choice([-1, 1]) * generator.uniform(0.7, 3.0)
        assert not watch.add(wild, now_ns, now_ns, working=True)


def test_good_ones_between_wild_ones_are_believed(watch):
    for index in range(1, 100):
        now_ns = NOW + index * 16 * MS
        believed = watch.add(HOME if index % 3 else HOME + 1.0, now_ns, now_ns, working=True)
        assert believed == bool(index % 3)


def test_when_the_clock_went_back_anything_is_news(watch):
    watch.forget()
    assert watch.fresh(NOW) is None
    assert watch.add(HOME + 1.0, 5, 5, working=True)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-3, 3), st.integers(-400, 400), st.booleans()), max_size=60))
def test_what_is_fresh_never_goes_faster_than_the_arm(story):
    """Whatever comes within the time a leap at work is doubted."""
    it = JointWatch(FR3_LIMITS.velocity_rad_s, TIMEOUT)
    it.add(HOME, NOW, NOW, working=True)
    known, known_ns = HOME, NOW
    for index, (angle, age_ms, _) in enumerate(story, start=1):
        now_ns = NOW + index * 16 * MS
        it.add(HOME + angle, now_ns - age_ms * MS, now_ns, working=True)
        fresh = it.fresh(now_ns)
        if fresh is not None and fresh is not known:
            passed_s = (now_ns - known_ns) / 1e9
            assert np.all(
                np.abs(fresh - known) <= MARGIN_RAD + FR3_LIMITS.velocity_rad_s * passed_s
            )
            known, known_ns = fresh, now_ns


def turning(rad_s, noise_rad, period_ms, generator):
    """Whether it takes an arm that turns at so much for turning, after each of its joint states."""
    it = JointWatch(FR3_LIMITS.velocity_rad_s, TIMEOUT)
    found = []
    for passed_ms in range(0, 400, period_ms):
        at_ns = NOW + passed_ms * MS
        noise = noise_rad * generator.uniform(-1, 1, size=7)
        it.add(HOME + rad_s * passed_ms / 1e3 + noise, at_ns, at_ns, working=False)
        found.append(it.turning)
    return found


@pytest.mark.parametrize("period_ms", [1, 8, 20])
def test_noise_is_no_motion_whatever_the_rate(period_ms):
    assert not any(turning(0.0, 0.0015, period_ms, np.random.default_rng(0)))


@pytest.mark.parametrize("period_ms", [1, 8, 20])
def test_an_arm_in_motion_is_seen_within_a_tenth_of_a_second(period_ms):
    seen = turning(0.2, 0.0001, period_ms, np.random.default_rng(0))
    assert all(seen[120 // period_ms :])


def test_an_arm_that_came_to_rest_is_seen_to_rest():
    it = JointWatch(FR3_LIMITS.velocity_rad_s, TIMEOUT)
    found = []
    for step in range(40):
        at_ns = NOW + step * 20 * MS
        it.add(HOME + 0.2 * min(step, 10) * 0.02, at_ns, at_ns, working=False)
        found.append(it.turning)
    assert found[9] and not any(found[10 + 2 * WINDOW_NS // (20 * MS) :])


def test_a_joint_far_beyond_its_range_is_not_believed_and_named():
    names = [f"joint_{index}" for index in range(7)]
    lower, upper = FR3_LIMITS.position_lower_rad, FR3_LIMITS.position_upper_rad
    middle = (lower + upper) / 2
    it = JointWatch(FR3_LIMITS.velocity_rad_s, TIMEOUT, JointRange(names, lower, upper))
    for index in range(7):
        for end, sign in ((lower, -1), (upper, 1)):
            there = np.where(np.arange(7) == index, end + sign * (BEYOND_RAD + 0.01), middle)
            assert not it.add(there, NOW, NOW, working=False)
            assert it.problem.startswith(f"joint joint_{index} is measured at {there[index]:.2f}")
            assert f"{lower[index]:.2f} to {upper[index]:.2f} rad, its range" in it.problem
    assert it.fresh(NOW) is None
    assert it.add(np.where(np.arange(7) == 3, upper + 0.9 * BEYOND_RAD, middle), NOW, NOW, False)
    assert it.problem == ""
