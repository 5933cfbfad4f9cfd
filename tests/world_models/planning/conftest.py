"""A toy world for planners: a point that actions move, a clock that only they advance."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from policies.imagination import Judgement
from policies.interface import ActionChunk, Observation

GOAL = np.array([0.10, 0.05, 0.0])  # [m]
NEAR_M = 0.01


def observe(stamp_ns: int = 0, position=(0.0, 0.0, 0.0)) -> Observation:
    return Observation(
        images={"front": np.zeros((16, 16, 3), np.uint8)},
        joint_positions=np.zeros(7),
        gripper_opening=1.0,
        ee_position=np.array(position),
        ee_quaternion=np.array([0.0, 1.0, 0.0, 0.0]),
        instruction="go there",
        stamp_ns=stamp_ns,
    )


@dataclass
class Clock:
    """Stands still until something costs time."""

    now_ns: int = 0

    def __call__(self) -> int:
        return self.now_ns

    def cost(self, ms: float) -> None:
        self.now_ns += round(ms * 1e6)


@dataclass
class PointDynamics:
    """A frame is two displacements of a point (n, 3) and costs `ms_per_row` a row and step."""

    clock: Clock
    ms_per_row: float = 0.0
    max_frames: int | None = 6
    max_decode_steps: int = 8
    actions_per_frame: int = 2
    rate_hz: float = 10.0
    cameras: tuple[str, ...] = ("front",)
    action_range: tuple = (np.r_[[-0.08] * 6, 0.0], np.r_[[0.08] * 6, 1.0])
    calls: list[tuple[int, int]] = field(default_factory=list)  # (rows, decode steps)

    def begin(self, observation):
        return np.array([observation.ee_position])

    def branch(self, situations, count):
        return situations.repeat(count, axis=0)

    def next(self, situations, actions, decode_steps):
        assert actions.shape == (len(situations), 2, 7)
        self.calls.append((len(situations), decode_steps))
        self.clock.cost(self.ms_per_row * len(situations) * decode_steps)
        return situations + actions[:, :, :3].sum(axis=1)


class PointObjective:
    discount = 0.95

    def judge(self, situations):
        distance = np.linalg.norm(situations - GOAL, axis=1)
        return Judgement(
            success=(distance < NEAR_M).astype(float),
            value=0.9 * np.exp(-distance / 0.1),
            eventually=np.exp(-distance / 0.1),
        )


class StraightPolicy:
    """Always the same displacement, told to take `ms`."""

    name = "straight"
    cameras = ("front",)

    def __init__(self, clock, step=(0.0, 0.0, 0.0), ms=0.0, actions=4, rate_hz=10.0):
        self._clock, self._ms, self._dt_s = clock, ms, 1.0 / rate_hz
        self.actions = np.tile(np.r_[step, np.zeros(3), 1.0], (actions, 1))
        self.seeds = []

    def reset(self, seed=None):
        self.seeds.append(seed)

    def predict_chunk(self, observation):
        self._clock.cost(self._ms)
        return ActionChunk(self.actions, observation.stamp_ns, self._dt_s)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def toy(clock):
    """`toy(**)`: a policy, dynamics and objective on one clock."""

    def make(ms_per_row=0.0, **policy):
        return StraightPolicy(clock, **policy), PointDynamics(clock, ms_per_row), PointObjective()

    return make


@pytest.fixture
def seen():
    return observe


@pytest.fixture
def goal():
    return GOAL
