import numpy as np
import pytest

from policies.interface import Policy, SelfChecking, ToolLimits, UnfitPolicyError
from world_models.planning.planner import Planner, PlannerError
from world_models.planning.settings import PlannerSettings


def planner_of(toy, clock, ms_per_row=0.0, policy=None, **settings):
    """The toy's planner around its policy, described by `policy`."""
    straight, dynamics, objective = toy(ms_per_row=ms_per_row, **(policy or {}))
    chosen = PlannerSettings(**{"mode": "icem", **settings})
    return Planner(straight, dynamics, objective, chosen, clock), straight, dynamics


def act(planner, seen, decisions=4):
    """The point under the planner: where it was, (n, 3), and every chunk."""
    path, chunks, stamp_ns = [np.zeros(3)], [], 0
    for _ in range(decisions):
        chunk = planner.predict_chunk(seen(stamp_ns, path[-1]))
        chunks.append(chunk)
        path += list(path[-1] + np.cumsum(chunk.actions[:, :3], axis=0))
        stamp_ns += round(len(chunk.actions) * 1e8)
    return np.array(path), chunks


def test_it_is_a_policy_that_looks_through_both_cameras_and_passes_seeds_on(toy, clock):
    planner, policy, dynamics = planner_of(toy, clock)
    assert isinstance(planner, Policy)
    assert planner.name == "straight+icem"
    assert planner.cameras == ("front",)
    planner.reset(seed=7)
    assert policy.seeds[-1] == 7


@pytest.mark.parametrize(("mode", "within_m"), [("best-of-n", 0.06), ("icem", 0.01)])
def test_a_policy_that_rests_reaches_the_goal_with_it(toy, clock, seen, goal, mode, within_m):
    planner, _, _ = planner_of(toy, clock, mode=mode, candidates=64)
    planner.reset(seed=0)
    path, chunks = act(planner, seen)
    assert np.linalg.norm(path - goal, axis=1).min() < within_m < np.linalg.norm(goal)
    assert chunks[0].diagnostics["replanned"] == 1.0
    assert chunks[0].diagnostics["score"] > 0.2
    assert len(chunks[0].actions) == 4  # as many as the policy's


def test_the_policys_own_chunk_goes_out_number_for_number_where_nothing_is_better(
    toy, clock, seen, goal
):
    straight_there = {"step": goal / 2, "actions": 2}
    planner, policy, _ = planner_of(toy, clock, policy=straight_there, mode="best-of-n")
    chunk = planner.predict_chunk(seen())
    assert chunk.actions is policy.actions
    assert chunk.diagnostics["replanned"] == 0.0
    assert chunk.diagnostics["fell_back"] == 0.0
    assert chunk.diagnostics["score"] == pytest.approx(0.95**2)


@pytest.mark.parametrize("mode", ["best-of-n", "icem"])
@pytest.mark.parametrize("final_steps", [1, 4])
def test_what_is_hardly_better_than_the_policys_chunk_does_not_replace_it(
    toy, clock, seen, mode, final_steps
):
    scores = {}
    for least_gain in (0.0, 1000.0):
        planner, policy, _ = planner_of(
            toy, clock, mode=mode, candidates=16, final_steps=final_steps, least_gain=least_gain
        )
        chunk = planner.predict_chunk(seen())
        scores[least_gain] = chunk.diagnostics["score"]
        assert (chunk.actions is policy.actions) == (least_gain > 0)
        assert chunk.diagnostics["fell_back"] == 0.0
    assert scores[1000.0] < scores[0.0]  # its own score is told, not the best one's


def test_the_same_seed_gives_the_same_chunks_and_another_others(toy, clock, seen):
    runs = []
    for seed in (1, 1, 2):
        planner, _, _ = planner_of(toy, clock)
        planner.reset(seed=seed)
        runs.append(np.concatenate([chunk.actions for chunk in act(planner, seen)[1]]))
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_a_short_chunk_is_answered_with_at_least_two_actions(toy, clock, seen):
    planner, _, _ = planner_of(toy, clock, policy={"actions": 1})
    assert planner.predict_chunk(seen()).actions.shape == (2, 7)


def test_the_finalists_are_seen_more_finely_and_the_policys_chunk_is_one_of_them(toy, clock, seen):
    planner, _, dynamics = planner_of(toy, clock, final_steps=4, finalists=3)
    planner.predict_chunk(seen())
    assert dynamics.calls[-1] == (3, 4)
    assert {steps for _, steps in dynamics.calls[:-4]} == {1}


