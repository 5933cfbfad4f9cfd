"""When the arm had to hold, and when it did."""

import pytest

from vla_ros.execution import Timeouts
from vla_ros.faults.channel import Channel
from vla_ros.faults.fault import CHUNKS, GRIPPER, IMAGES, INSTRUCTION, JOINTS, STREAMS, Holds
from vla_ros.faults.timing import REST_RAD_S, Sample, due_ns, held_at, rest_after

MS = 1_000_000
BEGUN = 10_000 * MS
LAST = {IMAGES: 9_980, JOINTS: 9_995, CHUNKS: 9_950, GRIPPER: 9_949, INSTRUCTION: 100}


@pytest.fixture
def channels():
    found = {stream: Channel(lambda message: None) for stream in STREAMS}
    for stream, channel in found.items():
        channel.last_good_ns = LAST[stream] * MS
    return found


def due(channels, holds, stopped_ms=None, command_end_ms=10_300):
    stopped_ns = None if stopped_ms is None else stopped_ms * MS
    found = due_ns(holds, channels, stopped_ns, 40 * MS, command_end_ms * MS, BEGUN, Timeouts())
    return None if found is None else found / MS


@pytest.mark.parametrize(
    ("holds", "expected_ms"),
    [
        (Holds.NEVER, None),
        (Holds.CHUNKS, 9_949 + 500),
        (Holds.IMAGES, 9_980 + 40 + 500),
        (Holds.JOINTS, 9_995 + 200),
        (Holds.COMMANDS, 10_300),
        (Holds.AT_ONCE, None),
    ],
)
def test_time_outs_count_from_the_last_good_message(channels, holds, expected_ms):
    assert due(channels, holds) == expected_ms


def test_what_must_be_refused_counts_from_its_arrival(channels):
    channels[CHUNKS].first_refusable_ns = BEGUN + 30 * MS
    channels[GRIPPER].first_refusable_ns = BEGUN + 29 * MS
    channels[JOINTS].first_refusable_ns = BEGUN - 500 * MS  # of a fault before
    assert due(channels, Holds.AT_ONCE) == 10_029


def test_an_emergency_stop_counts_from_when_it_was_sent(channels):
    assert due(channels, Holds.AT_ONCE, stopped_ms=10_005) == 10_005
    assert due(channels, Holds.AT_ONCE, stopped_ms=9_000) is None  # of a fault before


def test_an_executor_that_is_gone_has_until_its_last_command_ends(channels):
    assert due(channels, Holds.COMMANDS, command_end_ms=9_000) == 10_000


def test_the_hold_that_lasts_counts():
    states = [(8, "holding"), (9, "moving"), (11, "moving"), (12, "waiting"), (13, "holding")]
    assert held_at(states, 10) == 12
    assert held_at(states[:3], 10) is None
    assert held_at([*states, (14, "moving")], 10) is None
    assert held_at([*states, (14, "moving"), (15, "holding")], 10) == 15


def samples(speeds, step_ms=16):
    return [Sample(index * step_ms * MS, speed) for index, speed in enumerate(speeds)]


def test_the_arm_stands_when_it_has_been_slow_for_long_enough():
    fast, slow = REST_RAD_S * 2, REST_RAD_S / 2
    speeds = [fast] * 5 + [slow] * 2 + [fast] + [slow] * 20
    assert rest_after(samples(speeds), 0) == 8 * 16 * MS
    assert rest_after(samples(speeds), 10 * 16 * MS) == 10 * 16 * MS
    assert rest_after(samples([fast] * 50), 0) is None
    assert rest_after(samples([slow] * 50 + [fast]), 0) is None  # it did not last
    assert rest_after(samples([fast] * 5 + [slow] * 3), 0) is None  # who knows
