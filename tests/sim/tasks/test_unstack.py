"""Unstacked means: standing on the table."""

from sim.tasks.unstack import Unstack


def test_there_are_two_stacks_and_the_upper_one_is_named(draw):
    for seed in range(10):
        episode = draw("Unstack", seed)
        uppers = Unstack().targets(episode)
        assert len(uppers) == 2 and episode.target in uppers
        below = [item for item in episode.scene.items if item.elevation_m == 0]
        assert sum(item.name in episode.instruction for item in below) == 1


def test_standing_on_the_table_it_is_done_on_another_stack_it_is_not(begin, put):
    env = begin("Unstack")
    world, episode = env.running()
    item = world.scene.item(episode.target)
    assert world.is_touching(episode.target, world.scene.items[0].name)
    put(env, {episode.target: (0.62, 0.24, item.size_m)})
    assert env.succeeded()
    other = world.scene.items[3]
    top = world.item_position(other.name) + (0, 0, item.size_m + other.size_m + 0.001)
    put(env, {episode.target: top})
    assert not env.succeeded()