# --- deadlines ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["best-of-n", "icem", "gate"])
@pytest.mark.parametrize("deadline_ms", [5.0, 20.0, 60.0, 200.0])
def test_no_deadline_is_missed_whatever_there_is_to_do(toy, clock, seen, mode, deadline_ms):
    planner, _, _ = planner_of(
        toy, clock, ms_per_row=0.3, policy={"ms": 2.0}, mode=mode, deadline_ms=deadline_ms
    )
    _, chunks = act(planner, seen, decisions=6)
    assert [chunk.diagnostics["deadline_missed"] for chunk in chunks] == [0.0] * 6
    assert max(chunk.diagnostics["planning_ms"] for chunk in chunks) <= deadline_ms


def test_more_time_means_more_candidates_and_a_longer_horizon(toy, clock, seen):
    imagined, frames = [], []
    for deadline_ms in (5.0, 40.0, 400.0):
        planner, _, _ = planner_of(toy, clock, ms_per_row=0.3, deadline_ms=deadline_ms)
        _, chunks = act(planner, seen, decisions=3)
        imagined.append(chunks[-1].diagnostics["imagined"])
        frames.append(chunks[-1].diagnostics["horizon_frames"])
    assert imagined[0] < imagined[1] < imagined[2]
    assert frames[0] < frames[2] == 4


def test_past_the_deadline_the_policys_own_chunk_goes_out_and_the_miss_is_told(toy, clock, seen):
    planner, policy, dynamics = planner_of(toy, clock, policy={"ms": 30.0}, deadline_ms=20.0)
    chunk = planner.predict_chunk(seen())
    assert chunk.actions is policy.actions
    assert chunk.diagnostics["deadline_missed"] == 1.0
    assert chunk.diagnostics["fell_back"] == 1.0
    assert dynamics.calls == []  # nothing was imagined for nothing


def test_without_time_for_a_search_the_policys_own_chunk_goes_out_in_time(toy, clock, seen):
    planner, policy, _ = planner_of(toy, clock, ms_per_row=4.0, deadline_ms=20.0)
    _, chunks = act(planner, seen, decisions=3)
    for chunk in chunks:
        assert chunk.actions is policy.actions
        assert chunk.diagnostics["fell_back"] == 1.0
        assert chunk.diagnostics["deadline_missed"] == 0.0


def test_one_slow_moment_does_not_end_planning_for_good(toy, clock, seen):
    planner, _, _ = planner_of(toy, clock, ms_per_row=0.1, deadline_ms=50.0)
    planner._costs.record(1, 1, 1e9)  # a frame that took a second: nothing fits
    fell_back = [chunk.diagnostics["fell_back"] for chunk in act(planner, seen, 80)[1]]
    assert fell_back[0] == 1.0 and fell_back[-1] == 0.0
    assert fell_back == sorted(fell_back, reverse=True)


def test_what_is_seen_is_not_taken_in_when_there_is_no_time_for_it(toy, clock, seen):
    planner, _, dynamics = planner_of(toy, clock, policy={"ms": 5.0}, deadline_ms=20.0)
    begin = dynamics.begin
    taken = []

    def slowly(observation):
        taken.append(clock.now_ns)
        clock.cost(16.0)
        return begin(observation)

    dynamics.begin = slowly
    _, chunks = act(planner, seen, decisions=3)
    assert [chunk.diagnostics["deadline_missed"] for chunk in chunks] == [1.0, 0.0, 0.0]
    assert len(taken) == 1


def test_only_so_many_samples_are_drawn_as_fit_and_the_others_are_noise(toy, clock, seen):
    counts = []
    for deadline_ms in (100.0, 400.0, None):
        planner, policy, _ = planner_of(
            toy, clock, policy={"ms": 10.0}, mode="best-of-n", deadline_ms=deadline_ms
        )
        policy.can_sample = True
        policy.drawn = []

        def draw(observation, count, temperature, seed, policy=policy):
            policy.drawn.append(count)
            clock.cost(5.0 * count)
            return np.tile(policy.actions, (count, 1, 1))

        policy.sample_chunks = draw
        _, chunks = act(planner, seen, decisions=2)
        assert chunks[1].diagnostics["deadline_missed"] == 0.0
        counts.append(policy.drawn)
    # A sample is taken to cost 10 ms like an answer, and is then known to cost 5.
    assert counts == [[2, 5], [11, 22], [31, 31]]


# --- the gate -----------------------------------------------------------------------------------


def test_a_gate_lets_pass_what_is_expected_to_succeed(toy, clock, seen, goal):
    there = {"step": goal / 2, "actions": 2}
    planner, policy, dynamics = planner_of(toy, clock, policy=there, mode="gate")
    chunk = planner.predict_chunk(seen())
    assert chunk.actions is policy.actions
    assert chunk.diagnostics["failure"] == 0.0
    assert [rows for rows, _ in dynamics.calls] == [1] * 4  # one chunk, nothing else


