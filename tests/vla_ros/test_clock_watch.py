"""A clock that was set is told from one that went on, from a busy process and from adjustment."""

import pytest

from vla_ros.clock_watch import ClockWatch, steady_ns

MS = 1_000_000
SECOND = 1000 * MS


class Clocks:
    """Two clocks; `interrupted` [ns]: what passes between two readings."""

    def __init__(self, interrupted=0):
        self.steady, self.set_ns, self.interrupted = 5 * SECOND, 10**18, interrupted
        self.watch = ClockWatch(self.read, self.read_steady)

    def read_steady(self):
        self.steady += self.interrupted
        return self.steady

    def read(self):
        self.steady += self.interrupted
        return self.steady + self.set_ns

    def step_ns(self):
        return self.watch.step_ns(self.steady + self.set_ns)


@pytest.mark.parametrize("step_ns", [-3600 * SECOND, -SECOND, -60 * MS, 60 * MS, 3600 * SECOND])
def test_by_how_much_it_was_set_however_much_time_has_passed(step_ns):
    clocks = Clocks()
    assert clocks.step_ns() == 0
    clocks.steady += 7 * SECOND  # a process that stood still, a machine that was suspended
    assert clocks.step_ns() == 0
    clocks.steady += 3 * SECOND
    clocks.set_ns += step_ns
    assert clocks.step_ns() == step_ns
    assert clocks.step_ns() == 0


def test_adjustment_is_no_step():
    clocks = Clocks()
    for _ in range(100):
        clocks.steady += 10 * MS
        clocks.set_ns -= 5 * MS
        assert clocks.step_ns() == 0


def test_a_process_that_is_interrupted_between_the_readings_sees_no_step():
    clocks = Clocks()
    clocks.step_ns()
    clocks.interrupted = 300 * MS
    assert clocks.step_ns() == 0
    clocks.interrupted = 0
    assert clocks.step_ns() == 0
    clocks.set_ns -= SECOND
    clocks.interrupted = 300 * MS
    assert clocks.step_ns() == 0
    clocks.interrupted = 0
    assert clocks.step_ns() == -SECOND  # told a little later


def test_without_a_steady_clock_only_going_back_is_told():
    watch = ClockWatch()
    found = [
        watch.step_ns(now) for now in (100 * SECOND, 200 * SECOND, 199.99 * SECOND, 99 * SECOND)
    ]
    assert found == [0, 0, 0, -100.99 * SECOND]


def test_the_steady_clock_goes_on():
    first = steady_ns()
    assert steady_ns() >= first > 0
