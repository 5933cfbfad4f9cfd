"""Events: what happened shows in the world, and the world's model is as before afterwards."""

import numpy as np
import pytest

from sim.env import TabletopEnv
from sim.events import EVENTS, event


@pytest.fixture
def env():
    env = TabletopEnv("Push", cameras=("front",), image_size_px=64)
    env.reset(seed=3)
    yield env
    env.close()


def after(env, name, seed=0):
    """(picture, the target's way [m]) half a second on."""
    world, episode = env.running()
    before = world.snapshot()
    start = world.item_position(episode.target)
    if name is None:
        env.hold(0.5)
    else:
        with event(world, name, episode.target, np.random.default_rng(seed)):
            env.hold(0.5)
            picture = world.render("front", 64, 64)
    picture = world.render("front", 64, 64) if name is None else picture
    way = world.item_position(episode.target) - start
    world.restore(before)
    return picture, way


def test_a_push_moves_the_item_and_nothing_falls(env):
    _, way = after(env, "push")
    assert 0.02 < np.linalg.norm(way[:2]) < 0.25 and abs(way[2]) < 0.01
    assert np.linalg.norm(after(env, None)[1]) < 1e-3
    np.testing.assert_array_equal(after(env, "push")[1], way)  # the same draw, the same push
    assert (after(env, "push", seed=1)[1] != way).any()


def test_the_light_goes_down(env):
    bright, dark = after(env, None)[0], after(env, "light")[0]
    assert 0.2 < dark.mean() / bright.mean() < 0.7
    np.testing.assert_array_equal(after(env, None)[0], bright)  # and up again


def test_friction_does_not_show_but_a_pushed_item_slides_on(env):
    np.testing.assert_array_equal(after(env, None)[0], after(env, "friction")[0])
    world, episode = env.running()
    start, ways = world.snapshot(), []
    for name in ("friction", None):
        world.restore(start)
        address = world.model.joint(episode.target).dofadr[0]
        world.data.qvel[address] = 0.3
        before = world.item_position(episode.target)
        if name is None:
            env.hold(0.5)
        else:
            with event(world, name, episode.target, np.random.default_rng(0)):
                env.hold(0.5)
        ways.append(np.linalg.norm(world.item_position(episode.target) - before))
    assert ways[0] > 3 * ways[1]


@pytest.mark.parametrize("name", EVENTS)
def test_the_model_is_as_before_even_when_something_goes_wrong(env, name):
    world, episode = env.running()
    light, friction = world.model.light_diffuse.copy(), world.model.geom_friction.copy()
    ambient = world.model.vis.headlight.ambient.copy()
    with (
        pytest.raises(RuntimeError, match="stopped"),
        event(world, name, episode.target, np.random.default_rng(0)),
    ):
        raise RuntimeError("stopped")
    np.testing.assert_array_equal(world.model.light_diffuse, light)
    np.testing.assert_array_equal(world.model.geom_friction, friction)
    np.testing.assert_array_equal(world.model.vis.headlight.ambient, ambient)


def test_unknown_events_are_refused(env):
    world, episode = env.running()
    with (
        pytest.raises(ValueError, match="event: expected one of push, friction, light"),
        event(world, "rain", episode.target, np.random.default_rng(0)),
    ):
        pass
