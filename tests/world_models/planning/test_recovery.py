"""A policy that is stuck is noticed, and does something else, once each, until it gets on."""

import math
from dataclasses import replace

import numpy as np
import pytest

from policies.interface import ActionChunk
from policies.proposals import LIFT_ACTIONS, LIFT_M, recoveries
from world_models.planning.planner import Planner
from world_models.planning.progress import Progress
from world_models.planning.recovery import Recovery
from world_models.planning.settings import PlannerSettings

STEP_NS = 10**8


def first_stuck(scores, patience_s=1.5):
    """After how many decisions, a tenth of a second apart."""
    progress = Progress(patience_s)
    for index, score in enumerate(scores):
        if progress.stuck(index * STEP_NS):
            return index
        progress.record(index * STEP_NS, score)
    return None


def test_an_imagined_success_that_comes_nearer_is_progress():
    assert first_stuck(0.95 ** np.arange(60, 0, -1)) is None


def test_one_that_stays_as_far_away_is_not():
    assert first_stuck([0.6] * 60) == 15
    falling = [0.8, *np.linspace(0.7, 0.1, 59)]
    assert first_stuck(falling) == 15


def test_a_policy_that_wavers_between_doing_and_waiting_is_stuck_as_well():
    assert first_stuck([0.6, 0.6, 0.98, 0.6, 0.6] * 12) is not None


def test_patience_may_be_infinite_and_a_new_beginning_counts_from_there():
    assert first_stuck([0.6] * 1000, math.inf) is None
    progress = stuck_progress()
    assert progress.stuck(15 * STEP_NS)
    progress.restart()
    assert not progress.stuck(16 * STEP_NS)


def stuck_progress():
    progress = Progress(1.5)
    for index in range(15):
        progress.record(index * STEP_NS, 0.6)
    return progress


@pytest.mark.parametrize("stamp_ns", [60 * 10**9, 0])
def test_a_pause_and_a_clock_set_back_are_none_of_the_policys(stamp_ns):
    progress = stuck_progress()
    assert not progress.stuck(stamp_ns)
    progress.record(stamp_ns, 0.6)
    assert not progress.stuck(stamp_ns + STEP_NS)


def test_recoveries_are_the_fingers_other_ways_and_up():
    chunk = np.random.default_rng(0).normal(size=(8, 7))
    opened, closed, up, up_opened = recoveries(chunk, gripper=0.3)
    for row, opening in ((opened, 1.0), (closed, 0.0)):
        np.testing.assert_array_equal(row[:, :6], chunk[:, :6])
        np.testing.assert_array_equal(row[:, 6], opening)
    for row, opening in ((up, 0.3), (up_opened, 1.0)):
        assert row[:, 2].sum() == pytest.approx(LIFT_M * LIFT_ACTIONS)
        np.testing.assert_array_equal(row[:, [0, 1, 3, 4, 5]], 0.0)
        np.testing.assert_array_equal(row[:, 6], opening)


# --- what was tried, and what is under way --------------------------------------------------------


def stuck_recovery(seen):
    recovery = Recovery(1.5)
    for index in range(15):
        assert not recovery.needed(seen(index * STEP_NS))
        recovery.note(seen(index * STEP_NS), 0.6)
    assert recovery.needed(seen(15 * STEP_NS))
    return recovery


def test_another_instruction_is_another_beginning(seen):
    recovery = stuck_recovery(seen)
    recovery.goes_out(ActionChunk(np.zeros((6, 7)), 15 * STEP_NS, 0.1))
    other = replace(seen(16 * STEP_NS), instruction="go elsewhere")
    assert recovery.rest(other) is None
    assert not recovery.needed(other)


def test_after_some_tries_the_policy_is_left_alone(seen):
    recovery, stamp_ns, tries = Recovery(1.5), 0, 0
    for _ in range(400):
        stamp_ns += STEP_NS
        if recovery.needed(seen(stamp_ns)):
            recovery.begin(np.full((8, 7), tries))
            tries += 1
        recovery.note(seen(stamp_ns), 0.6)
    assert tries == 5


def test_what_was_tried_is_left_out_until_the_policy_gets_further_than_where_it_was_stuck(seen):
    recovery = stuck_recovery(seen)
    others = recoveries(np.zeros((8, 7)), 0.0)
    recovery.begin(others[0])
    assert not recovery.needed(seen(16 * STEP_NS))
    nearly = others + np.r_[0.0005, np.zeros(6)]  # of a policy that stands nearly still
    assert len(recovery.untried(nearly)) == 3
    recovery.note(seen(20 * STEP_NS), 0.5)  # it has lost ground by it, and gains some
    recovery.note(seen(21 * STEP_NS), 0.55)
    assert len(recovery.untried(nearly)) == 3
    for index in range(3):
        recovery.note(seen((22 + index) * STEP_NS), 0.7)
    assert len(recovery.untried(nearly)) == 4


