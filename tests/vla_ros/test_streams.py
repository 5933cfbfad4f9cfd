"""Ages and rates of streams, whatever the clock does."""

from hypothesis import given
from hypothesis import strategies as st

from vla_ros.streams import WINDOW_NS, Streams

MS = 1_000_000


def test_age_and_rate():
    streams = Streams(("joints", "images"))
    for index in range(21):
        streams.on("joints", index * 100 * MS)
    assert streams.age_ns("joints", 2050 * MS) == 50 * MS
    assert abs(streams.rate_hz("joints", 2000 * MS) - 10.0) < 1e-9
    assert streams.age_ns("images", 2000 * MS) is None
    assert streams.values(2050 * MS) == {
        "joints_age_ms": "50",
        "joints_hz": "9.7",  # nothing for half a period
        "images_age_ms": "never",
        "images_hz": "0.0",
    }


def test_a_stream_that_ended_has_no_rate():
    streams = Streams(("joints",))
    for index in range(10):
        streams.on("joints", index * 10 * MS)
    assert streams.rate_hz("joints", 10_000 * MS) == 0.0


def test_a_clock_that_goes_back_begins_anew():
    streams = Streams(("joints",))
    for now_ms in (5000, 5010, 100, 110):
        streams.on("joints", now_ms * MS)
    assert streams.age_ns("joints", 120 * MS) == 10 * MS
    assert streams.rate_hz("joints", 110 * MS) == 100.0


@given(st.lists(st.integers(0, 10 * WINDOW_NS), max_size=40), st.integers(0, 10 * WINDOW_NS))
def test_any_times_give_numbers(times, now_ns):
    streams = Streams(("joints",))
    for time_ns in times:
        streams.on("joints", time_ns)
    age_ns = streams.age_ns("joints", now_ns)
    assert (age_ns is None) == (not times)
    assert age_ns is None or age_ns >= 0
    assert streams.rate_hz("joints", now_ns) >= 0.0
