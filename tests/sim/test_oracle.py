import numpy as np
import pytest

from sim.env import TabletopEnv, to_observation
from sim.oracle import SimulatedDynamics, SimulatedObjective
from sim.policies import ExpertPolicy
from sim.tasks import TASKS

TAKEN = ("qpos", "qvel", "act", "ctrl", "qacc_warmstart", "xpos", "site_xpos", "time")


def taken(world):
    """Everything that the world's future depends on, and what was derived from it."""
    return {name: np.copy(getattr(world.data, name)) for name in TAKEN} | {
        name: repr(described(getattr(world, name))) for name in world.STATE
    }


def described(value):
    """Generators by their state: their own text is an address."""
    return value.bit_generator.state if isinstance(value, np.random.Generator) else value


def imagine(dynamics, actions):
    """`actions` (n, h, 7) from the present on."""
    futures = dynamics.branch(dynamics.begin(None), len(actions))
    for step in range(actions.shape[1]):
        futures = dynamics.next(futures, actions[:, step : step + 1], 1)
    return futures


def wild_actions(count, steps):
    rng = np.random.default_rng(0)
    actions = rng.normal(0, 0.03, size=(count, steps, 7))
    actions[..., 6] = rng.random((count, steps))
    return actions


@pytest.mark.parametrize("variant", ["standard", "hard"])
def test_planning_changes_nothing_in_the_world_bit_for_bit(variant):
    untouched, env = (TabletopEnv("PickPlace", cameras=(), variant=variant) for _ in range(2))
    for each in (untouched, env):
        each.reset(seed=4)
        for _ in range(5):
            each.move(each.expert_action())
    before = taken(env.world)
    imagine(SimulatedDynamics(env), wild_actions(4, 5))
    after = taken(env.world)
    for name, value in before.items():
        np.testing.assert_array_equal(value, after[name], err_msg=name)
    for each in (untouched, env):  # and its future is what it would have been
        for _ in range(5):
            each.move(each.expert_action())
    for name, value in taken(untouched.world).items():
        np.testing.assert_array_equal(value, taken(env.world)[name], err_msg=name)


@pytest.mark.parametrize("variant", ["standard", "hard"])
def test_what_is_imagined_is_what_then_happens(variant):
    env = TabletopEnv("Push", cameras=(), variant=variant)
    env.reset(seed=2)
    actions = wild_actions(3, 4)
    futures = imagine(SimulatedDynamics(env), actions)
    for action in actions[1]:
        env.move(action)
    np.testing.assert_array_equal(futures[1].world.data.qpos, env.world.data.qpos)
    np.testing.assert_array_equal(futures[1].world.data.site_xpos, env.world.data.site_xpos)
    assert futures[1].left_m == env.task.distance_left(*env.running())


def test_situations_are_never_changed():
    env = TabletopEnv("Lift", cameras=())
    env.reset(seed=0)
    dynamics = SimulatedDynamics(env)
    now = dynamics.branch(dynamics.begin(None), 2)
    first = dynamics.next(now, wild_actions(2, 1), 1)
    again = dynamics.next(now, wild_actions(2, 1), 1)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.world.data.qpos, other.world.data.qpos)


def test_success_is_certain_once_reached_and_stays():
    env = TabletopEnv("Lift", cameras=())
    values, _ = env.reset(seed=1)
    expert = ExpertPolicy(env)
    actions = []
    snapshot = env.world.snapshot()
    while not env.succeeded():
        actions.append(expert.predict_chunk(to_observation(values)).actions)
        env.move(actions[-1][0])
    env.world.restore(snapshot)
    dynamics, objective = SimulatedDynamics(env), SimulatedObjective()
    futures = dynamics.begin(None)
    seen = []
    for action in [*actions, np.full((1, 7), 0.0)]:
        futures = dynamics.next(futures, action[None], 1)
        seen.append(float(objective.judge(futures).success[0]))
    assert seen == [0.0] * (len(actions) - 1) + [1.0, 1.0]


@pytest.mark.parametrize("task", TASKS)
def test_the_distance_left_falls_as_the_expert_goes_on(task):
    """Overall, not at every step: a detour may come first."""
    env = TabletopEnv(task, cameras=())
    env.reset(seed=3)
    left = [env.task.distance_left(*env.running())]
    while not env.succeeded() and len(left) <= env.task.max_steps:
        env.move(env.expert_action())
        left.append(env.task.distance_left(*env.running()))
    assert np.isfinite(left).all() and min(left) >= 0
    assert left[-1] < 0.7 * left[0]


def test_a_gate_sees_progress_standing_still_and_its_reverse():
    env = TabletopEnv("Lift", cameras=())
    env.reset(seed=0)
    dynamics = SimulatedDynamics(env)
    towards = env.expert_action()
    actions = np.stack([towards, np.r_[np.zeros(6), 1.0], np.r_[-towards[:6], 1.0]])[:, None]
    judged = SimulatedObjective().judge(imagine(dynamics, actions))
    assert judged.eventually[0] == 1.0
    assert judged.eventually[1] == pytest.approx(0.5, abs=0.2)
    assert judged.eventually[2] == 0.0
    assert judged.value[0] > judged.value[1] > judged.value[2]
