"""Counted means: exactly so many on the mat, and the hand raised."""

import numpy as np
import pytest

from sim.tasks.count import DONE_HEIGHT_M


@pytest.mark.parametrize("count", [1, 2])
def test_exactly_so_many(begin, put, count):
    env = begin("Count", wanted=lambda episode: episode.count == count)
    world, episode = env.running()
    assert ("one cube" if count == 1 else "two cubes") in episode.instruction
    raise_hand(env)
    mat = np.array(world.scene.fixture(episode.destination).position)
    for index, item in enumerate(world.scene.items):
        spot = mat + ((0, 0.055), (0, -0.055), (0, 0))[index]
        put(env, {item.name: [*spot, item.size_m]})
        assert env.succeeded() == (index + 1 == count)


def test_with_the_hand_low_it_is_not_done_yet(begin, put):
    env = begin("Count", wanted=lambda episode: episode.count == 1)
    world, episode = env.running()
    mat = world.scene.fixture(episode.destination).position
    item = world.scene.items[0]
    put(env, {item.name: [*mat, item.size_m]})
    for _ in range(10):
        env.move(np.array([0, 0, 0.15 - world.ee_position[2], 0, 0, 0, 1.0]))
    assert world.ee_position[2] < DONE_HEIGHT_M and not env.succeeded()
    raise_hand(env)
    assert env.succeeded()


@pytest.mark.slow
def test_the_expert_takes_away_what_is_too_much(begin, put, let_expert_act):
    env = begin("Count", wanted=lambda episode: episode.count == 1)
    world, episode = env.running()
    mat = np.array(world.scene.fixture(episode.destination).position)
    first, second = world.scene.items[:2]
    put(env, {first.name: [*(mat + (0, 0.055)), 0.024], second.name: [*(mat - (0, 0.055)), 0.024]})
    assert let_expert_act(env)


def raise_hand(env):
    world, _ = env.running()
    for _ in range(10):
        env.move(np.array([0, 0, 0.25 - world.ee_position[2], 0, 0, 0, 1.0]))
