"""Begin an episode, and put things where a test wants them."""

import numpy as np
import pytest

from sim.env import TabletopEnv
from sim.tasks import TASKS


@pytest.fixture(scope="session")
def draw():
    """draw(task, seed) -> Episode, without building its world."""
    tasks = {name: task() for name, task in TASKS.items()}
    return lambda name, seed: tasks[name].sample(np.random.default_rng(seed))


@pytest.fixture
def begin():
    """begin(task, seed, wanted) -> environment at the first episode from `seed` on that fits."""

    def begin(task, seed=0, wanted=lambda episode: True):
        env = TabletopEnv(task, cameras=())
        while True:
            env.reset(seed=seed)
            if wanted(env.running()[1]):
                return env
            seed += 1

    return begin


@pytest.fixture
def put():
    """put(env, {body: position}, settle_s): move free bodies there, upright, and let go."""

    def put(env, places, settle_s=0.4):
        world, _ = env.running()
        for name, position in places.items():
            joint = world.model.joint(name)
            start, speed = joint.qposadr[0], joint.dofadr[0]
            world.data.qpos[start : start + 3] = position
            world.data.qpos[start + 3 : start + 7] = (1, 0, 0, 0)
            world.data.qvel[speed : speed + 6] = 0
        world.advance(settle_s)

    return put


@pytest.fixture
def let_expert_act():
    """let_expert_act(env) -> whether it succeeded within the task's steps."""

    def act(env, steps=None):
        for _ in range(steps or env.task.max_steps):
            env.move(env.expert_action())
            if env.succeeded():
                return True
        return False

    return act
