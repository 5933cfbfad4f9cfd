"""What every task promises: its draws, its grammar, and an expert that can do it."""

import hashlib

import numpy as np
import pytest

from policies.spaces import CHARACTERS
from sim.env import TabletopEnv
from sim.rollout import Perturbation, demonstrate
from sim.tasks import CORE_TASKS, TASKS

NEW_TASKS = sorted(set(TASKS) - set(CORE_TASKS))


def test_there_are_at_least_twelve_and_their_names_are_theirs():
    assert len(TASKS) >= 12
    assert all(task.name == name for name, task in TASKS.items())


@pytest.mark.parametrize("name", sorted(TASKS))
def test_the_same_seed_draws_the_same_episode(name, draw):
    for seed in range(3):
        assert draw(name, seed) == draw(name, seed)
    assert draw(name, 0) != draw(name, 1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Lift", "3d74380151374f73"), ("PickPlace", "fe8ca0cf7dc17a98"), ("Push", "6e55d5ed3277914b")],
)
def test_the_first_tasks_draw_what_the_shipped_policy_was_measured_on(name, expected, draw):
    digest = hashlib.sha256()
    for seed in range(1000, 1020):
        episode = draw(name, seed)
        items = [(i.shape, i.color, i.position, i.yaw_rad, i.size_m) for i in episode.scene.items]
        words = (episode.instruction, episode.target, episode.destination, episode.direction)
        digest.update(repr((words, items)).encode())
    assert digest.hexdigest()[:16] == expected


@pytest.mark.parametrize("name", sorted(TASKS))
def test_instructions_keep_to_their_alphabet_and_length_and_vary(name, draw):
    instructions = {draw(name, seed).instruction for seed in range(40)}
    assert all(0 < len(words) <= 200 for words in instructions)
    assert all(set(words) <= set(CHARACTERS) for words in instructions)
    assert not any("{" in words or "  " in words for words in instructions)
    assert len(instructions) >= 4


@pytest.mark.parametrize("name", sorted(name for name, task in TASKS.items() if task.swappable))
def test_something_else_can_be_named_in_every_scene(name, draw):
    task = TASKS[name]()
    rng = np.random.default_rng(0)
    for seed in range(20):
        episode = draw(name, seed)
        others = [other for other in task.targets(episode) if other != episode.target]
        assert others and episode.target in episode.instruction
        changed = task.retarget(rng, episode, others[0])
        assert others[0] in changed.instruction and changed.scene == episode.scene


@pytest.mark.parametrize("name", sorted(n for n, task in TASKS.items() if not task.swappable))
def test_where_nothing_else_can_be_named_that_is_said(name, draw):
    with pytest.raises(ValueError, match=f"target: {name}'s instruction cannot be about"):
        TASKS[name]().retarget(np.random.default_rng(0), draw(name, 0), "red cube")


@pytest.mark.parametrize("name", NEW_TASKS)
def test_it_is_not_done_at_the_start_and_doing_nothing_does_not_help(name, begin):
    for seed in range(3):
        env = begin(name, seed)
        assert not env.succeeded()
        world, _ = env.running()
        world.advance(0.5)
        assert not env.succeeded()


@pytest.mark.slow
@pytest.mark.parametrize("name", NEW_TASKS)
def test_the_expert_succeeds(name, begin, let_expert_act):
    for seed in range(500, 510):
        env = begin(name, seed)
        world, episode = env.running()
        first = env.task.first_touches(world, episode)
        assert let_expert_act(env), f"seed {seed}: {episode.instruction}"
        assert world.first_touched in first


@pytest.mark.slow
@pytest.mark.parametrize("name", NEW_TASKS)
def test_the_expert_recovers_from_disturbances(name):
    env = TabletopEnv(name, cameras=())
    outcomes = [demonstrate(env, seed, Perturbation(0.35)).success for seed in range(600, 612)]
    assert sum(outcomes) >= 10