def test_a_recovery_is_carried_out_as_a_whole_by_whoever_asks_after_every_action(seen):
    recovery = Recovery(1.5)
    recovery.needed(seen(0))
    whole = ActionChunk(np.arange(42.0).reshape(6, 7), 5 * STEP_NS, 0.1)
    recovery.goes_out(whole)
    assert recovery.rest(seen(5 * STEP_NS)) is None  # the same picture: somebody asks again
    rest = recovery.rest(seen(7 * STEP_NS))
    np.testing.assert_array_equal(rest.actions, whole.actions[2:])
    assert rest.stamp_ns == 7 * STEP_NS
    assert recovery.rest(seen(11 * STEP_NS)) is None  # over
    assert recovery.rest(seen(0)) is None  # a clock that went back
    recovery.goes_out(None)
    assert recovery.rest(seen(7 * STEP_NS)) is None


# --- within a planner -----------------------------------------------------------------------------


@pytest.fixture
def resting(toy, clock):
    """`resting(mode, **settings)`: a planner around a policy that stays where it is."""

    def make(mode, **settings):
        policy, dynamics, objective = toy()
        trusting = {"gate_threshold": 1.0, "least_gain": 1e6, "candidates": 16, "iterations": 1}
        chosen = PlannerSettings(mode=mode, **{**trusting, **settings})
        planner = Planner(policy, dynamics, objective, chosen, clock)
        planner.reset(seed=0)
        return planner, policy

    return make


@pytest.mark.parametrize("mode", ["gate", "best-of-n", "icem"])
def test_a_policy_that_is_stuck_does_something_else_for_a_while(resting, seen, mode):
    planner, policy = resting(mode)
    recovered = []
    for step in range(40):
        chunk = planner.predict_chunk(seen(step * STEP_NS))
        if chunk.diagnostics["recovered"]:
            recovered.append(step)
            assert len(chunk.actions) == 6
            assert chunk.diagnostics["replanned"] == 1.0
            whole = chunk
        elif recovered and step < recovered[-1] + 6:
            left = whole.actions[step - recovered[-1] :]
            np.testing.assert_array_equal(chunk.actions, left)
        else:
            assert chunk.actions is policy.actions
    assert recovered == [15, 36]  # after 1.5 s, and 1.5 s after the six actions of that


def test_a_recovery_that_was_decided_late_is_counted_once(resting, seen):
    planner, _ = resting("gate")
    first = planner.predict_chunk(seen(0))
    late = {**first.diagnostics, "deadline_missed": 1.0, "recovered": 1.0}
    planner._recovery.goes_out(replace(first, actions=np.zeros((6, 7)), diagnostics=late))
    rest = planner.predict_chunk(seen(2 * STEP_NS))
    assert len(rest.actions) == 4
    assert rest.diagnostics["deadline_missed"] == rest.diagnostics["recovered"] == 0.0


def test_it_takes_the_best_of_what_there_is(resting, seen, goal):
    planner, _ = resting("gate", policy_samples=64)
    for step in range(16):
        chunk = planner.predict_chunk(seen(step * STEP_NS))
    assert chunk.diagnostics["recovered"] == 1.0
    assert chunk.actions[:, :3].sum(axis=0) @ goal > 0  # it rests, and that leads there


def test_one_that_is_left_alone_stays_stuck(resting, seen):
    planner, policy = resting("gate", patience_s=math.inf)
    for step in range(60):
        assert planner.predict_chunk(seen(step * STEP_NS)).actions is policy.actions


def test_one_that_gets_on_is_let_alone(toy, clock, seen, goal):
    policy, dynamics, objective = toy(step=goal / 80, actions=1)
    settings = PlannerSettings(mode="gate", gate_threshold=1.0, candidates=16)
    planner = Planner(policy, dynamics, objective, settings, clock)
    planner.reset(seed=0)
    for step in range(60):
        chunk = planner.predict_chunk(seen(step * STEP_NS, step * goal / 80))
        assert chunk.actions is policy.actions


def test_without_time_for_it_the_policys_own_chunk_goes_out(toy, clock, seen):
    policy, dynamics, objective = toy(ms_per_row=1.0)
    settings = PlannerSettings(mode="gate", gate_threshold=1.0, deadline_ms=7.0, candidates=16)
    planner = Planner(policy, dynamics, objective, settings, clock)
    planner.reset(seed=0)
    for step in range(40):
        chunk = planner.predict_chunk(seen(step * STEP_NS))
        assert chunk.actions is policy.actions
        assert chunk.diagnostics["deadline_missed"] == 0.0


@pytest.mark.parametrize("patience_s", [0.0, -1.0, math.nan])
def test_a_patience_that_is_none_is_refused(patience_s):
    with pytest.raises(ValueError, match="patience_s: expected more than 0, or inf"):
        replace(PlannerSettings(), patience_s=patience_s)
