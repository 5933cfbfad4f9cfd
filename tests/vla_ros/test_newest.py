"""Of several who speak on one topic, the one who spoke last counts."""

from vla_ros.newest import Newest, Place

S = 10**9
NOW_NS = 1_800_000_000 * S


def test_what_was_said_before_counts_less_however_late_it_arrives():
    it = Newest()
    assert it.place("lift it", NOW_NS - 5 * S, NOW_NS) is Place.NEWEST
    assert it.place("wander", NOW_NS - 8 * S, NOW_NS) is Place.OLDER
    assert it.older == (
        "'wander' was published 3.0 s before the one that counts, by its sender's clock: "
        "publish it anew"
    )
    assert it.place("wander", NOW_NS + S, NOW_NS + S) is Place.NEWEST
    assert it.older == ""


def test_a_message_counts_once_although_three_subscriptions_hear_it():
    it = Newest()
    for _ in range(2):
        it.place("", NOW_NS - 8 * S, NOW_NS)
        assert it.place("lift it", NOW_NS - 5 * S, NOW_NS) in (Place.NEWEST, Place.AGAIN)
        assert it.place("lift it", NOW_NS - 5 * S, NOW_NS) is Place.AGAIN
        assert it.place("", NOW_NS - 8 * S, NOW_NS) is Place.AGAIN


def test_a_clock_that_is_ahead_silences_nobody():
    it = Newest()
    assert it.place("wander", NOW_NS + 3600 * S, NOW_NS) is Place.NEWEST
    assert it.place("lift it", NOW_NS + S, NOW_NS + S) is Place.NEWEST
    assert it.place("wander", NOW_NS + 3600 * S, NOW_NS + 2 * S) is Place.AGAIN


def test_after_this_clock_was_set_back_people_are_heard():
    it = Newest()
    it.place("wander", NOW_NS, NOW_NS)
    assert it.place("lift it", NOW_NS - 3600 * S, NOW_NS - 3600 * S) is Place.NEWEST


def test_without_a_stamp_it_was_said_when_it_came():
    it = Newest()
    it.place("wander", NOW_NS - S, NOW_NS)
    assert it.place("lift it", 0, NOW_NS + S) is Place.NEWEST
