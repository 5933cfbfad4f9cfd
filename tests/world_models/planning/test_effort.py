import math

import pytest

from world_models.planning.effort import MARGIN, Budget, Costs, choose_effort
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
    assert not costs.known and costs.frame_ns(5, 1) == 0
    costs.record(4, 1, 100)
    costs.record(2, 4, 180)  # 8 units
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
