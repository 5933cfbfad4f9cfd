"""Pressed means: deep enough, by the robot."""

import pytest


@pytest.mark.parametrize("depth_m", [0.004, 0.012])
def test_a_cap_that_is_down_without_a_touch_is_not_pressed(begin, depth_m):
    env = begin("PressButton")
    world, episode = env.running()
    world.data.qpos[world.model.joint(episode.target).qposadr[0]] = depth_m
    world.advance(0.004)
    assert not env.succeeded()


def test_it_springs_back(begin, let_expert_act):
    env = begin("PressButton")
    world, episode = env.running()
    assert let_expert_act(env)
    assert world.is_touched(episode.target) and world.travel(episode.target) > 0.008
    for _ in range(6):
        env.move([0, 0, 0.05, 0, 0, 0, 0.0])
    assert world.travel(episode.target) < 0.001
    assert not env.succeeded()


def test_another_button_does_not_count(begin, let_expert_act):
    env = begin("PressButton")
    _, episode = env.running()
    other = next(name for name in env.task.targets(episode) if name != episode.target)
    env.reset(seed=0, options={"target": other})
    assert let_expert_act(env)
    env.episode = episode
    assert not env.succeeded()
