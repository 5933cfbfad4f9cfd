"""Looks at every command that goes to the robot, and measures it against the robot's limits.

It shares no code with the executor and its checks, only the limits' numbers: what the controller
will follow is rebuilt from the message (a cubic spline through positions and velocities, or a
straight line) and differentiated. No ROS, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline
from scipy.spatial.transform import Rotation

from vla_ros.faults.fingers import FingersAtRest
from vla_ros.faults.touching import Touching
from vla_ros.limits import Limits
from vla_ros.robots import Robot

STEP_S = 0.005  # at which the tool's way is sampled
TOUCH_STEPS = 4  # of these from one look at what touches to the next
ROUNDING = 1e-3  # of a joint's limit
END_ROUNDING, END_ROUNDING_RAD_S = 0.02, 0.005  # near the ends of ranges: a share, and beyond it
TOOL_ROUNDING = 0.02  # of a tool's limit: differences between samples
WORKSPACE_ROUNDING_M = 0.002
JITTER_S = 0.1  # commands carry no time of their own, so each may come so much early or late
FINGERS_ROUNDING = 0.01  # of their travel
TOUCH_ROUNDING_M = 1e-3
JUMP_RAD = 0.03  # from where the arm is told to be, or is, to where a new command begins


@dataclass(frozen=True)
class Measure:
    """A limit and how much of it a command uses."""

    limit: str
    found: float
    allowed: float
    tolerance: float = 0.0  # on top of `allowed`

    @property
    def excess(self) -> float:
        """By which share of the limit the command is beyond it; 0: it is not."""
        if np.isnan(self.found):
            return np.inf
        if self.found <= self.allowed + self.tolerance:
            return 0.0
        return (self.found - self.allowed) / self.allowed if self.allowed > 0 else np.inf

    def __str__(self) -> str:
        return f"{self.limit}: {self.found:.4g}, at most {self.allowed:.4g}"


@dataclass(frozen=True)
class JointCommand:
    """A JointTrajectory as plain numbers."""

    names: Sequence[str]
    times_ns: NDArray[np.int64]  # (k,) from when it was sent
    positions: Sequence[Sequence[float]]  # k rows, of any length: it may be malformed
    velocities: Sequence[Sequence[float]]  # k rows, or empty ones
    efforts: Sequence[Sequence[float]]
    sent_ns: int


class CommandMonitor:
    """Remembers the last command of the arm: a new one has to begin where that one is."""

    def __init__(
        self, robot: Robot, forward: Callable[[NDArray], tuple[NDArray, Rotation]], limits: Limits
    ) -> None:
        """`forward` gives the tool's position (3,) [m] and rotation for joints (n,) [rad]."""
        self._robot = robot
        self._forward = forward
        self._limits = limits
        self._touching = Touching(robot.arm, limits.keep_out)
        self._last: tuple[int, CubicHermiteSpline] | None = None
        self._fingers = FingersAtRest()

    def arm(self, command: JointCommand, measured: Sequence[NDArray]) -> list[Measure]:
        """All limits of the arm; `measured` are its joints (n,) [rad] of the last `JITTER_S`."""
        wrong = _malformed(command, self._robot.joint_names, with_velocities=True)
        if wrong:
            return wrong
        order = [list(command.names).index(name) for name in self._robot.joint_names]
        positions = np.asarray(command.positions, float)[:, order]
        velocities = np.asarray(command.velocities, float)[:, order]
        times_s = command.times_ns / 1e9
        found = self._joints(times_s, positions, velocities)
        found.append(self._jump(command.sent_ns, times_s[0], positions[0], measured))
        ends = np.vstack([positions[0], positions]), np.vstack([velocities[0] * 0, velocities])
        spline = CubicHermiteSpline(np.concatenate([[0.0], times_s]), *ends)
        self._last = (command.sent_ns, spline)
        if len(times_s) == 1:  # where the arm is measured, or is told to be already
            return found + self._tool(spline, times_s)
        return found + self._tool(spline, times_s) + self._touches(spline, times_s)

    def gripper(self, command: JointCommand) -> list[Measure]:
        gripper = self._robot.gripper
        wrong = _malformed(command, gripper.joints, with_velocities=False)
        if wrong:
            return wrong
        positions = np.asarray(command.positions, float)
        low, high = sorted((gripper.closed, gripper.opened))
        shares = (positions.mean(axis=1) - low) / (high - low)
        self._fingers.on_command(command.sent_ns, command.times_ns, shares)
        outside = float(np.maximum(low - positions, positions - high).max())
        efforts = [abs(effort) for row in command.efforts for effort in row]
        return [
            Measure("gripper beyond its travel", max(0.0, outside), 0.0, 1e-6),
            Measure(
                "gripper effort beyond",
                max(0.0, max(efforts, default=0.0) - self._limits.gripper_effort_n),
                0.0,
                1e-6,
            ),
        ]

    def state(self, rests: bool, told_ns: int) -> list[Measure]:
        """The executor tells, ten times a second, whether the arm holds."""
        travel = self._fingers.on_state(rests, told_ns)
        return [Measure("fingers move while the arm holds", travel, 0.0, FINGERS_ROUNDING)]

    def twist(self, linear: NDArray, angular: NDArray) -> list[Measure]:
        """(3,) [m/s] and (3,) [rad/s]."""
        limits = self._limits
        return [
            Measure("tool speed", float(np.linalg.norm(linear)), limits.speed_m_s, 1e-6),
            Measure("tool turning", float(np.linalg.norm(angular)), limits.turn_rad_s, 1e-6),
        ]

    def _joints(self, times_s: NDArray, positions: NDArray, velocities: NDArray) -> list[Measure]:
        limits = self._limits
        outside = np.maximum(
            limits.position_lower_rad - positions, positions - limits.position_upper_rad
        )
        found = [
            Measure("joint beyond its range", max(0.0, float(outside.max())), 0.0, 1e-3),
            Measure("speed at the end", float(np.abs(velocities[-1]).max()), 0.0, 1e-6),
            _worst("joint velocity", np.abs(velocities).max(axis=0), limits.allowed_velocity_rad_s),
            self._toward_ends(positions, velocities),
        ]
        if len(times_s) < 2:
            return found
        spline = CubicHermiteSpline(times_s, positions, velocities)
        # A cubic's acceleration is greatest at an end: just inside every piece. Its velocity may be
        # so in between.
        edges = np.concatenate([times_s[:-1] + 1e-9, times_s[1:] - 1e-9])
        dense = np.concatenate([edges, *(times_s[:-1] + s * np.diff(times_s) for s in QUARTERS)])
        for name, order, allowed in (
            ("joint velocity", 1, limits.allowed_velocity_rad_s),
            ("joint acceleration", 2, limits.acceleration_rad_s2),
            ("joint jerk", 3, limits.jerk_rad_s3),
        ):
            found.append(_worst(name, np.abs(spline(dense, order)).max(axis=0), allowed))
        found.append(self._toward_ends(spline(dense), spline(dense, 1)))
        return found

    def _toward_ends(self, positions: NDArray, velocities: NDArray) -> Measure:
        """By how much a joint is faster than it may be so near to the end that it turns to."""
        ends, name = self._limits.range_ends, "joint faster than allowed near the end of its range"
        if ends is None:
            return Measure(name, 0.0, 0.0)
        up = velocities > 0
        distances = np.where(
            up, np.asarray(ends.upper_rad) - positions, positions - np.asarray(ends.lower_rad)
        )
        squares = 2 * np.asarray(ends.braking_rad_s2) * distances
        most = np.sqrt(np.maximum(squares, 0)) - np.asarray(ends.offset_rad_s)
        most = (1 + END_ROUNDING) * self._limits.velocity_fraction * np.maximum(most, 0)
        beyond = float((np.abs(velocities) - most).max())
        return Measure(name, max(0.0, beyond), 0.0, END_ROUNDING_RAD_S)

    def _jump(
        self, now_ns: int, first_s: float, first: NDArray, measured: Sequence[NDArray]
    ) -> Measure:
        """From where the arm is told to be at the first point, or from where it is."""
        known = [np.asarray(joints) for joints in measured]
        if self._last is not None:
            begun_ns, spline = self._last
            instants = (now_ns - begun_ns) / 1e9 + first_s + np.linspace(-JITTER_S, JITTER_S, 41)
            known += list(spline(np.clip(instants, 0.0, spline.x[-1])))
        if not known:
            return Measure("jump at the start", 0.0, JUMP_RAD)
        # What the arm can do until the first point is no jump.
        on_the_way = self._limits.allowed_velocity_rad_s * first_s
        jumps = [float((np.abs(joints - first) - on_the_way).max()) for joints in known]
        return Measure("jump at the start", max(0.0, min(jumps)), JUMP_RAD)

    def _tool(self, spline: CubicHermiteSpline, times_s: NDArray) -> list[Measure]:
        limits = self._limits
        instants_s = np.arange(times_s[0], times_s[-1] + 1e-9, STEP_S)
        poses = [self._forward(joints) for joints in spline(instants_s)]
        places = np.stack([place for place, _ in poses])
        excess_m = float(limits.workspace.excess_m(places).max())
        found = [
            Measure("out of the workspace", excess_m, limits.overshoot_m, WORKSPACE_ROUNDING_M)
        ]
        if len(poses) == 1:
            return found
        turns = Rotation.concatenate([turn for _, turn in poses])
        speeds = np.diff(places, axis=0) / STEP_S
        turning = (turns[1:] * turns[:-1].inv()).as_rotvec() / STEP_S
        for name, values, order, allowed in (
            ("tool speed", speeds, 0, limits.speed_m_s),
            ("tool acceleration", speeds, 1, limits.acceleration_m_s2),
            ("tool jerk", speeds, 2, limits.jerk_m_s3),
            ("tool turning", turning, 0, limits.turn_rad_s),
            ("tool turning acceleration", turning, 1, limits.turn_rad_s2),
            ("tool turning jerk", turning, 2, limits.turn_rad_s3),
        ):
            rates = np.linalg.norm(np.diff(values, order, axis=0) / STEP_S**order, axis=1)
            largest = float(rates.max(initial=0.0))
            found.append(Measure(name, largest, allowed, TOOL_ROUNDING * allowed))
        return found

    def _touches(self, spline: CubicHermiteSpline, times_s: NDArray) -> list[Measure]:
        """On the way no deeper than at its begin: a robot that touches already may move."""
        instants_s = np.arange(times_s[0], times_s[-1], TOUCH_STEPS * STEP_S)
        depths_m = self._touching.depths_m(spline(np.append(instants_s, times_s[-1])))
        names = ("parts of the robot in each other", "the robot in a box to keep out of")
        return [
            Measure(name, float(column.max()), float(column[0]), TOUCH_ROUNDING_M)
            for name, column in zip(names, depths_m.T, strict=True)
        ]


