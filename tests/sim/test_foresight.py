import itertools

import numpy as np
import pytest

from sim.env import TabletopEnv
from sim.foresight import expert_chunk
from sim.pretraining import ViewSampler
from sim.views import load_views, make_views


@pytest.mark.parametrize("task", ["Lift", "PickPlace", "Push"])
def test_the_chunk_is_what_the_expert_then_does(task):
    env = TabletopEnv(task, cameras=())
    env.reset(seed=3)
    for _ in range(4):
        env.move(env.expert_action())
    world, episode = env.running()
    before = world.snapshot()
    chunk = expert_chunk(world, env.task, episode, env.kinematics, 4)
    after = world.snapshot()
    np.testing.assert_array_equal(before.data.qpos, after.data.qpos)
    np.testing.assert_array_equal(before.data.site_xpos, after.data.site_xpos)
    np.testing.assert_array_equal(before.attributes["_command"], after.attributes["_command"])
    for action in chunk:
        np.testing.assert_array_equal(env.expert_action(), action)
        env.move(action)


def test_touching_while_looking_ahead_leaves_no_trace():
    env = TabletopEnv("Lift", cameras=())
    env.reset(seed=0)
    world, episode = env.running()
    expert_chunk(world, env.task, episode, env.kinematics, 15)  # grasps
    assert world.first_touched is None
    assert not world.is_held(episode.target)


def views(chunk_length: int, count: int):
    sampler = ViewSampler(np.random.default_rng(5), chunk_length)
    return list(itertools.islice(iter(sampler), count))


def test_longer_labels_leave_the_views_as_they_are():
    for short, long in zip(views(1, 3), views(3, 3), strict=True):
        np.testing.assert_array_equal(short.image, long.image)
        np.testing.assert_array_equal(short.actions, long.actions)
        assert short.later_actions.shape == (6, 0, 7)
        assert long.later_actions.shape == (6, 2, 7)
        assert np.isfinite(long.later_actions).all()


def test_shards_with_labels_of_different_lengths_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("sim.views.SHARD_VIEWS", 2)
    list(make_views(tmp_path, 2, 0, 28, workers=1))
    assert load_views(tmp_path)["later_actions"].shape == (2, 6, 0, 7)
    list(make_views(tmp_path, 4, 0, 28, workers=1, chunk_length=3))
    with pytest.raises(ValueError, match=r"labels of one length in all shards, got \[1, 3\]"):
        load_views(tmp_path)
