"""Policies that need no training: standing still, and the scripted expert of an environment."""

from __future__ import annotations

import numpy as np

from policies.interface import ACTION_DIM, ActionChunk, Observation
from sim.env import CONTROL_RATE_HZ, TabletopEnv

SCRIPTED = ("expert", "zero")


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
