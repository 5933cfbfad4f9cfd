"""Left, right, in front of and behind are the robot's."""

import numpy as np
import pytest

from sim.tasks.place_relative import RELATIONS, WORDS


def test_left_is_plus_y_and_behind_is_farther_away():
    assert RELATIONS["left"] == (0, 1) and RELATIONS["right"] == (0, -1)
    assert RELATIONS["behind"] == (1, 0) and RELATIONS["front"] == (-1, 0)


@pytest.mark.parametrize("direction", sorted(RELATIONS))
def test_only_the_named_side_counts(begin, put, direction):
    env = begin("PlaceRelative", wanted=lambda episode: episode.direction == direction)
    world, episode = env.running()
    assert any(words in episode.instruction for words in WORDS[direction])
    reference = world.item_position(episode.destination)
    size = world.scene.item(episode.target).size_m
    other = next(item.name for item in world.scene.items[2:])
    put(env, {other: (0.2, 0.45, 0.03)})  # out of the way
    for side, offset in RELATIONS.items():
        put(env, {episode.target: [*(reference[:2] + 0.09 * np.array(offset)), size]})
        assert env.succeeded() == (side == direction)
    along = np.array(RELATIONS[direction])
    for offset in (0.2 * along, 0.09 * along + 0.06 * along[::-1]):  # too far, too far aside
        put(env, {episode.target: [*(reference[:2] + offset), size]})
        assert not env.succeeded()


def test_in_the_air_it_is_not_done(begin, put):
    env = begin("PlaceRelative")
    world, episode = env.running()
    spot = env.task.goal_position(world, episode)
    put(env, {episode.target: spot + (0, 0, 0.1)}, settle_s=0.01)
    assert not env.succeeded()
