"""From a chunk of tool poses to joint positions in time: what is left of it, IK, limits.

Pure: time is an argument, the robot is a `Kinematics`. `vla_ros.execution` decides when to use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from policies.alignment import first_remaining
from policies.interface import ActionError, ToolLimits
from sim import robot


class KinematicsLike(Protocol):
    """What planning needs of `sim.kinematics.Kinematics`."""

    def forward(self, joint_positions: NDArray) -> tuple[NDArray, Rotation]: ...

    def inverse(
        self, joint_positions: NDArray, position: NDArray, rotation: Rotation
    ) -> tuple[NDArray, float]: ...


@dataclass(frozen=True)
class Limits:
    """What no command exceeds. Slower is always possible, so speeds scale; jumps are refused."""

    position_lower_rad: NDArray  # (n,)
    position_upper_rad: NDArray  # (n,)
    velocity_rad_s: NDArray  # (n,)
    workspace_low_m: tuple[float, float, float] = (0.20, -0.45, 0.004)  # tool, base frame
    workspace_high_m: tuple[float, float, float] = (0.78, 0.45, 0.70)
    workspace_margin_m: float = 0.10  # this far outside is moved inside; beyond it is refused
    velocity_fraction: float = 0.9  # of `velocity_rad_s`
    speed_m_s: float = 1.0  # tool
    step_m: float = 0.20  # tool, between two poses of a chunk
    joint_step_rad: float = 1.0  # between two poses of a chunk: more is another arm posture
    reach_error_m: float = 0.02  # that IK may leave
    horizon_s: float = 0.1  # the shortest time in which a new target is approached

    @property
    def tool(self) -> ToolLimits:
        """What a policy may ask of the tool. It turns no faster than the fastest joint alone."""
        return ToolLimits(
            speed_m_s=self.speed_m_s,
            turn_rad_s=self.velocity_fraction * float(np.max(self.velocity_rad_s)),
            step_m=self.step_m,
        )


FR3_LIMITS = Limits(robot.POSITION_LOWER_RAD, robot.POSITION_UPPER_RAD, robot.VELOCITY_LIMIT_RAD_S)


@dataclass(frozen=True)
class PoseChunk:
    """Tool poses in the base frame for the instants `stamp_ns + times_ns`."""

    stamp_ns: int  # [ns], the observation's
    times_ns: NDArray[np.int64]  # (k,) [ns] after `stamp_ns`, rising
    positions: NDArray[np.float64]  # (k, 3) [m]
    quaternions: NDArray[np.float64]  # (k, 4) w, x, y, z
    gripper: NDArray[np.float64]  # (k,) wanted opening, [0, 1]


@dataclass(frozen=True)
class Motion:
    """Joint positions in time, and what had to be changed."""

    stamp_ns: int  # [ns], of the observation it answers
    times_ns: NDArray[np.int64]  # (m,) [ns] from the instant it was planned
    joints: NDArray[np.float64]  # (m, n) [rad]
    gripper: NDArray[np.float64]  # (m,) opening, [0, 1]
    notes: tuple[str, ...] = ()  # limits that were applied


def plan(
    chunk: PoseChunk,
    measured: NDArray[np.float64],
    now_ns: int,
    limits: Limits,
    kinematics: KinematicsLike,
) -> Motion:
    """The motion from `measured` (n,) [rad] through what `chunk` still asks for at `now_ns`.

    Poses in the past are dropped; if all are, the last is still the newest target, and approached
    within `limits.horizon_s`. Raises `ActionError` for what no robot should do.
    """
    validate(chunk)
    ends_ns = chunk.stamp_ns + chunk.times_ns
    first = first_remaining(ends_ns, now_ns)
    notes: list[str] = []
    positions = _inside_workspace(chunk.positions, limits, notes)[first:]
    rotations = Rotation.from_quat(chunk.quaternions[first:], scalar_first=True)
    tool, _ = kinematics.forward(measured)
    _check_steps(np.vstack([tool, positions]), limits.step_m * (first + 1))

    joints = []
    seed = np.asarray(measured, dtype=float)
    for position, rotation in zip(positions, rotations, strict=True):
        solution, error_m = kinematics.inverse(seed, position, rotation)
        if not (np.all(np.isfinite(solution)) and error_m <= limits.reach_error_m):
            raise ActionError(
                f"pose {_rounded(position)} m is out of reach: inverse kinematics leaves "
                f"{error_m * 1000:.0f} mm, at most {limits.reach_error_m * 1000:.0f} mm expected"
            )
        turned = float(np.max(np.abs(solution - seed)))
        if turned > limits.joint_step_rad:
            raise ActionError(
                f"pose {_rounded(position)} m turns a joint by {turned:.2f} rad in one step; "
                f"at most {limits.joint_step_rad:.2f} rad expected"
            )
        seed = np.clip(solution, limits.position_lower_rad, limits.position_upper_rad)
        joints.append(seed)
    path = np.vstack([measured, joints])  # (m + 1, n)
    wanted_s = np.maximum(ends_ns[first:] - now_ns, 0) / 1e9
    wanted_s = wanted_s + max(0.0, limits.horizon_s - wanted_s[0])  # late: shift, do not squeeze
    times_s = _within_speed_limits(path, np.vstack([tool, positions]), wanted_s, limits, notes)
    return Motion(
        stamp_ns=chunk.stamp_ns,
        times_ns=np.round(times_s * 1e9).astype(np.int64),
        joints=path[1:],
        gripper=chunk.gripper[first:],
        notes=tuple(notes),
    )


def validate(chunk: PoseChunk) -> None:
    """Raise `ActionError` unless the chunk is finite, rising in time and has unit rotations."""
    count = len(chunk.times_ns)
    for name, values, width in (
        ("positions", chunk.positions, 3),
        ("quaternions", chunk.quaternions, 4),
        ("gripper", chunk.gripper, 0),
    ):
        shape = (count, width) if width else (count,)
        if count == 0 or values.shape != shape:
            raise ActionError(f"{name}: expected shape (k, ...) = {shape}, got {values.shape}")
        if not np.all(np.isfinite(values)):
            raise ActionError(f"{name}: expected finite numbers, got {values.tolist()}")
    if chunk.times_ns[0] <= 0 or np.any(np.diff(chunk.times_ns) <= 0):
        raise ActionError(f"time_from_start: expected rising times, got {chunk.times_ns.tolist()}")
    norms = np.linalg.norm(chunk.quaternions, axis=1)
    if np.any(np.abs(norms - 1.0) > 0.01):
        raise ActionError(f"quaternions: expected unit length, got {norms.tolist()}")
    if np.any((chunk.gripper < -0.01) | (chunk.gripper > 1.01)):
        raise ActionError(f"gripper: expected an opening from 0 to 1, got {chunk.gripper.tolist()}")


def _inside_workspace(positions: NDArray, limits: Limits, notes: list[str]) -> NDArray:
    low, high = np.array(limits.workspace_low_m), np.array(limits.workspace_high_m)
    inside = np.clip(positions, low, high)
    excess = np.abs(positions - inside).max(axis=1)
    if excess.max() > limits.workspace_margin_m:
        row = int(excess.argmax())
        raise ActionError(
            f"pose {_rounded(positions[row])} m is {excess[row]:.2f} m outside the workspace "
            f"{_rounded(low)} to {_rounded(high)} m"
        )
    if excess.max() > 0:
        notes.append(f"moved {excess.max() * 1000:.0f} mm back into the workspace")
    return inside


def _check_steps(path: NDArray, first_step_m: float) -> None:
    """`path` (m + 1, 3) [m] begins at the measured tool; its first step covers dropped poses."""
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    allowed = np.full(len(steps), first_step_m)
    for row, (step, limit) in enumerate(zip(steps, allowed, strict=True)):
        if step > limit:
            raise ActionError(
                f"pose {_rounded(path[row + 1])} m is {step:.2f} m from the one before; "
                f"at most {limit:.2f} m expected"
            )


def _within_speed_limits(
    joints: NDArray, tool: NDArray, wanted_s: NDArray, limits: Limits, notes: list[str]
) -> NDArray:
    """Times (m,) [s] no earlier than `wanted_s` at which no joint nor the tool is too fast."""
    joint_s = np.max(
        np.abs(np.diff(joints, axis=0)) / (limits.velocity_fraction * limits.velocity_rad_s), axis=1
    )
    tool_s = np.linalg.norm(np.diff(tool, axis=0), axis=1) / limits.speed_m_s
    needed_s = np.maximum(joint_s, tool_s)
    given_s = np.diff(wanted_s, prepend=0.0)
    slower_s = np.maximum(given_s, needed_s)
    if np.any(needed_s > given_s + 1e-6):
        notes.append(f"slowed by {np.sum(slower_s - given_s) * 1000:.0f} ms to keep speed limits")
    return np.cumsum(slower_s)


def _rounded(values: Sequence[float] | NDArray) -> list[float]:
    return np.round(np.asarray(values, dtype=float), 3).tolist()
