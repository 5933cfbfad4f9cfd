"""The simulated robot in real time, behind controllers and cameras. No ROS; time is an argument."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray

from sim import robot
from sim.randomization.axes import AXES
from sim.randomization.world import RandomizedTabletop
from sim.scenes import find_task
from sim.tabletop import Tabletop
from sim.tasks import Task
from sim.variants import STANDARD, Variant, find_variant
from vla_ros.controllers import TrajectoryFollower

TICK_NS = 8_000_000  # two physics steps
CHECK_EVERY_TICKS = 12  # success is checked at about 10 Hz, as the Gymnasium environment does
MAX_CATCH_UP_NS = 200_000_000  # a simulation further behind the clock than this lets time slip
REAL_AXES = ("latency", "observation")  # not drawn: here time is real


def live_variant(name: str) -> Variant:
    """The variant of that name, without what real time brings by itself; `ValueError`."""
    variant = find_variant(name)
    axes = [axis for axis in AXES if axis not in REAL_AXES]
    return replace(variant, domain=variant.domain.restricted_to(axes))


@dataclass(frozen=True)
class JointMeasurement:
    """What encoders say; arm joints first, then the fingers."""

    positions: NDArray[np.float64]  # (9,) [rad] and [m]
    velocities: NDArray[np.float64]  # (9,) [rad/s] and [m/s]


class Simulation:
    """One robot and its table. `advance_to` lets it catch up with the clock."""

    names = robot.JOINT_NAMES + robot.FINGER_JOINT_NAMES

    def __init__(self, task: str, seed: int, now_ns: int, variant: str = STANDARD) -> None:
        """`task` and `variant` as `sim.env.TabletopEnv` takes them. Raises `ValueError`."""
        self.arm = TrajectoryFollower(
            robot.JOINT_NAMES, robot.POSITION_LOWER_RAD, robot.POSITION_UPPER_RAD
        )
        self.gripper = TrajectoryFollower(
            robot.FINGER_JOINT_NAMES, np.zeros(2), np.full(2, robot.FINGER_TRAVEL_M)
        )
        self.episode_number = -1
        self.slipped_s = 0.0  # time the simulation could not keep up with
        self._previous: Tabletop | None = None
        self._variant = live_variant(variant)
        self.start_episode(task, seed, now_ns)

    def start_episode(self, task: str, seed: int, now_ns: int) -> None:
        """The episode `gymnasium.make("VlaRos/<task>-v0").reset(seed=seed)` would begin with."""
        self.task: Task = find_task(task)
        self.seed = seed
        generator, _ = seeding.np_random(seed)
        drawn = self.task.sample(generator)
        if self._previous is not None:
            self._previous.close()
        self.world, self.episode = self._variant.begin(self.task, drawn, generator)
        self._previous = self.world
        self.arm.clear()
        self.gripper.clear()
        self.episode_number += 1
        self.success_time_s: float | None = None
        self._start_s = self.world.time_s
        self._ticks = 0
        self._time_ns = now_ns

    def advance_to(self, now_ns: int) -> None:
        """Simulate until the clock's `now_ns`, in whole ticks."""
        behind_ns = now_ns - self._time_ns
        if behind_ns > MAX_CATCH_UP_NS or behind_ns < -MAX_CATCH_UP_NS:
            self.slipped_s += max(0.0, (behind_ns - TICK_NS) / 1e9)
            self._time_ns = now_ns - TICK_NS
        while self._time_ns + TICK_NS <= now_ns:
            self._time_ns += TICK_NS
            fingers = self.gripper.sample(self._time_ns)
            opening = None if fingers is None else float(fingers.mean() / robot.FINGER_TRAVEL_M)
            self.world.advance(TICK_NS / 1e9, self.arm.sample(self._time_ns), opening)
            self._ticks += 1
            due = self.success_time_s is None and self._ticks % CHECK_EVERY_TICKS == 0
            if due and self.task.success(self.world, self.episode):
                self.success_time_s = self.time_s

    @property
    def time_s(self) -> float:
        """Of this episode."""
        return self.world.time_s - self._start_s

    @property
    def commanded(self) -> NDArray[np.float64]:
        """(9,) where the servos are told to be, [rad] and [m]."""
        return self.world.data.ctrl[:9].copy()

    def measure(self) -> JointMeasurement:
        data = self.world.data
        return JointMeasurement(data.qpos[:9].copy(), data.qvel[:9].copy())

    def picture(self, camera: str, size_px: int) -> NDArray[np.uint8]:
        """(size_px, size_px, 3) RGB: what a camera sees now, as it takes it."""
        image = self.world.render(camera, size_px, size_px)
        return self.world.taken(image) if isinstance(self.world, RandomizedTabletop) else image

    def status(self) -> dict[str, Any]:
        """The truth about the episode; nothing that controls the robot may see it."""
        return {
            **self.description(),
            "success": self.success_time_s is not None,
            "success_time_s": self.success_time_s,
            "time_s": round(self.time_s, 3),
            "first_touched": self.world.first_touched,
            "slipped_s": round(self.slipped_s, 3),
        }

    def description(self) -> dict[str, Any]:
        return {
            "episode": self.episode_number,
            "task": self.task.name,
            "seed": self.seed,
            "instruction": self.episode.instruction,
            "target": self.episode.target,
            "max_steps": self.task.max_steps,
        }

    def close(self) -> None:
        self.world.close()
