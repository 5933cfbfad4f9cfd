"""An arm that stands still although it is told to move is noticed; one that follows is not."""

import numpy as np
import pytest

from vla_ros.standstill import STANDS_NS, TOLD_RAD, Standstill

MS = 1_000_000
UNSEEN_NS = 200 * MS


def first_noticed_ms(measured, commanded, for_ms=3000, every_ms=10, unseen_ns=UNSEEN_NS, back_ms=0):
    """When [ms], of joints (n,) that two functions of the time [s] give; None: never.

    After each an older one arrives, of `back_ms` before.
    """
    watch = Standstill(unseen_ns)
    for now_ms in range(0, for_ms, every_ms):
        for at_ms in (now_ms, now_ms - back_ms) if back_ms else (now_ms,):
            time_s = at_ms / 1e3
            if watch.add(np.array(measured(time_s)), np.array(commanded(time_s)), at_ms * MS):
                return now_ms
    return None


def test_an_arm_that_stops_is_noticed_when_it_could_have_followed():
    noticed_ms = first_noticed_ms(lambda t: [0.3 * min(t, 1.0), 0.0], lambda t: [0.3 * t, 0.0])
    assert noticed_ms is not None
    told_ms = 1000 + TOLD_RAD / 0.3 * 1000
    assert abs(noticed_ms - told_ms - STANDS_NS / MS) <= 30


@pytest.mark.parametrize(
    ("every_ms", "unseen_ns", "back_ms"),
    [(250, 600 * MS, 0), (1000, 5000 * MS, 0), (10, UNSEEN_NS, 1), (50, UNSEEN_NS, 30)],
)
def test_it_is_noticed_however_seldom_joints_are_seen_and_in_whatever_order(
    every_ms, unseen_ns, back_ms
):
    """As seldom as is believed: `joint_timeout_s`."""
    noticed_ms = first_noticed_ms(
        lambda t: [0.3 * min(t, 1.0)], lambda t: [0.3 * t], 6000, every_ms, unseen_ns, back_ms
    )
    assert noticed_ms is not None
    assert 1500 <= noticed_ms <= 1600 + 3 * every_ms


def test_a_clock_that_was_set_back_begins_anew():
    watch = Standstill(UNSEEN_NS)
    told = np.zeros(1)
    for at_ms in (3_600_000, 100):
        assert not watch.add(np.zeros(1), told, at_ms * MS)
    noticed = [watch.add(np.zeros(1), told + 0.1, ms * MS) for ms in range(200, 900, 100)]
    assert noticed == [False] * 5 + [True] * 2


@pytest.mark.parametrize(
    ("measured", "commanded"),
    [
        (lambda t: [0.3 * t - 0.06], lambda t: [0.3 * t]),  # lags by 0.2 s
        (lambda t: [0.3 * max(t - 1.4, 0)], lambda t: [0.3 * max(t - 1.0, 0)]),  # after a rest, too
        (lambda t: [0.03 * max(t - 1.4, 0)], lambda t: [0.03 * max(t - 1.0, 0)]),  # however slow
        (lambda t: [0.01 * t], lambda t: [0.1]),  # is slow, and told nothing new
        (lambda t: [0.0], lambda t: [0.06]),  # sags
        (lambda t: [0.0], lambda t: [0.008 * np.sin(6 * t)]),  # is told hardly anything
        (lambda t: [0.0, 0.1 * t], lambda t: [0.1 * t, 0.1 * t]),  # one joint is held
    ],
)
def test_lag_sag_and_play_are_none(measured, commanded):
    assert first_noticed_ms(measured, commanded) is None


def test_time_in_which_nobody_looked_is_no_standstill():
    """A machine that slept, or a process that was frozen."""
    watch = Standstill(UNSEEN_NS)
    still = np.zeros(1)
    for now_ms in range(0, 400, 100):
        assert not watch.add(still, np.array([0.001 * now_ms]), now_ms * MS)
    assert not watch.add(still, np.array([0.5]), 60_000 * MS)
    assert not watch.add(still, np.array([0.5]), 60_100 * MS)


def test_what_was_told_before_is_forgotten():
    watch = Standstill(UNSEEN_NS)
    still = np.zeros(1)

    def noticed(told_rad, from_ms, to_ms):
        told = np.array([told_rad])
        return [watch.add(still, told, ms * MS) for ms in range(from_ms, to_ms, 100)]

    noticed(0.0, 0, 200)
    noticed(0.1, 200, 500)
    watch.forget()
    assert not any(noticed(0.1, 500, 1500))
    assert noticed(0.2, 1500, 2100) == [False] * 5 + [True]
