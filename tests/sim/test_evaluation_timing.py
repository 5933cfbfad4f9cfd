"""Delays: when answers arrive, what a late chunk becomes, and what the arm does meanwhile."""

import numpy as np
import pytest

from policies.interface import ActionChunk
from sim.env import TabletopEnv
from sim.evaluation import Timing, run_episode
from sim.evaluation.timing import Row, next_look, rows_on_arrival
from sim.policies import ExpertChunkPolicy, ExpertPolicy, ZeroPolicy

TICK_NS = 4_000_000  # the simulator's physics step
PERIOD = 25  # [ticks] of an action


def drift_chunk(stamp_ns, rows=8, step_m=0.01):
    actions = np.zeros((rows, 7))
    actions[:, 1] = step_m
    actions[:, 6] = 1.0
    return ActionChunk(actions, stamp_ns, 0.1)


class Drifter(ZeroPolicy):
    """Wants to move 1 cm along y per action, always; notes when it looks and what it sees."""

    def __init__(self, rows=8):
        self.rows = rows
        self.seen = []

    def reset(self, seed=None):
        self.seen.clear()

    def predict_chunk(self, observation):
        self.seen.append(observation)
        return drift_chunk(observation.stamp_ns, self.rows)

    @property
    def looks_ms(self):
        first = self.seen[0].stamp_ns
        return [round((each.stamp_ns - first) / 1e6) for each in self.seen]


def drift(policy, **changes):
    env = TabletopEnv("Push", cameras=())
    result = run_episode(env, policy, 0, **changes)
    return env, result


def test_delays_are_counted_in_physics_steps_rounded_up():
    assert Timing(delay_ms=100.0).delay_ticks(999.0, 4.0) == 25
    assert Timing(delay_ms=101.0).delay_ticks(999.0, 4.0) == 26
    assert Timing(delay_ms=100.0, realtime=True).delay_ticks(59.0, 4.0) == 40
    assert Timing().delay_ticks(999.0, 4.0) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"delay_ms": -1.0}, "delay_ms: expected 0 to 10000, got -1.0"),
        ({"delay_ms": float("nan")}, "delay_ms: expected 0 to 10000, got nan"),
        ({"late_chunks": "blend"}, "late_chunks: expected one of align, naive, got 'blend'"),
    ],
)
def test_bad_timings(changes, message):
    with pytest.raises(ValueError, match=message):
        Timing(**changes)


def arrival(policy, late_ticks, held_ticks, way, rows=4):
    env = TabletopEnv("Push", cameras=())
    env.reset(seed=0)
    from sim.env import to_observation

    seen = to_observation(env.observe()[0], 10_000_000_000)
    return seen, rows_on_arrival(
        drift_chunk(seen.stamp_ns, rows), seen, late_ticks, held_ticks, TICK_NS, way
    )


def test_naive_begins_with_the_first_action():
    _, rows = arrival(None, 60, 0, "naive")
    assert [row.ticks for row in rows] == [PERIOD] * 4
    assert not any(row.absolute for row in rows)


def test_aligned_keeps_the_times_of_what_is_left():
    seen, rows = arrival(None, 60, 0, "align")  # 240 ms: two are over, 60 ms left of the third
    assert [row.ticks for row in rows] == [15, PERIOD]
    wanted = [row.action[1] - seen.ee_position[1] for row in rows]
    np.testing.assert_allclose(wanted, [0.03, 0.04])


def test_time_in_which_the_arm_stood_still_does_not_count():
    _, rows = arrival(None, 60, 60, "align")
    assert [row.ticks for row in rows] == [PERIOD] * 4
    _, rows = arrival(None, 60, 35, "align")  # 100 ms of it moved
    assert [row.ticks for row in rows] == [PERIOD] * 3


def test_of_one_late_action_the_pose_stays():
    seen, rows = arrival(None, 60, 0, "align", rows=1)
    assert [row.ticks for row in rows] == [PERIOD]
    assert rows[0].action[1] - seen.ee_position[1] == pytest.approx(0.01)


def test_aligning_another_rate_is_refused():
    env = TabletopEnv("Push", cameras=())
    env.reset(seed=0)
    from sim.env import to_observation

    seen = to_observation(env.observe()[0], 0)
    chunk = ActionChunk(np.zeros((2, 7)), 0, 1 / 30)
    with pytest.raises(ValueError, match="10 Hz, this policy's are at 30 Hz; choose naive"):
        rows_on_arrival(chunk, seen, 25, 0, TICK_NS, "align")


def test_the_rest_of_an_interrupted_displacement():
    row = Row(np.array([0.1, 0, 0, 0, 0, 0.2, 0.5]), absolute=False, ticks=25)
    np.testing.assert_allclose(row.rest(10).action, [0.06, 0, 0, 0, 0, 0.12, 0.5])
    assert row.rest(10).ticks == 15