QUARTERS = (0.25, 0.5, 0.75)


def worst(measures: Sequence[Measure]) -> Measure | None:
    """The one furthest beyond its limit; None: all are kept."""
    beyond = [each for each in measures if each.excess > 0]
    return max(beyond, key=lambda each: each.excess) if beyond else None


def _worst(limit: str, values: NDArray, allowed: NDArray) -> Measure:
    """Of all joints the one that uses the most of its limit."""
    row = int(np.argmax(np.where(np.isnan(values), np.inf, values / allowed)))
    return Measure(limit, float(values[row]), float(allowed[row]), ROUNDING * float(allowed[row]))


def _malformed(command: JointCommand, names: Sequence[str], with_velocities: bool) -> list[Measure]:
    """What makes the other questions meaningless: one measure without any allowance, or none."""
    wanted = len(names)
    rows = [command.positions, *([command.velocities] if with_velocities else [])]
    reasons = []
    if sorted(command.names) != sorted(names):
        reasons.append("joint names")
    if len(command.times_ns) == 0:
        reasons.append("no points")
    elif command.times_ns[0] <= 0 or np.any(np.diff(command.times_ns) <= 0):
        reasons.append("times that do not rise")
    if any(len(row) != wanted for part in rows for row in part):
        reasons.append("numbers per point")
    elif not all(np.all(np.isfinite(row)) for part in (*rows, command.efforts) for row in part):
        reasons.append("numbers that are not finite")
    return [Measure(f"malformed command: {', '.join(reasons)}", 1.0, 0.0)] if reasons else []
