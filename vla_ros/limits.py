"""What no command exceeds: joints, tool, boxes, singularities, fingers. Data only.

`vla_ros.shaping` keeps the limits by construction, `vla_ros.checks` looks again at what goes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from policies.interface import ToolLimits
from sim import robot
from vla_ros.errors import LimitsError
from vla_ros.range_ends import RangeEnds

JOINT_FIELDS = (
    "position_lower_rad",
    "position_upper_rad",
    "velocity_rad_s",
    "acceleration_rad_s2",
    "jerk_rad_s3",
)
ABOVE_ZERO = (  # with 0 the arm could never move, or the fingers never hold
    "speed_m_s", "acceleration_m_s2", "jerk_m_s3", "turn_rad_s", "turn_rad_s2", "turn_rad_s3",
    "step_m", "joint_step_rad", "reach_error_m", "gripper_effort_n",
)  # fmt: skip
LARGEST = {  # of what can be meant; more is another unit
    "velocity_rad_s": 50.0,
    "acceleration_rad_s2": 100.0,  # 5, in degrees, is 286
    "jerk_rad_s3": 100_000.0,
    "velocity_fraction": 1.0,
    "speed_m_s": 3.0,
    "acceleration_m_s2": 50.0,
    "jerk_m_s3": 10_000.0,
    "turn_rad_s": 20.0,
    "turn_rad_s2": 200.0,
    "turn_rad_s3": 100_000.0,
    "step_m": 0.5,
    "overshoot_m": 0.1,
    "clearance_m": 0.1,
    "workspace_margin_m": 1.0,
    "joint_step_rad": 6.3,
    "reach_error_m": 0.1,
    "slow_condition": 1000.0,
    "stop_condition": 10_000.0,
    "gripper_effort_n": 500.0,
}
LEAST_END_SPEED_RAD_S = 0.1  # allowed toward the end of a range where joints are told to go
REACH_M = 10.0  # of a workspace's corners from the base; more is another unit
ROOM_M = 100.0  # of boxes to keep out of: floors and walls are large


@dataclass(frozen=True)
class Box:
    """A space with sides along the base frame's axes."""

    low_m: tuple[float, float, float]
    high_m: tuple[float, float, float]

    def __post_init__(self) -> None:
        try:
            low, high = np.asarray(self.low_m, float), np.asarray(self.high_m, float)
        except (TypeError, ValueError):  # not numbers
            low = high = np.empty(0)
        whole = low.shape == high.shape == (3,) and np.all(np.isfinite([low, high]))
        if not (whole and np.all(low < high)):
            raise LimitsError(
                f"box: expected x, y, z [m] of a low corner and of a higher one, "
                f"got {self.low_m} and {self.high_m}"
            )

    def excess_m(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far each of `points` (k, 3) [m] is outside, along the worst axis: (k,), 0 inside."""
        return self.excess_per_side_m(points).max(axis=1)

    def excess_per_side_m(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far each of `points` (k, 3) [m] is beyond each side: (k, 6), the low ones first."""
        low, high = np.asarray(self.low_m), np.asarray(self.high_m)
        return np.maximum(0.0, np.concatenate([low - points, points - high], axis=1))


@dataclass(frozen=True)
class Limits:
    """Slower is always possible, so what is too fast is slowed; what cannot be mended is refused.

    The defaults beside the joints' fit a tabletop; MoveIt Servo's are the singularity's.
    """

    position_lower_rad: NDArray[np.float64]  # (n,)
    position_upper_rad: NDArray[np.float64]  # (n,)
    velocity_rad_s: NDArray[np.float64]  # (n,)
    acceleration_rad_s2: NDArray[np.float64]  # (n,)
    jerk_rad_s3: NDArray[np.float64]  # (n,)
    range_ends: RangeEnds | None = None  # slower toward them; None: nothing is published
    velocity_fraction: float = 0.9  # of `velocity_rad_s`, the most that is used
    workspace: Box = Box((0.20, -0.45, 0.004), (0.78, 0.45, 0.70))  # tool, base frame
    workspace_margin_m: float = 0.10  # a pose this far outside is moved inside; beyond: refused
    overshoot_m: float = 0.01  # that the way between two poses may bulge out of the workspace
    keep_out: tuple[Box, ...] = ()  # no part of the robot, base frame
    clearance_m: float = 0.005  # between parts of the robot, and to boxes to keep out of
    speed_m_s: float = 1.0  # tool
    acceleration_m_s2: float = 9.0  # tool
    jerk_m_s3: float = 4500.0  # tool
    turn_rad_s: float = 2.5  # tool
    turn_rad_s2: float = 17.0  # tool
    turn_rad_s3: float = 8500.0  # tool
    step_m: float = 0.20  # tool, between two poses of a chunk
    joint_step_rad: float = 1.0  # between two poses of a chunk: more is another arm posture
    reach_error_m: float = 0.02  # that IK may leave
    slow_condition: float = 17.0  # condition of the tool's Jacobian from which on it goes slower
    stop_condition: float = 30.0  # where it does not go on
    gripper_effort_n: float = 25.0  # of each finger

    def __post_init__(self) -> None:
        count = len(np.atleast_1d(self.position_lower_rad))
        for name in JOINT_FIELDS:
            values = np.asarray(getattr(self, name), dtype=float)
            if values.shape != (count,) or not np.all(np.isfinite(values)):
                raise LimitsError(f"{name}: expected {count} finite numbers, got {values.tolist()}")
            if name not in JOINT_FIELDS[:2] and np.any(values <= 0):
                raise LimitsError(f"{name}: expected numbers above 0, got {values.tolist()}")
        if np.any(self.position_lower_rad >= self.position_upper_rad):
            raise LimitsError(
                f"position_lower_rad: expected less than position_upper_rad, got "
                f"{list(self.position_lower_rad)} and {list(self.position_upper_rad)}"
            )
        self._check_range_ends()
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (int, float)) and not (np.isfinite(value) and value >= 0):
                raise LimitsError(f"{field.name}: expected a number from 0 on, got {value}")
        for name in ABOVE_ZERO:
            if not getattr(self, name) > 0:
                raise LimitsError(f"{name}: expected a number above 0, got {getattr(self, name)}")
        if not 0 < self.velocity_fraction <= 1:
            raise LimitsError(f"velocity_fraction: expected 0 to 1, got {self.velocity_fraction}")
        if not self.slow_condition < self.stop_condition:
            raise LimitsError(
                f"slow_condition: expected less than stop_condition, got {self.slow_condition} "
                f"and {self.stop_condition}"
            )

    def _check_range_ends(self) -> None:
        ends = self.range_ends
        if ends is None:
            return
        if len(ends.lower_rad) != self.joints:
            raise LimitsError(
                f"range_ends: expected {self.joints} numbers each, got {len(ends.lower_rad)}"
            )
        if np.any(self.position_lower_rad < np.asarray(ends.lower_rad)) or np.any(
            self.position_upper_rad > np.asarray(ends.upper_rad)
        ):
            raise LimitsError(
                f"range_ends: expected ends around the joints' range, got "
                f"{list(ends.lower_rad)} and {list(ends.upper_rad)}"
            )
        if np.any(np.greater_equal(*self.target_range_rad)):
            raise LimitsError("range_ends: expected some range in which joints may turn, got none")

    @property
    def joints(self) -> int:
        return len(self.position_lower_rad)

    @property
    def allowed_velocity_rad_s(self) -> NDArray[np.float64]:
        """(n,)."""
        return self.velocity_fraction * np.asarray(self.velocity_rad_s)

    def velocity_bounds_rad_s(
        self, positions: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The least, 0 or below, and the most allowed at `positions` (..., n) [rad]; as those."""
        most = np.broadcast_to(self.allowed_velocity_rad_s, positions.shape)
        if self.range_ends is None:
            return -most, most
        down, up = (
            self.velocity_fraction * each for each in self.range_ends.speeds_rad_s(positions)
        )
        return -np.minimum(most, down), np.minimum(most, up)

    @property
    def target_range_rad(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(n,) each: where joints may be told to go, and can be moved to at all."""
        lower, upper = np.asarray(self.position_lower_rad), np.asarray(self.position_upper_rad)
        if self.range_ends is None:
            return lower, upper
        first, last = self.range_ends.reachable_rad(LEAST_END_SPEED_RAD_S)
        return np.maximum(lower, first), np.minimum(upper, last)

    @property
    def tool(self) -> ToolLimits:
        """What a policy may ask of the tool; turning faster than `turn_rad_s` is only slowed."""
        return ToolLimits(
            speed_m_s=self.speed_m_s,
            turn_rad_s=float(np.max(self.allowed_velocity_rad_s)),
            step_m=self.step_m,
        )

    def scaled(self, share: float) -> Limits:
        """The same with every speed times `share`, 0 to 1."""
        return replace(
            self,
            velocity_fraction=self.velocity_fraction * share,
            speed_m_s=self.speed_m_s * share,
            turn_rad_s=self.turn_rad_s * share,
        )


def check_corner(name: str, corner_m: Sequence[float], most_m: float) -> None:
    """Raise `LimitsError` for a corner so far from the base that another unit is meant."""
    if any(abs(each) > most_m for each in corner_m):
        got = ", ".join(f"{each:g}" for each in corner_m)
        raise LimitsError(
            f"{name}: expected x, y, z [m], at most {most_m:g} m from the base, got [{got}]: mm?"
        )


def check_keep_out(name: str, boxes: Sequence[Box]) -> None:
    """Raise `LimitsError` for boxes in another unit, and for one that the base stands in."""
    for box in boxes:
        for corner_m in (box.low_m, box.high_m):
            check_corner(name, corner_m, ROOM_M)
        if all(low < 0 < high for low, high in zip(box.low_m, box.high_m, strict=True)):
            raise LimitsError(
                f"{name}: expected boxes beside the robot, got one around its base, "
                f"{list(box.low_m)} to {list(box.high_m)}"
            )


def per_joint(value: float | Sequence[float], joints: int) -> NDArray[np.float64]:
    """One number for all joints, or one for each: (joints,)."""
    return np.broadcast_to(np.asarray(value, dtype=float), (joints,)).copy()


# Positions, velocities: see `sim.robot`. Accelerations: the robot's 10 rad/s^2. Jerk: a tenth of
# the robot's 5000 rad/s^3, so that motions begin and end softly. Tool: the robot's 9 m/s^2,
# 4500 m/s^3, 2.5 rad/s, 17 rad/s^2 and 8500 rad/s^3;
# https://frankarobotics.github.io/docs/robot_specifications.html. Ends: libfranka's, a little
# beyond the positions of `sim.robot`; see `RangeEnds`.
FR3_LIMITS = Limits(
    robot.POSITION_LOWER_RAD,
    robot.POSITION_UPPER_RAD,
    robot.VELOCITY_LIMIT_RAD_S,
    per_joint(10.0, 7),
    per_joint(500.0, 7),
    RangeEnds(
        lower_rad=(-2.7501, -1.7918, -2.9065, -3.0481, -2.8101, 0.54092, -3.0196),
        upper_rad=(2.7501, 1.7918, 2.9065, -0.1458, 2.8101, 4.5205, 3.0196),
        braking_rad_s2=(6.0, 2.585, 3.5, 4.0, 17.0, 5.5, 17.0),
        offset_rad_s=(0.30, 0.20, 0.20, 0.30, 0.35, 0.35, 0.35),
    ),
)