def test_when_the_policy_looks_again():
    rows = [Row(np.zeros(7), False, PERIOD)] * 8
    together, ahead = Timing(200.0), Timing(200.0, asynchronous=True)
    # Looked at 0, arrived at 50; 8 actions are done at 250, 4 at 150.
    assert next_look(together, 0, 50, rows, None, PERIOD) == 250
    assert next_look(together, 0, 50, rows, 4, PERIOD) == 150
    assert next_look(ahead, 0, 50, rows, None, PERIOD) == 200
    assert next_look(ahead, 0, 50, rows, 4, PERIOD) == 100
    assert next_look(ahead, 0, 50, rows, 1, PERIOD) == 50  # one inference at a time
    assert next_look(ahead, 0, 10, rows[:1], None, PERIOD) == 25  # and not faster than 10 Hz


def test_looks_come_a_delay_and_a_chunk_apart():
    policy = Drifter()
    drift(policy, timing=Timing(200.0))
    assert np.diff(policy.looks_ms).tolist() == [1000] * (len(policy.looks_ms) - 1)
    drift(policy, timing=Timing(200.0, asynchronous=True))
    assert np.diff(policy.looks_ms)[1:].tolist() == [600] * (len(policy.looks_ms) - 2)


def test_waiting_costs_time_and_is_told():
    _, waiting = drift(Drifter(), timing=Timing(200.0))
    assert waiting.steps == 60
    assert waiting.idle_share == pytest.approx(6 * 0.2 / 6.0)
    _, ahead = drift(Drifter(), timing=Timing(200.0, asynchronous=True))
    assert ahead.idle_share == pytest.approx(0.2 / 6.0)  # for the first answer only


def test_the_arm_holds_until_the_first_answer():
    policy = Drifter(rows=1)
    drift(policy, timing=Timing(400.0))
    first, second = policy.seen[0].ee_position, policy.seen[1].ee_position
    assert second[1] - first[1] == pytest.approx(0.01, abs=2e-3)  # one action, no more


class GoTo(Drifter):
    """Plans eight equal steps along y from where it sees the tool to a place 8 cm away."""

    def predict_chunk(self, observation):
        self.seen.append(observation)
        goal_y = self.seen[0].ee_position[1] + 0.08
        step_m = (goal_y - observation.ee_position[1]) / 8
        return drift_chunk(observation.stamp_ns, 8, step_m)


def test_what_the_arm_did_meanwhile_is_done_again_unless_aligned():
    """Looks after four of eight actions; the other four run while the answer is on its way."""
    beyond_m = {}
    for way in ("naive", "align"):
        policy = GoTo()
        drift(policy, execute_steps=4, timing=Timing(400.0, late_chunks=way))
        y = np.array([seen.ee_position[1] for seen in policy.seen])
        beyond_m[way] = y.max() - y[0] - 0.08
    assert beyond_m["naive"] > 0.01
    assert beyond_m["align"] < 0.005


def test_without_a_delay_the_ways_are_one():
    env = TabletopEnv("Lift", cameras=())
    ends = []
    for way in ("naive", "align"):
        run_episode(env, ExpertChunkPolicy(env), 3, timing=Timing(0.0, late_chunks=way))
        ends.append(env.running()[0].ee_position)
    np.testing.assert_array_equal(*ends)


def test_the_experts_chunk_is_what_the_expert_does():
    env = TabletopEnv("PickPlace", cameras=())
    alone = run_episode(env, ExpertPolicy(env), 5)
    at_end = env.running()[0].joint_positions
    chunked = run_episode(env, ExpertChunkPolicy(env), 5)
    assert (chunked.success, chunked.steps) == (alone.success, alone.steps)
    np.testing.assert_array_equal(env.running()[0].joint_positions, at_end)
    assert len(chunked.latencies_ms) < len(alone.latencies_ms)


def test_a_delay_is_deterministic():
    env = TabletopEnv("Lift", cameras=())
    timing = Timing(150.0, asynchronous=True)
    ends = []
    for _ in range(2):
        run_episode(env, ExpertChunkPolicy(env), 3, timing=timing)
        ends.append(env.running()[0].joint_positions)
    np.testing.assert_array_equal(*ends)


class Thinker(ExpertPolicy):
    """The expert, after 30 ms of thought."""

    def predict_chunk(self, observation):
        import time

        time.sleep(0.03)
        return super().predict_chunk(observation)


def test_in_real_time_thinking_costs_simulated_time():
    env = TabletopEnv("Lift", cameras=())
    frozen = run_episode(env, Thinker(env), 3)
    moving = run_episode(env, Thinker(env), 3, timing=Timing(realtime=True))
    assert frozen.idle_share == 0.0
    assert moving.idle_share > 0.1
    assert moving.steps > frozen.steps


@pytest.mark.slow
def test_alignment_saves_a_late_expert():
    """The sweep of docs/evaluation.md in small: 300 ms late, asynchronous."""
    rates = {}
    for way in ("naive", "align"):
        timing = Timing(300.0, late_chunks=way, asynchronous=True)
        env = TabletopEnv("PickPlace", cameras=())
        results = [
            run_episode(env, ExpertChunkPolicy(env), seed, timing=timing) for seed in range(8)
        ]
        rates[way] = np.mean([result.success for result in results])
    assert rates["align"] >= 0.9
    assert rates["naive"] <= 0.5
