import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from world_models.planning.effort import (
    LATE,
    LEAST_RESERVE,
    MARGIN,
    MOST_RESERVE,
    STEP,
    Budget,
    Costs,
    Reserve,
    choose_effort,
    least_search_ns,
)
from world_models.planning.settings import PlannerSettings


def test_a_budget_counts_down_on_the_clock_it_is_given(clock):
    clock.cost(100)
    budget = Budget(clock, 20)
    assert budget.left_ns == 20e6 and not budget.missed
    clock.cost(15)
    assert budget.spent_ns == 15e6 and budget.left_ns == 5e6
    clock.cost(6)
    assert budget.missed
    assert Budget(clock, None).left_ns == math.inf


def test_costs_between_two_sizes_lie_on_a_line_and_beyond_them_are_not_underestimated():
    costs = Costs()
    assert not costs.known(4, 1) and costs.frame_ns(5, 1) == 0
    costs.record(4, 1, 100)
    costs.record(2, 4, 180)  # 8 units
    assert costs.known(4, 1) and costs.known(8, 1) and not costs.known(2, 1)
    assert costs.frame_ns(4, 1) == pytest.approx(MARGIN * 100)
    assert costs.frame_ns(6, 1) == pytest.approx(MARGIN * 140)
    assert costs.frame_ns(1, 1) == pytest.approx(MARGIN * 100)
    assert costs.frame_ns(16, 1) == pytest.approx(MARGIN * 360)


def test_a_slower_time_counts_at_once_and_a_faster_one_slowly():
    costs = Costs()
    costs.record(1, 1, 100)
    costs.record(1, 1, 300)
    assert costs.frame_ns(1, 1) == pytest.approx(MARGIN * 300)
    costs.record(1, 1, 100)
    assert costs.frame_ns(1, 1) == pytest.approx(MARGIN * 240)


def test_the_most_rows_are_those_whose_frame_just_fits():
    costs = Costs()
    costs.record(1, 1, 100)
    most = costs.most_rows(1, 1000, 64)
    assert most == int(1000 / (100 * MARGIN))
    assert costs.frame_ns(most, 1) <= 1000 < costs.frame_ns(most + 1, 1)
    assert costs.most_rows(1, 50, 64) == 0
    assert costs.most_rows(1, 1e9, 64) == 64


SETTINGS = PlannerSettings(horizon_frames=4, min_frames=2, min_candidates=4, finalists=4)


def chosen(left_ms):
    costs = Costs()
    costs.record(4, 1, 1e6)  # 4 candidates: 1 ms a frame; finalists with 4 steps: 4 ms
    costs.record(4, 4, 4e6)
    return choose_effort(SETTINGS, costs, left_ms * 1e6, rounds=3, final_steps=4)


def test_less_time_takes_rounds_then_the_second_look_then_the_horizon_then_everything():
    efforts = [chosen(ms) for ms in (math.inf, 100, 30, 10, 4, 2)]
    assert [each and (each.frames, each.rounds, each.final_steps) for each in efforts] == [
        (4, 3, 4),
        (4, 3, 4),
        (4, 2, 4),
        (4, 2, 0),
        (3, 1, 0),
        None,
    ]


def test_a_look_at_one_chunk_fits_where_a_search_does_not():
    costs = Costs()
    costs.record(1, 1, 1e6)
    costs.record(4, 1, 3e6)
    assert least_search_ns(SETTINGS, costs) == pytest.approx(2 * MARGIN * 3e6)
    assert choose_effort(SETTINGS, costs, 5e6, rounds=1, final_steps=0) is None
    look = choose_effort(SETTINGS, costs, 5e6, rounds=1, final_steps=0, rows=1)
    assert look is not None and look.frames == 4


@given(some.lists(some.booleans(), max_size=400))
def test_the_reserve_bounds_how_many_decisions_are_late_while_it_can_grow(late):
    reserve = Reserve()
    shares = [reserve.share]
    for each in late:
        reserve.note(each)
        shares.append(reserve.share)
    assert all(LEAST_RESERVE <= share <= MOST_RESERVE for share in shares)
    if max(shares) < MOST_RESERVE:  # summing up the rule
        assert sum(late) <= LATE * len(late) + (MOST_RESERVE - LEAST_RESERVE) / STEP


@pytest.mark.parametrize("jitter", [0.02, 0.08, 0.12])
def test_few_decisions_are_late_however_much_times_vary(jitter):
    rng, reserve, late = np.random.default_rng(3), Reserve(), []
    for _ in range(8000):
        took = (1.0 - reserve.share) * (1.0 + jitter * rng.exponential())
        reserve.note(took > 1.0)
        late.append(took > 1.0)
    assert np.mean(late[2000:]) <= 2 * LATE
    assert jitter < 0.08 or any(late)  # it does not hide behind the largest reserve
