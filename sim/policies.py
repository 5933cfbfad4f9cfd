"""Policies that need no training: standing still, and the scripted experts of an environment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from policies.interface import ACTION_DIM, ActionChunk, Observation, Policy
from sim.env import CONTROL_RATE_HZ, TabletopEnv

CHUNK_STEPS = 8  # of `ExpertChunkPolicy`


class ZeroPolicy:
    """Does nothing: all numbers of its actions are zero (the gripper closes). A lower bound."""

    name = "zero"
    cameras: tuple[str, ...] = ()

    def reset(self, seed: int | None = None) -> None:
        """It remembers nothing."""

    def predict_chunk(self, observation: Observation) -> ActionChunk:
        return ActionChunk(np.zeros((1, ACTION_DIM)), observation.stamp_ns, 1.0 / CONTROL_RATE_HZ)


class ExpertPolicy:
    """The task's expert, bound to one environment whose true state it reads. An upper bound."""

    name = "expert"
    cameras: tuple[str, ...] = ()

    def __init__(self, env: TabletopEnv) -> None:
        self._env = env

    def reset(self, seed: int | None = None) -> None:
        """It remembers nothing."""

    def predict_chunk(self, observation: Observation) -> ActionChunk:
        action = self._env.expert_action()
        return ActionChunk(action[None], observation.stamp_ns, 1.0 / CONTROL_RATE_HZ)  # (1, 7)


class ExpertChunkPolicy:
    """The expert's next actions, rolled forward in the environment, which is then put back.

    Carried out without delay they are exactly what the expert does; late, they show what a delay
    alone costs a policy that predicts chunks.
    """

    name = "expert-chunk"
    cameras: tuple[str, ...] = ()

    def __init__(self, env: TabletopEnv, steps: int = CHUNK_STEPS) -> None:
        self._env = env
        self._steps = steps

    def reset(self, seed: int | None = None) -> None:
        """It remembers nothing."""

    def predict_chunk(self, observation: Observation) -> ActionChunk:
        world, _ = self._env.running()
        before = world.snapshot()
        actions = []
        for _ in range(self._steps):
            actions.append(self._env.expert_action())
            self._env.move(actions[-1])
        world.restore(before)
        return ActionChunk(np.stack(actions), observation.stamp_ns, 1.0 / CONTROL_RATE_HZ)  # (k, 7)


EXPERTS: dict[str, Callable[[TabletopEnv], Policy]] = {
    ExpertPolicy.name: ExpertPolicy,
    ExpertChunkPolicy.name: ExpertChunkPolicy,
}
SCRIPTED = (ExpertPolicy.name, ZeroPolicy.name, ExpertChunkPolicy.name)
