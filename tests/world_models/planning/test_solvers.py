import math

import numpy as np
import pytest

from world_models.planning.effort import Budget, Costs, Effort
from world_models.planning.search import Search
from world_models.planning.settings import PlannerSettings
from world_models.planning.solvers import ICEM, BestOfN, Ranking, Seeds, drawn_out

ACTIONS = 8


def search_of(toy, clock, settings, limit_ms=None, ms_per_row=0.0, rounds=3):
    _, dynamics, objective = toy(ms_per_row=ms_per_row)
    search = Search(
        dynamics,
        objective,
        np.zeros((1, 3)),
        settings,
        Effort(ACTIONS // 2, rounds, 0),
        Budget(clock, limit_ms),
        Costs(),
    )
    return search, dynamics


def resting(samples=0):
    own = np.zeros((ACTIONS, 7))
    return Seeds(own, np.zeros((samples, ACTIONS, 7)), np.zeros((0, ACTIONS, 7)))


def test_a_score_is_discounted_success_and_the_value_of_what_is_left(toy, clock, goal):
    search, _ = search_of(toy, clock, PlannerSettings())
    candidates = np.zeros((3, ACTIONS, 7))
    candidates[0, 0, :3] = goal  # there after the first frame
    candidates[1, 3, :3] = goal  # after the second
    scores = search.score(candidates, 1)
    frame = 0.95**2
    distance = np.linalg.norm(goal)
    expected = [frame, frame**2, frame**4 * 0.9 * math.exp(-distance / 0.1)]
    np.testing.assert_allclose(scores.score, expected)
    np.testing.assert_allclose(scores.failure, [0, 0, 1 - math.exp(-distance / 0.1)])
    assert len(scores.situations) == ACTIONS // 2


def test_the_cross_entropy_method_finds_its_way_from_a_policy_that_rests(toy, clock):
    settings = PlannerSettings(candidates=64, iterations=5)
    search, dynamics = search_of(toy, clock, settings, rounds=5)
    ranking = ICEM(settings).solve(search, resting(), np.random.default_rng(0))
    own = search.score(np.zeros((1, ACTIONS, 7)), 1).score[0]
    assert ranking.score[0] >= 0.95**6 > own  # there within three frames
    assert (np.diff(ranking.score) <= 0).all()
    rows = [rows for rows, _ in dynamics.calls[:: ACTIONS // 2]][:5]
    assert rows == [64, 51, 40, 32, 26]  # fewer every round, by `decay`


def test_the_same_seed_finds_the_same(toy, clock):
    settings = PlannerSettings(candidates=16, iterations=2)
    found = [
        ICEM(settings).solve(
            search_of(toy, clock, settings)[0], resting(), np.random.default_rng(seed)
        )
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(found[0].candidates, found[1].candidates)
    assert not np.array_equal(found[0].candidates, found[2].candidates)


def test_elites_of_the_last_decision_and_samples_are_among_the_first_candidates(toy, clock, goal):
    settings = PlannerSettings(candidates=12, iterations=1, elites=2)
    there = np.zeros((1, ACTIONS, 7))
    there[0, 0, :3] = goal
    for name in ("elites", "samples"):
        seeds = Seeds(**{**vars(resting()), name: there})
        search, _ = search_of(toy, clock, settings, rounds=1)
        ranking = ICEM(settings).solve(search, seeds, np.random.default_rng(0))
        np.testing.assert_array_equal(ranking.candidates[0], there[0])


def test_what_was_found_is_kept_when_time_runs_out_in_a_round(toy, clock):
    settings = PlannerSettings(candidates=16, iterations=3)
    # A frame of a round of 16 takes 16 ms: the first round 64 ms, the second does not fit.
    search, dynamics = search_of(toy, clock, settings, limit_ms=100, ms_per_row=1.0)
    ranking = ICEM(settings).solve(search, resting(), np.random.default_rng(0))
    assert len(ranking.score) == settings.elites
    assert clock.now_ns <= 100e6
    assert dynamics.calls[0] == (16, 1)


def test_best_of_n_prefers_the_policys_own_chunk_among_equals(toy, clock):
    settings = PlannerSettings()
    search, _ = search_of(toy, clock, settings)
    seeds = resting(samples=5)
    seeds.samples[:, :, 6] = 1.0  # other actions, the same outcome
    ranking = BestOfN(settings).solve(search, seeds, np.random.default_rng(0))
    np.testing.assert_array_equal(ranking.candidates[0], seeds.own)
    assert len(ranking.score) == 6


def test_a_ranking_is_stable():
    empty = Ranking(np.zeros((0, 1, 7)))
    candidates = np.arange(3.0)[:, None, None] * np.ones((1, 1, 7))
    ranking = empty.with_more(candidates, np.array([0.5, 0.9, 0.5]), np.zeros(3), 3)
    assert ranking.candidates[:, 0, 0].tolist() == [1, 0, 2]


def test_chunks_are_cut_off_or_come_to_rest():
    chunk = np.ones((2, 7))
    np.testing.assert_array_equal(drawn_out(chunk, 1), chunk[:1])
    long = drawn_out(chunk, 4)
    np.testing.assert_array_equal(long[:2], chunk)
    np.testing.assert_allclose(long[2:, 0], [0.5, 0.25])
    np.testing.assert_array_equal(long[2:, 6], [1.0, 1.0])  # the gripper as it was told
    assert drawn_out(np.ones((3, 2, 7)), 4).shape == (3, 4, 7)


def test_candidates_stay_within_what_the_model_knows(toy, clock):
    settings = PlannerSettings(noise=(9.0,) * 7)
    search, dynamics = search_of(toy, clock, settings)
    ranking = ICEM(settings).solve(search, resting(), np.random.default_rng(0))
    low, high = dynamics.action_range
    assert (ranking.candidates >= low).all() and (ranking.candidates <= high).all()
    assert (search.within(np.full((1, 7), 9.0)) == high).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "dream"}, "planner: expected one of best-of-n, gate, icem, got 'dream'"),
        ({"deadline_ms": 0.0}, "deadline_ms: expected a number of ms above 0"),
        ({"candidates": 3}, "candidates: expected 4 or more, got 3"),
        ({"elites": 20}, "elites: expected 2 to half of the 32 candidates, got 20"),
        ({"min_frames": 9}, "min_frames: expected at most horizon_frames"),
        ({"gate_threshold": 1.5}, "gate_threshold: expected 0 to 1, got 1.5"),
        ({"noise": (0.1,)}, "noise: expected 7 numbers"),
        ({"decay": 0.5}, "decay: expected 1 or more, got 0.5"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        PlannerSettings(**changes)
