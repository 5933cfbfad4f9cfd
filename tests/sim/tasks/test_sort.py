"""Sorted means: every item in the bowl of its color."""


def spots(world, bowl):
    return world.item_position(bowl) + (0, 0, 0.03)


def test_both_must_lie_in_their_own_bowls(begin, put):
    env = begin("Sort")
    world, episode = env.running()
    first, second = episode.stages
    assert first.target.split()[0] == first.destination.split()[0]
    put(env, {first.target: spots(world, first.destination)})
    assert not env.succeeded()
    put(env, {second.target: spots(world, second.destination)})
    assert env.succeeded()
    put(
        env,
        {
            first.target: spots(world, second.destination),
            second.target: spots(world, first.destination),
        },
    )
    assert not env.succeeded()


def test_an_item_without_a_bowl_of_its_color_stays_out(begin, put):
    def has_three(episode):
        return sum(not item.is_bowl for item in episode.scene.items) == 3

    env = begin("Sort", wanted=has_three)
    world, episode = env.running()
    third = world.scene.items[2].name
    assert third not in [stage.target for stage in episode.stages]
    put(env, {stage.target: spots(world, stage.destination) for stage in episode.stages})
    assert env.succeeded()
    bowl = episode.stages[0].destination
    put(env, {third: world.item_position(bowl) + (0.02, 0.02, 0.04)}, settle_s=0.1)
    assert not env.succeeded()
