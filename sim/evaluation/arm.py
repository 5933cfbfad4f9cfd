"""The simulated arm between two answers of the policy: it goes on with what it was told, or holds.

Time is counted in physics steps ("ticks") from the reset, so that every delay falls on one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sim.env import CONTROL_RATE_HZ, TabletopEnv
from sim.evaluation.smoothness import Smoothness
from sim.evaluation.timing import Row
from sim.kinematics import displacement, fixed_axis_rotation
from sim.tabletop import Tabletop
from sim.tasks import Episode

LIFTED_M = 0.01  # above where it stood: pushing an item between closed fingers is not holding it


class Arm:
    """Carries out rows of actions in `env`, until the task succeeds or its time is over."""

    def __init__(self, env: TabletopEnv, on_step: Callable[[TabletopEnv], None]) -> None:
        """`on_step` is called at every action's time, 10 times a second, before it."""
        world, episode = env.running()
        self._env = env
        self._on_step = on_step
        self._timestep_s = float(world.model.opt.timestep)
        self.tick_ns = round(1e9 * self._timestep_s)
        self.period = round(1.0 / CONTROL_RATE_HZ / self._timestep_s)  # [ticks] for one action
        self._end = env.task.max_steps * self.period
        self._rows: deque[Row] = deque()
        self._next_frame = 0
        self._target = _Target(world, episode)
        self.now = 0  # [ticks] since the reset
        self.idle = 0  # [ticks] without anything to do
        self.success = False
        self.smoothness = Smoothness()
        self.lifted = False  # the fingers have held the item that is asked for above its place

    @property
    def done(self) -> bool:
        return self.success or self.now >= self._end

    @property
    def holding(self) -> bool:
        """Whether the item that is asked for is between the fingers and off its place."""
        return self._target.is_lifted()

    def follow(self, rows: Sequence[Row]) -> None:
        """From now on do this; what was left of the last answer is dropped."""
        self._rows = deque(rows)

    def run_until(self, tick: int) -> None:
        """Let the world go on to `tick`, or to the end of the episode."""
        world, _ = self._env.running()
        while self.now < min(tick, self._end) and not self.success:
            if self.now >= self._next_frame:
                self._on_step(self._env)
                self._next_frame += self.period
            with self.smoothness.watching(world):
                self._advance(min(tick, self._end) - self.now)
            self.success = self._env.succeeded()
            self.lifted = self.lifted or self.holding

    def _advance(self, most: int) -> None:
        """One action, or as much of it as fits into `most` ticks; at rest, up to one's time."""
        if not self._rows:
            ticks = min(most, self.period)
            self._env.hold(ticks * self._timestep_s)
            self.idle += ticks
        else:
            row = self._rows.popleft()
            ticks = min(most, row.ticks)
            action = displacement_of(self._env, row.action, row.absolute)
            if ticks < row.ticks:
                action = np.concatenate([action[:6] * (ticks / row.ticks), action[6:]])
                self._rows.appendleft(row.rest(ticks))
            self._env.move(action, ticks * self._timestep_s)
        self.now += ticks


def displacement_of(
    env: TabletopEnv, action: NDArray[np.float64], absolute: bool
) -> NDArray[np.float64]:
    """A chunk's row (7,) as the environment's action: a displacement from the measured pose."""
    if not absolute:
        return action
    world, _ = env.running()
    turn = displacement(world.ee_rotation, fixed_axis_rotation(action[3:6]))
    position = world.ee_position - world.base_position  # base frame, as the action is
    return np.concatenate([action[:3] - position, turn, action[6:]])  # (7,)


class _Target:
    """What the instruction is about, if it is an item that fingers can hold."""

    def __init__(self, world: Tabletop, episode: Episode) -> None:
        self._world = world
        names = {item.name for item in episode.scene.items}
        self._name = episode.target if episode.target in names else None
        if self._name is not None:
            self._stood_at_m = world.item_position(self._name)[2]

    def is_lifted(self) -> bool:
        if self._name is None:
            return False
        height_m = self._world.item_position(self._name)[2] - self._stood_at_m
        return bool(height_m > LIFTED_M and self._world.is_held(self._name))
