"""The arm alone with parameters of its own: what a command does to the joints, fast.

The model is that of `sim.robot` without a table; the law from command to servo is that of
`sim.tabletop` (speed-limited, with the nominal lead). Only the parameters and a latency differ.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import mujoco.rollout
import numpy as np
from numpy.typing import NDArray

from sim import robot
from sim.compile import TIMESTEP_S
from sim.sim2real.logs import Log, LogError
from sim.tabletop import COMMAND_SPEED_FRACTION, LEAD_S

JOINTS = len(robot.JOINT_NAMES)
MAX_LATENCY_S = 0.5
NOMINAL_DAMPING = 0.21  # [N m s/rad], `sim.robot.add_arm`


@dataclass(frozen=True)
class ArmParameters:
    """What identification can find out about the seven joints, and the latency of commands."""

    damping: NDArray[np.float64]  # (7,) [N m s/rad], viscous, at the joint
    friction_loss: NDArray[np.float64]  # (7,) [N m], dry
    stiffness: NDArray[np.float64]  # (7,) [N m/rad], gain of the position servo
    latency_s: float = 0.0  # from a command to the servos

    def __post_init__(self) -> None:
        for name in ("damping", "friction_loss", "stiffness"):
            values = np.asarray(getattr(self, name), dtype=float)
            object.__setattr__(self, name, values)
            if values.shape != (JOINTS,) or not np.all(np.isfinite(values)):
                raise LogError(f"{name}: expected {JOINTS} finite numbers, got {values}")
            if np.any(values < 0) or (name == "stiffness" and np.any(values == 0)):
                raise LogError(f"{name}: expected no negative values, got {values}")
        if not 0.0 <= self.latency_s <= MAX_LATENCY_S:
            raise LogError(f"latency_s: expected 0 to {MAX_LATENCY_S} s, got {self.latency_s}")

    @classmethod
    def nominal(cls) -> ArmParameters:
        """Those of `sim.robot`: what policies are trained with."""
        return cls(
            damping=np.full(JOINTS, NOMINAL_DAMPING),
            friction_loss=np.array([link.friction_nm for link in robot.LINKS]),
            stiffness=np.array([link.stiffness for link in robot.LINKS], dtype=float),
        )

    def to_vector(self) -> NDArray[np.float64]:
        """(22,): damping, friction loss, stiffness of the joints in order, then the latency."""
        return np.concatenate([self.damping, self.friction_loss, self.stiffness, [self.latency_s]])

    @classmethod
    def from_vector(cls, vector: NDArray) -> ArmParameters:
        damping, friction_loss, stiffness = np.reshape(vector[:-1], (3, JOINTS))
        return cls(damping, friction_loss, stiffness, float(vector[-1]))

    def apply_to(self, model: mujoco.MjModel) -> None:
        """Set them in a model that has the arm first; but for the latency, which no model has."""
        model.dof_damping[:JOINTS] = self.damping
        model.dof_frictionloss[:JOINTS] = self.friction_loss
        model.actuator_gainprm[:JOINTS, 0] = self.stiffness
        model.actuator_biasprm[:JOINTS, 1] = -self.stiffness


def parameter_names() -> list[str]:
    """Of the entries of `ArmParameters.to_vector`, with units."""
    units = {"damping": "N m s/rad", "friction_loss": "N m", "stiffness": "N m/rad"}
    return [
        f"{name}, {joint} [{unit}]" for name, unit in units.items() for joint in robot.JOINT_NAMES
    ] + ["latency [s]"]


class ArmSimulation:
    """Replays the commands of logs on the arm alone."""

    def __init__(self) -> None:
        spec = mujoco.MjSpec()
        robot.add_arm(spec)
        spec.option.timestep = TIMESTEP_S
        self.model = spec.compile()
        self._data = mujoco.MjData(self.model)
        self._tcp = self.model.site(robot.TCP_SITE).id

    def replay(self, log: Log, parameters: Sequence[ArmParameters]) -> NDArray[np.float64]:
        """Joint positions (p, n, 7) [rad] at the log's n stamps, one run for each parameters.

        The arm starts where the log does, with the log's speed.
        """
        steps = int(np.ceil(log.duration_s / TIMESTEP_S)) + 1
        times_s = np.arange(steps + 1) * TIMESTEP_S
        command = _speed_limited(log.command_at(times_s))  # (steps + 1, 7)
        models = []
        controls = np.zeros((len(parameters), steps, self.model.nu))
        for row, values in zip(controls, parameters, strict=True):
            model = copy.copy(self.model)
            values.apply_to(model)
            models.append(model)
            row[:, :JOINTS] = _servo_targets(times_s, command, values.latency_s)
            row[:, JOINTS:] = robot.FINGER_TRAVEL_M
        states, _ = mujoco.rollout.rollout(models, self._data, self._initial_state(log), controls)
        # (p, steps, state): [time, qpos, qvel]; prepend the start.
        positions = states[:, :, 1 : 1 + JOINTS]
        start = np.broadcast_to(log.joint_positions[0], (len(parameters), 1, JOINTS))
        positions = np.concatenate([start, positions], axis=1)  # (p, steps + 1, 7)
        return _sample(times_s, positions, log.stamps_s)

    def tool_poses(self, joint_positions: NDArray) -> tuple[NDArray, NDArray]:
        """Tool positions (n, 3) [m] and rotations (n, 3, 3), base frame, of (n, 7) [rad]."""
        places, rotations = [], []
        for row in joint_positions:
            self._data.qpos[:JOINTS] = row
            mujoco.mj_kinematics(self.model, self._data)
            places.append(self._data.site_xpos[self._tcp].copy())
            rotations.append(self._data.site_xmat[self._tcp].reshape(3, 3).copy())
        return np.stack(places), np.stack(rotations)

    def _initial_state(self, log: Log) -> NDArray[np.float64]:
        mujoco.mj_resetData(self.model, self._data)
        self._data.qpos[:JOINTS] = log.joint_positions[0]
        self._data.qpos[JOINTS:] = robot.FINGER_TRAVEL_M
        # Over 20 ms and more: noise of single measurements must not become speed.
        later = min(len(log.stamps_s) - 1, max(1, int(np.searchsorted(log.stamps_s, 0.02))))
        moved = log.joint_positions[later] - log.joint_positions[0]
        self._data.qvel[:JOINTS] = moved / log.stamps_s[later]
        full = mujoco.mjtState.mjSTATE_FULLPHYSICS
        state = np.zeros(mujoco.mj_stateSize(self.model, full))
        mujoco.mj_getState(self.model, self._data, state, full)
        return state


def _speed_limited(command: NDArray) -> NDArray[np.float64]:
    """The command (k, 7) as `Tabletop.advance` ramps it: never faster than the servos are told."""
    limit = COMMAND_SPEED_FRACTION * robot.VELOCITY_LIMIT_RAD_S * TIMESTEP_S
    if np.all(np.abs(np.diff(command, axis=0)) <= limit):
        return command
    limited = np.empty_like(command)
    limited[0] = command[0]
    for index in range(1, len(command)):
        step = np.clip(command[index] - limited[index - 1], -limit, limit)
        limited[index] = limited[index - 1] + step
    return limited


def _servo_targets(times_s: NDArray, command: NDArray, latency_s: float) -> NDArray[np.float64]:
    """What the servos get in each step (k - 1, 7): the late command and its lead, as `Tabletop`."""
    late = np.stack(
        [np.interp(times_s - latency_s, times_s, column) for column in command.T], axis=1
    )  # (k, 7)
    speed = np.diff(late, axis=0) / TIMESTEP_S  # (k - 1, 7) [rad/s]
    return late[1:] + LEAD_S * speed


def _sample(times_s: NDArray, values: NDArray, at_s: NDArray) -> NDArray[np.float64]:
    """Linear interpolation of `values` (p, k, 7) at evenly spaced `times_s` (k,): (p, n, 7)."""
    position = np.clip(at_s / TIMESTEP_S, 0, len(times_s) - 1)
    index = np.minimum(position.astype(int), len(times_s) - 2)
    share = (position - index)[None, :, None]
    return (1 - share) * values[:, index] + share * values[:, index + 1]
