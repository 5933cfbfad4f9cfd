"""Two stages: both parts must be done; the expert does them in order and leaves done ones be."""

import numpy as np
import pytest


def of(*tasks):
    return lambda episode: tuple(stage.task for stage in episode.stages) == tasks


KINDS = [
    ("OpenDrawer", "PutInDrawer"),
    ("PutInDrawer", "CloseDrawer"),
    ("PickPlace", "Push"),
    ("Stack", "PickPlace"),
]


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_the_instruction_names_both_parts_in_order(begin, kind):
    env = begin("TwoStage", wanted=of(*kind))
    _, episode = env.running()
    first, second = episode.stages
    words = episode.instruction
    assert words.index(first.target) < words.rindex(second.target)
    assert any(link in words for link in (", then ", " and then ", ", and after that "))


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
@pytest.mark.slow
def test_one_part_alone_is_not_enough(begin, let_expert_act, kind):
    env = begin("TwoStage", wanted=of(*kind))
    world, episode = env.running()
    done_first = False
    for _ in range(env.task.max_steps):
        env.move(env.expert_action())
        parts = [env.task._tasks[s.task].success(world, episode.at(s)) for s in episode.stages]
        assert env.succeeded() == all(parts)
        done_first |= parts == [True, False]
        if env.succeeded():
            break
    assert done_first and env.succeeded()


def test_a_drawer_that_is_shut_again_is_opened_again(begin):
    env = begin("TwoStage", wanted=of("OpenDrawer", "PutInDrawer"))
    world, episode = env.running()
    drawer = episode.stages[0].target
    address = world.model.joint(drawer).qposadr[0]
    np.testing.assert_allclose(
        env.task.target_position(world, episode), world.item_position(drawer)
    )
    world.data.qpos[address] = 0.09
    world.advance(0.01)
    item = world.item_position(episode.stages[1].target)
    np.testing.assert_allclose(env.task.target_position(world, episode), item)
    world.data.qpos[address] = 0.0
    world.advance(0.01)
    np.testing.assert_allclose(
        env.task.target_position(world, episode), world.item_position(drawer)
    )
