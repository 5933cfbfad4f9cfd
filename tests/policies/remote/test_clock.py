"""The offset between two clocks, against a hand calculation."""

from __future__ import annotations

from policies.remote.clock import WINDOW, ClockOffset, Exchange


def exchange(sent: int, there: int, back: int, server: int = 10, ahead: int = 1000) -> Exchange:
    """One whose ways take `there` and `back`, to a clock that is `ahead`."""
    received = sent + there + ahead
    return Exchange(sent, received, received + server, sent + there + server + back)


def test_by_hand() -> None:
    one = exchange(sent=100, there=30, back=30)
    assert (one.server_ns, one.network_ns, one.offset_ns) == (10, 60, 1000)


def test_the_quickest_exchange_counts_and_the_error_bounds_the_truth() -> None:
    clocks = ClockOffset()
    assert clocks.estimate_ns() is None
    clocks.add(exchange(sent=0, there=500, back=20))
    clocks.add(exchange(sent=1000, there=22, back=18))
    clocks.add(exchange(sent=2000, there=5, back=400))
    offset_ns, error_ns = clocks.estimate_ns() or (0, 0)
    assert (offset_ns, error_ns) == (1002, 20)
    assert abs(offset_ns - 1000) <= error_ns


def test_old_exchanges_are_forgotten() -> None:
    clocks = ClockOffset()
    clocks.add(exchange(sent=0, there=1, back=1, ahead=5))
    for index in range(WINDOW):
        clocks.add(exchange(sent=index, there=10, back=10, ahead=99))
    assert clocks.estimate_ns() == (99, 10)


def test_an_exchange_in_which_a_clock_was_set_back_does_not_count() -> None:
    clocks = ClockOffset()
    clocks.add(Exchange(sent_ns=100, received_ns=50, answered_ns=60, heard_ns=40))
    clocks.add(Exchange(sent_ns=100, received_ns=50, answered_ns=40, heard_ns=200))
    assert clocks.estimate_ns() is None
