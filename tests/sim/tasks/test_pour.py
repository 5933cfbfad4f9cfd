"""Poured means: most of the cup's beads in the bowl, the cup not."""

import numpy as np
import pytest

from sim.tasks.pour import BEADS


def fill(env, put, bowl, count):
    """Put `count` of the target's beads into a bowl."""
    world, episode = env.running()
    heap = world.scene.grains[0]
    assert heap.position == world.scene.item(episode.target).position
    angles = np.arange(count) * 2 * np.pi / BEADS
    ring = 0.03 * np.stack([np.cos(angles), np.sin(angles), np.zeros(count)], axis=1)
    places = world.item_position(bowl) + ring + (0, 0, 0.015)
    put(env, dict(zip(heap.grain_names, places, strict=False)))


@pytest.mark.parametrize(("count", "done"), [(10, True), (8, True), (7, False)])
def test_four_of_five_beads_are_enough(begin, put, count, done):
    env = begin("Pour")
    fill(env, put, env.running()[1].destination, count)
    assert env.succeeded() == done


def test_beads_in_the_other_bowl_do_not_count(begin, put):
    env = begin("Pour", wanted=lambda episode: len(episode.scene.items) == 4)
    _, episode = env.running()
    other = next(
        item.name
        for item in episode.scene.items
        if item.is_bowl and item.name != episode.destination
    )
    fill(env, put, other, BEADS)
    assert not env.succeeded()


def test_the_cup_in_the_bowl_is_not_pouring(begin, put):
    env = begin("Pour")
    world, episode = env.running()
    bowl = world.item_position(episode.destination)
    cup = world.item_position(episode.target)
    shift = bowl - cup + (0, 0, cup[2] + 0.008)
    beads = world.scene.grains[0]
    places = dict(zip(beads.grain_names, world.grain_positions(beads.name) + shift, strict=True))
    put(env, {episode.target: cup + shift, **places}, settle_s=0.2)
    assert not env.succeeded()


def test_beads_stay_in_a_cup_that_is_carried_upright(begin):
    env = begin("Pour")
    world, episode = env.running()
    while not (world.is_held(episode.target) and world.ee_position[2] > 0.13):
        env.move(env.expert_action())
    offsets = world.grain_positions(world.scene.grains[0].name) - world.item_position(
        episode.target
    )
    assert np.all(np.linalg.norm(offsets[:, :2], axis=1) < 0.03)
