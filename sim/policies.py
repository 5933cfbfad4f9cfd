"""Policies that need no training: standing still, the scripted experts of an environment, and any
policy with a shaking hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from policies.interface import ACTION_DIM, ActionChunk, ActionError, Observation, Policy
from sim.env import ACTION_HIGH, ACTION_LOW, CONTROL_RATE_HZ, TabletopEnv

CHUNK_STEPS = 8  # of `ExpertChunkPolicy`
NOISY = "noisy:"  # noisy:LEVEL:POLICY
NOISE_CORRELATION = 0.6  # from one action to the next


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


class NoisyPolicy:
    """A policy whose hand shakes: Gaussian noise on its displacements, correlated over time.

    Policies of the same kind that are better and worse by degrees, without training any.
    """

    def __init__(self, policy: Policy, level_cm: float) -> None:
        """`level_cm`: standard deviation along an axis; of rotations 0.02 rad for each cm."""
        self.name = f"{NOISY}{level_cm:g}:{policy.name}"
        self.cameras = policy.cameras
        self._policy = policy
        self._std = level_cm * np.array([0.01] * 3 + [0.02] * 3 + [0.0])  # [m], [rad], -
        self.reset()

    def reset(self, seed: int | None = None) -> None:
        self._policy.reset(seed)
        self._rng = np.random.default_rng([seed or 0, 0x5A4E])
        self._noise = np.zeros(ACTION_DIM)

    def predict_chunk(self, observation: Observation) -> ActionChunk:
        """Raises `ActionError` for poses: only displacements shake."""
        chunk = self._policy.predict_chunk(observation)
        if chunk.mode != "delta":
            raise ActionError(f"{self.name}: expected displacements, got mode {chunk.mode!r}")
        actions = [np.clip(row + self._next(), ACTION_LOW, ACTION_HIGH) for row in chunk.actions]
        return replace(chunk, actions=np.stack(actions))  # (k, 7)

    def _next(self) -> NDArray[np.float64]:
        fresh = self._std * self._rng.standard_normal(ACTION_DIM)
        keep = NOISE_CORRELATION
        self._noise = keep * self._noise + np.sqrt(1 - keep**2) * fresh
        return self._noise


def split_noise(policy: str) -> tuple[float, str]:
    """(level [cm], the policy itself) of `noisy:LEVEL:POLICY`; level 0 for any other name.

    Raises `ValueError` for a level that is none.
    """
    if not policy.startswith(NOISY):
        return 0.0, policy
    text, _, base = policy.removeprefix(NOISY).partition(":")
    try:
        level_cm = float(text)
    except ValueError:
        level_cm = math.nan
    if not (0 <= level_cm < math.inf and base):
        raise ValueError(
            f"policy: expected {NOISY}LEVEL:POLICY with a level of 0 cm or more, got {policy!r}"
        )
    return level_cm, base


def load_named(
    name: str,
    device: str = "cpu",
    unnorm_key: str | None = None,
    quantization: str | None = None,
    dtype: str = "float32",
) -> Policy:
    """`zero`, or what `policies.factory.load_policy` takes; either with a shaking hand."""
    level_cm, base = split_noise(name)
    policy: Policy
    if base == ZeroPolicy.name:
        policy = ZeroPolicy()
    else:
        from policies.factory import load_policy

        policy = load_policy(base, device, unnorm_key, dtype, quantization)
    return NoisyPolicy(policy, level_cm) if level_cm else policy


EXPERTS: dict[str, Callable[[TabletopEnv], Policy]] = {
    ExpertPolicy.name: ExpertPolicy,
    ExpertChunkPolicy.name: ExpertChunkPolicy,
}
SCRIPTED = (ExpertPolicy.name, ZeroPolicy.name, ExpertChunkPolicy.name)
