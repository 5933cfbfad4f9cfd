"""MuJoCo as its own world model: what `policies.imagination` asks for, without an error.

A planner on it shows how much is lost to a learned model. It sees the true state, so it is a
measure, never a policy for a robot. Its aim is success and `Task.distance_left`, not the expert.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.imagination import Judgement
from policies.interface import Observation
from sim.env import TabletopEnv
from sim.kinematics import Kinematics
from sim.motion import ACTION_HIGH, ACTION_LOW, CONTROL_RATE_HZ, carry_out
from sim.tabletop import Tabletop

DISCOUNT = 0.95  # per control step, as the world models' value has it
SCALE_M = 0.15  # of the distance left: the value is exp(-distance / scale)
PROGRESS_M = 0.02  # that makes success certain in the eyes of a gate; so much backwards: failure


@dataclass(frozen=True)
class Future:
    """A world of its own, and what has come of it."""

    world: Tabletop
    done: bool
    left_at_start_m: float  # the distance left where imagining began
    left_m: float  # and now


class SimulatedDynamics:
    """Forks of an environment's world; that one is never touched."""

    actions_per_frame = 1  # success is looked for after every action, as the environment does
    rate_hz = CONTROL_RATE_HZ
    max_frames: int | None = None
    max_decode_steps = 1  # nothing is decoded
    cameras: tuple[str, ...] = ()
    action_range = (ACTION_LOW, ACTION_HIGH)

    def __init__(self, env: TabletopEnv) -> None:
        self._env = env
        self._kinematics = Kinematics()

    def begin(self, observation: Observation) -> tuple[Future, ...]:
        """The environment's present state, whatever was seen of it."""
        world, episode = self._env.running()
        left_m = self._env.task.distance_left(world, episode)
        return (Future(world.fork(), self._env.succeeded(), left_m, left_m),)

    def branch(self, situations: tuple[Future, ...], count: int) -> tuple[Future, ...]:
        return tuple(future for future in situations for _ in range(count))

    def next(
        self, situations: tuple[Future, ...], actions: NDArray[np.float64], decode_steps: int
    ) -> tuple[Future, ...]:
        """One action on; futures in which the task is done stay as they are."""
        return tuple(
            future if future.done else self._next(future, rows[0])
            for future, rows in zip(situations, actions, strict=True)
        )

    def _next(self, future: Future, action: NDArray[np.float64]) -> Future:
        task, (_, episode) = self._env.task, self._env.running()
        world = future.world.fork()
        carry_out(world, self._kinematics, action)
        done = task.success(world, episode)
        return Future(world, done, future.left_at_start_m, task.distance_left(world, episode))


class SimulatedObjective:
    """Success, else how far the work has got."""

    discount = DISCOUNT

    def judge(self, situations: tuple[Future, ...]) -> Judgement:
        progress = np.array([future.left_at_start_m - future.left_m for future in situations])
        return Judgement(
            success=np.array([float(future.done) for future in situations]),
            value=np.array([math.exp(-future.left_m / SCALE_M) for future in situations]),
            eventually=np.clip(0.5 + 0.5 * progress / PROGRESS_M, 0.0, 1.0),
        )
