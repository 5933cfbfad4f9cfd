"""Logs of a world, as a robot's recorder would have them: joint states, commands, outcome.

The commands are what a `joint_trajectory_controller` is told, at 10 Hz; joint states come at the
driver's rate. Two motions: a task's expert, and an excitation that moves every joint at many
speeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import gymnasium
import numpy as np
from numpy.typing import NDArray

from sim import ENV_IDS, robot
from sim.env import CONTROL_RATE_HZ, TabletopEnv
from sim.kinematics import displaced
from sim.scene import CAMERAS, Scene
from sim.sim2real.logs import Log
from sim.tabletop import Tabletop
from sim.variants import find_variant

Motion = Literal["excitation", "expert"]
MOTIONS: tuple[Motion, ...] = ("excitation", "expert")
STEP_S = 1.0 / CONTROL_RATE_HZ
RATES_HZ = (10.0, 50.0, 250.0)  # whole steps of physics, and of a command's 0.1 s
# Room around the home posture in which no link reaches the table (checked in the tests).
EXCITATION_RAD = np.array([0.8, 0.35, 0.5, 0.35, 0.6, 0.5, 0.9])
MIN_PERIOD_S = 0.5  # shorter ones show inertia and stiffness, longer ones friction
EXCITATION_SPEED = 0.5  # share of the joints' velocity limits at the fastest


@dataclass(frozen=True)
class Recording:
    """What to record."""

    variant: str = "stand-in"  # of `sim.variants`
    motion: Motion = "excitation"
    env_id: str = ENV_IDS[0]  # for the expert
    seed: int = 5_000_000  # of the first log
    duration_s: float = 12.0  # of an excitation
    rate_hz: float = 250.0  # of the joint states
    cameras: tuple[str, ...] = ()  # recorded at 10 Hz
    image_size_px: int = 224

    def __post_init__(self) -> None:
        find_variant(self.variant)
        if self.motion not in MOTIONS:
            raise ValueError(f"motion: expected one of {', '.join(MOTIONS)}, got {self.motion!r}")
        if self.env_id not in ENV_IDS:
            raise ValueError(f"env: expected one of {', '.join(ENV_IDS)}, got {self.env_id!r}")
        unknown = [camera for camera in self.cameras if camera not in CAMERAS]
        if unknown:
            raise ValueError(f"camera: expected some of {', '.join(CAMERAS)}, got {unknown}")
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")
        if not 2.0 <= self.duration_s <= 600.0:
            raise ValueError(f"duration_s: expected 2 to 600 s, got {self.duration_s}")
        if self.rate_hz not in RATES_HZ:
            choices = ", ".join(f"{rate:g}" for rate in RATES_HZ)
            raise ValueError(f"rate_hz: expected one of {choices}, got {self.rate_hz:g}")
        if not 16 <= self.image_size_px <= 640:
            raise ValueError(f"image_size: expected 16 to 640, got {self.image_size_px}")


@dataclass
class _Recorder:
    """Collects a run while `Tabletop`s move."""

    rate_hz: float
    stamps_s: list[float] = field(default_factory=list)
    positions: list[NDArray[np.float64]] = field(default_factory=list)  # (7,) [rad]
    openings: list[float] = field(default_factory=list)
    command_stamps_s: list[float] = field(default_factory=list)
    commands: list[NDArray[np.float64]] = field(default_factory=list)  # (7,) [rad]
    images: dict[str, list[tuple[float, NDArray[np.uint8]]]] = field(default_factory=dict)

    def begin(self, world: Tabletop) -> None:
        self._start_s = world.time_s
        self._measure(world)
        self._command(0.0, world.data.ctrl[:7].copy())

    def move(self, world: Tabletop, joints: NDArray, gripper: float | None) -> None:
        """Tell the joints to be at `joints` (7,) [rad] in 0.1 s, and measure on the way."""
        begin = world.data.ctrl[:7].copy()
        parts = round(self.rate_hz * STEP_S)
        for part in range(1, parts + 1):
            world.advance(STEP_S / parts, begin + (joints - begin) * part / parts, gripper)
            self._measure(world)
        self._command(self.stamps_s[-1], joints)

    def look(self, world: Tabletop, cameras: Sequence[str], size_px: int) -> None:
        for camera in cameras:
            image = world.render(camera, size_px, size_px)
            self.images.setdefault(camera, []).append((self.stamps_s[-1], image))

    def log(self, name: str, instruction: str | None, success: bool | None) -> Log:
        return Log(
            name=name,
            stamps_s=np.array(self.stamps_s),
            joint_positions=np.stack(self.positions),
            command_stamps_s=np.array(self.command_stamps_s),
            commands=np.stack(self.commands),
            gripper_openings=np.array(self.openings),
            image_stamps_s={
                camera: np.array([stamp for stamp, _ in frames])
                for camera, frames in self.images.items()
            },
            instruction=instruction,
            success=success,
        )

    def _measure(self, world: Tabletop) -> None:
        self.stamps_s.append(world.time_s - self._start_s)
        self.positions.append(world.joint_positions)
        self.openings.append(world.gripper_opening)

    def _command(self, stamp_s: float, joints: NDArray) -> None:
        self.command_stamps_s.append(stamp_s)
        self.commands.append(np.clip(joints, robot.POSITION_LOWER_RAD, robot.POSITION_UPPER_RAD))


Images = dict[str, list[tuple[float, NDArray[np.uint8]]]]


def record(recording: Recording, index: int) -> tuple[Log, Images]:
    """Log number `index`, whose seed is `recording.seed + index`, and its images by camera."""
    seed = recording.seed + index
    run = _excite if recording.motion == "excitation" else _demonstrate
    return run(recording, seed)


def excitation(seed: int, duration_s: float) -> Callable[[float], NDArray[np.float64]]:
    """Joint targets (7,) [rad] over time [s]: three sines a joint, from rest to rest at home.

    Periods from half a second to nearly the whole; amplitudes such that neither the room around
    the home posture nor half the velocity limits are exceeded.
    """
    rng = np.random.default_rng([seed, 0xE8C1])
    periods_s = np.exp(
        rng.uniform(np.log(MIN_PERIOD_S), np.log(max(6.0, 0.8 * duration_s)), (7, 3))
    )
    phases = rng.uniform(0, 2 * np.pi, (7, 3))
    shares = rng.dirichlet(np.ones(3), 7)  # (7, 3)
    speeds = 2 * np.pi / periods_s
    fastest = (shares * speeds).sum(axis=1) * EXCITATION_RAD / robot.VELOCITY_LIMIT_RAD_S  # (7,)
    amplitude = EXCITATION_RAD * np.minimum(1.0, EXCITATION_SPEED / fastest)

    def target(time_s: float) -> NDArray[np.float64]:
        # Raised cosines of 1.5 s at both ends.
        edge = np.clip(min(time_s, duration_s - time_s) / 1.5, 0.0, 1.0)
        envelope = 0.5 - 0.5 * np.cos(np.pi * edge)
        wave = (shares * np.sin(speeds * time_s + phases)).sum(axis=1)
        return robot.HOME_RAD + envelope * amplitude * wave

    return target


def _excite(recording: Recording, seed: int) -> tuple[Log, Images]:
    world = find_variant(recording.variant).build(Scene(items=()), False)
    try:
        world.reset(robot.HOME_RAD)
        world.advance(0.5)
        recorder = _Recorder(recording.rate_hz)
        recorder.begin(world)
        target = excitation(seed, recording.duration_s)
        for step in range(round(recording.duration_s / STEP_S)):
            recorder.look(world, recording.cameras, recording.image_size_px)
            recorder.move(world, target((step + 1) * STEP_S), None)
        log = recorder.log(f"excitation_{seed}", None, None)
    finally:
        world.close()
    return log, recorder.images


def _demonstrate(recording: Recording, seed: int) -> tuple[Log, Images]:
    env: TabletopEnv = gymnasium.make(
        recording.env_id, cameras=(), variant=recording.variant
    ).unwrapped  # type: ignore[assignment]
    try:
        env.reset(seed=seed)
        world, episode = env.running()
        recorder = _Recorder(recording.rate_hz)
        recorder.begin(world)
        success = False
        for _ in range(env.task.max_steps):
            recorder.look(world, recording.cameras, recording.image_size_px)
            action = env.expert_action()
            joints, _ = env.kinematics.inverse(  # as `TabletopEnv.move` does
                world.joint_positions,
                world.ee_position + action[:3],
                displaced(world.ee_rotation, action[3:6]),
            )
            recorder.move(world, joints, float(action[6]))
            success = env.succeeded()
            if success:
                break
        log = recorder.log(f"{_short(recording.env_id)}_{seed}", episode.instruction, success)
    finally:
        env.close()
    return log, recorder.images


def _short(env_id: str) -> str:
    return env_id.split("/")[-1].removesuffix("-v0").lower()
