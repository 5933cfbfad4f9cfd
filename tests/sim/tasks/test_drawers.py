"""Open, shut and filled: measured on the drawer's joint and between its walls."""

import numpy as np
import pytest

from sim.scene import HANDLE_OFFSET_M
from sim.tasks import base, open_drawer


def slide(env, name, opening_m):
    world, _ = env.running()
    world.data.qpos[world.model.joint(name).qposadr[0]] = opening_m
    world.advance(0.1)


@pytest.mark.parametrize(
    ("task", "opening_m", "done"),
    [
        ("OpenDrawer", 0.09, True),
        ("OpenDrawer", 0.05, False),
        ("CloseDrawer", 0.0, True),
        ("CloseDrawer", 0.02, False),
    ],
)
def test_how_far_decides(begin, task, opening_m, done):
    env = begin(task)
    slide(env, env.running()[1].target, opening_m)
    assert env.succeeded() == done


@pytest.mark.parametrize("task", ["OpenDrawer", "CloseDrawer"])
def test_the_other_drawer_does_not_count(begin, task, let_expert_act):
    env = begin(task)
    world, episode = env.running()
    other = next(name for name in env.task.targets(episode) if name != episode.target)
    before = world.travel(other)
    assert let_expert_act(env)
    assert world.travel(other) == pytest.approx(before, abs=2e-3)
    env.reset(seed=0, options={"target": other})
    slide(env, episode.target, 0.09 if task == "OpenDrawer" else 0.0)
    assert not env.succeeded()


def test_a_drawer_stays_as_it_was_left(begin):
    env = begin("CloseDrawer")
    world, episode = env.running()
    opening = world.scene.fixture(episode.target).opening_m
    world.advance(1.0)
    assert world.travel(episode.target) == pytest.approx(opening, abs=1e-3)


def test_pulling_needs_the_handle(begin):
    """Fingers in the gap move the drawer; the same motion above the handle does not."""
    env = begin("OpenDrawer")
    world, episode = env.running()
    gap = world.item_position(episode.target) + open_drawer.GAP
    for height, moves in ((0.12, False), (open_drawer.TOOL_HEIGHT_M, True)):
        for goal in ((*gap[:2], 0.14), (*gap[:2], height), (gap[0] + 0.09, gap[1], height)):
            for _ in range(10):
                env.move(base.servo(world, np.array(goal), base.CLOSED))
        assert (world.travel(episode.target) > 0.03) == moves


def test_an_item_must_be_between_the_drawers_walls(begin, put):
    env = begin("PutInDrawer")
    world, episode = env.running()
    inside = env.task.goal_position(world, episode)
    put(env, {episode.target: inside + (0, 0, 0.01)})
    assert env.succeeded()
    handle = world.item_position(episode.destination)
    on_chest = handle - (HANDLE_OFFSET_M + world.travel(episode.destination) + 0.06, 0, -0.05)
    before_it = handle + (0.06, 0, -0.02)
    for place in (on_chest, before_it):
        put(env, {episode.target: place})
        assert not env.succeeded()