def test_a_gate_exchanges_what_is_expected_to_fail(toy, clock, seen):
    away = {"step": (-0.05, 0.0, 0.0)}
    planner, policy, _ = planner_of(
        toy, clock, policy=away, mode="gate", gate_threshold=0.6, candidates=64, iterations=5
    )
    chunk = planner.predict_chunk(seen())
    assert chunk.diagnostics["replanned"] == 1.0 and chunk.diagnostics["held"] == 0.0
    assert chunk.diagnostics["own_failure"] > 0.6 >= chunk.diagnostics["failure"]
    assert chunk.actions[:, 0].sum() > policy.actions[:, 0].sum()


def test_a_gate_holds_where_everything_is_expected_to_fail_but_not_for_ever(toy, clock, seen):
    planner, _, _ = planner_of(
        toy, clock, policy={"step": (-0.05, 0, 0)}, mode="gate", gate_threshold=0.0, max_holds=2,
        candidates=12, iterations=1,
    )  # fmt: skip
    _, chunks = act(planner, seen, decisions=4)
    assert [chunk.diagnostics["held"] for chunk in chunks] == [1.0, 1.0, 0.0, 1.0]
    np.testing.assert_array_equal(chunks[0].actions[:, :6], 0.0)
    np.testing.assert_array_equal(chunks[0].actions[:, 6], 1.0)  # the fingers as they were told


def test_a_gate_without_time_for_an_alternative_holds(toy, clock, seen):
    planner, _, _ = planner_of(
        toy, clock, ms_per_row=0.5, policy={"step": (-0.05, 0, 0)}, mode="gate", deadline_ms=10.0,
        gate_threshold=0.6,
    )  # fmt: skip
    chunk = planner.predict_chunk(seen())
    assert chunk.diagnostics["held"] == 1.0
    assert chunk.diagnostics["fell_back"] == 0.0


def test_a_gate_needs_no_time_for_a_search_to_look_at_one_chunk(toy, clock, seen, goal):
    there = {"step": goal / 2, "actions": 2}
    planner, policy, dynamics = planner_of(
        toy, clock, ms_per_row=2.0, policy=there, mode="gate", deadline_ms=20.0
    )  # two frames of one candidate: 4.8 ms, of four: 19.2
    chunks = [planner.predict_chunk(seen(index)) for index in range(12)]
    assert [chunk.diagnostics["fell_back"] for chunk in chunks[1:]] == [0.0] * 11
    assert [chunk.diagnostics["deadline_missed"] for chunk in chunks] == [0.0] * 12
    assert dynamics.calls[-1] == (1, 1)


def test_the_horizon_follows_from_the_time_that_drawing_samples_has_left(toy, clock, seen):
    planner, policy, _ = planner_of(
        toy,
        clock,
        ms_per_row=1.0,
        mode="best-of-n",
        deadline_ms=32.0,
        candidates=8,
        elites=4,
        final_steps=1,
    )
    policy.can_sample = True

    def draw(observation, count, temperature, seed):
        clock.cost(2.0 * count)
        return np.tile(policy.actions, (count, 1, 1))

    policy.sample_chunks = draw
    planner._costs.record(4, 1, 4e6)
    planner._sampling_ns = 2e6
    chunk = planner.predict_chunk(seen())
    # 30.4 ms of 32 may be used; 4 samples take 8 of them, so that three frames of four candidates
    # (14.4 ms) fit and four (19.2) do as well; eight would not.
    assert chunk.diagnostics["fell_back"] == 0.0
    assert chunk.diagnostics["horizon_frames"] == 4
    assert chunk.diagnostics["imagined"] == 4


# --- what does not fit --------------------------------------------------------------------------


def test_a_horizon_beyond_the_trained_context_is_refused(toy, clock):
    with pytest.raises(PlannerError, match=r"horizon: expected at most 12 actions .* got 14"):
        planner_of(toy, clock, horizon_frames=7)


def test_a_policy_at_another_rate_is_refused(toy, clock, seen):
    planner, _, _ = planner_of(toy, clock, policy={"rate_hz": 5.0})
    with pytest.raises(PlannerError, match="imagines actions at 10 Hz, the policy's are at 5 Hz"):
        planner.predict_chunk(seen())


def test_the_policys_own_gate_is_asked(toy, clock):
    planner, policy, _ = planner_of(toy, clock)
    assert isinstance(planner, SelfChecking)
    limits = ToolLimits(1.0, 1.0, 1.0)
    planner.check_fit(limits)  # the toy has none

    def refuse(limits):
        raise UnfitPolicyError("it sleeps")

    policy.check_fit = refuse
    with pytest.raises(UnfitPolicyError, match="it sleeps"):
        planner.check_fit(limits)
