"""Two executors are heard of each other, and then none moves the arm."""

from vla_ros.rivals import MOST, PRESENT_NS, Rivals

NOW = 10**12


def test_one_that_hears_itself_is_alone():
    rivals = Rivals()
    rivals.hear(rivals.identity, NOW)
    assert rivals.count(NOW) == 0


def test_others_count_as_long_as_they_are_heard():
    one, other, third = Rivals(), Rivals(), Rivals()
    one.hear(other.identity, NOW)
    assert one.count(NOW + PRESENT_NS) == 1
    one.hear(other.identity, NOW + PRESENT_NS // 2)
    one.hear(third.identity, NOW + PRESENT_NS // 2)
    assert one.count(NOW + PRESENT_NS) == 2
    assert one.count(NOW + 2 * PRESENT_NS) == 0


def test_no_flood_of_names_is_remembered():
    rivals = Rivals()
    for number in range(3 * MOST):
        rivals.hear(str(number), NOW)
    assert rivals.count(NOW) == MOST
