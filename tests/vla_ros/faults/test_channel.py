"""A channel passes everything on until a fault is in between, and knows what it did."""

import numpy as np
import pytest

from vla_ros.faults.channel import Channel, Delivery
from vla_ros.faults.transforms import change, delay, drop, duplicate, marking, reorder

MS = 1_000_000


@pytest.fixture
def sent():
    return []


@pytest.fixture
def channel(sent):
    return Channel(sent.append)


def feed(channel, values, step_ms=10, begin_ms=1000):
    for index, value in enumerate(values):
        channel.take(value, (begin_ms + index * step_ms) * MS)


def test_without_a_fault_everything_passes_at_once(channel, sent):
    feed(channel, "abc")
    assert sent == ["a", "b", "c"]
    assert channel.last_good_ns == 1020 * MS
    assert channel.delivered == 3


def test_what_is_lost_is_lost_and_the_last_good_one_stays_known(channel, sent):
    feed(channel, "a")
    channel.begin(drop(1.0, np.random.default_rng(0)))
    feed(channel, "bc", begin_ms=2000)
    assert sent == ["a"]
    assert channel.last_good_ns == 1000 * MS


def test_a_share_is_lost(channel, sent):
    channel.begin(drop(0.5, np.random.default_rng(0)))
    feed(channel, range(1000))
    assert 400 < len(sent) < 600


def test_late_messages_come_late_and_are_lost_with_the_faults_end(channel, sent):
    channel.begin(delay(50 * MS, good=False))
    feed(channel, "ab", step_ms=30)
    channel.flush(1049 * MS)
    assert sent == []
    channel.flush(1050 * MS)
    assert sent == ["a"]
    assert channel.last_good_ns is None
    channel.end()
    channel.flush(5000 * MS)
    assert sent == ["a"]
    channel.take("c", 6000 * MS)
    assert sent == ["a", "c"]


def test_messages_come_several_times(channel, sent):
    channel.begin(duplicate(3))
    feed(channel, "ab")
    assert sent == ["a", "a", "a", "b", "b", "b"]


def test_messages_come_in_another_order_and_none_is_missing(channel, sent):
    channel.begin(reorder(3, np.random.default_rng(1)))
    feed(channel, range(9))
    assert sorted(sent) == list(range(9))
    for block in range(0, 9, 3):
        assert sorted(sent[block : block + 3]) == [block, block + 1, block + 2]
        assert sent[block : block + 3] != [block, block + 1, block + 2]


def test_a_change_spoils_a_copy_and_says_what_it_is_good_for(channel, sent):
    def spoil(message, _generator):
        message.append("spoiled")
        return message

    original = ["message"]
    channel.begin(change(spoil, np.random.default_rng(0), refusable=True))
    feed(channel, [original, original])
    assert original == ["message"]
    assert sent == [["message", "spoiled"]] * 2
    assert channel.last_good_ns is None
    assert channel.first_refusable_ns == 1000 * MS  # the first, not the last


def test_a_new_fault_forgets_what_was_to_be_refused_before(channel):
    channel.begin(lambda message, now_ns: [Delivery(message, refusable=True)])
    feed(channel, "a")
    channel.end()
    channel.begin(duplicate(1))
    assert channel.first_refusable_ns is None


def test_marking_says_which_messages_are_to_be_refused(channel):
    channel.begin(marking(delay(10 * MS, True), lambda message: message == ""))
    feed(channel, ["go", ""])
    channel.flush(1015 * MS)
    assert channel.first_refusable_ns is None
    channel.flush(1020 * MS)
    assert channel.first_refusable_ns == 1020 * MS
