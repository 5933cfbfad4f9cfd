"""Stacked means: on top, supported, let go."""

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("aside_m", "done"), [(0.0, True), (0.012, True), (0.06, False)], ids=["on", "askew", "beside"]
)
def test_it_must_stand_on_the_other(begin, put, aside_m, done):
    env = begin("Stack")
    world, episode = env.running()
    sizes = [world.scene.item(name).size_m for name in (episode.target, episode.destination)]
    top = world.item_position(episode.destination) + (aside_m, 0, sum(sizes) + 0.001)
    put(env, {episode.target: top})
    assert env.succeeded() == done


def test_the_wrong_way_round_is_no_success(begin, put):
    env = begin("Stack")
    world, episode = env.running()
    sizes = [world.scene.item(name).size_m for name in (episode.target, episode.destination)]
    top = world.item_position(episode.target) + (0, 0, sum(sizes) + 0.001)
    put(env, {episode.destination: top})
    assert not env.succeeded()


def test_held_above_the_other_it_is_not_done(begin):
    env = begin("Stack")
    world, episode = env.running()
    lowest = np.inf
    while not env.succeeded():
        held = world.is_held(episode.target)
        env.move(env.expert_action())
        if held:
            lowest = min(lowest, world.item_position(episode.target)[2])
    assert lowest < 0.08  # it was there before, still in the hand
    assert not world.is_touched(episode.target)
    assert world.is_touching(episode.target, episode.destination)
