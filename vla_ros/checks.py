"""The last look at a motion before it goes out: every limit, on what the controller will follow.

It knows nothing of how the motion came about. A body that is beyond a limit already (outside the
workspace, too near itself) may move, but not further beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vla_ros.body import Contact
from vla_ros.limits import Limits
from vla_ros.trajectory import SAMPLE_NS, Trajectory

ROUNDING = 1e-6  # of a limit
ENDS_ROUNDING = 0.01  # near the ends of ranges: a motion may begin between samples of the last
LEAST_SPEED_RAD_S = 1e-3  # less is none
STEP_S = SAMPLE_NS / 1e9
INSTANT_S = 1e-3  # over which the tool's accelerations at an instant are taken


class BodyLike(Protocol):
    """What checks and planning need of `vla_ros.body.Body`."""

    joint_names: tuple[str, ...]

    def forward(self, joints: NDArray) -> tuple[NDArray, Rotation]: ...

    def inverse(
        self, joints: NDArray, position: NDArray, rotation: Rotation
    ) -> tuple[NDArray, float]: ...

    def condition(self, joints: NDArray) -> float: ...

    def contacts(self, joints: NDArray) -> list[Contact]: ...

    def follow(
        self, joints: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], Rotation, list[list[Contact]]]: ...

    def tool_frames(
        self, joints: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...


@dataclass(frozen=True)
class Violation:
    """A limit that a motion passes."""

    limit: str
    found: float
    allowed: float
    unit: str
    order: int = 0  # of the time derivative: what going slower by s divides by s**order
    detail: str = ""

    @property
    def slower(self) -> float:
        """At which share of its speed the motion would keep this limit; 0: at none."""
        return (self.allowed / self.found) ** (1 / self.order) if self.order else 0.0

    def __str__(self) -> str:
        where = f" of {self.detail}" if self.detail else ""
        return f"{self.limit}{where}: {self.found:.4g}, at most {self.allowed:.4g} {self.unit}"


def violations(trajectory: Trajectory, limits: Limits, body: BodyLike) -> list[Violation]:
    """Every limit that `trajectory` passes; empty: it may go out."""
    numbers = (trajectory.positions, trajectory.velocities, trajectory.accelerations)
    if not all(np.all(np.isfinite(values)) for values in numbers):
        return [Violation("finite numbers", np.inf, 0.0, "")]
    found = _joints(trajectory, limits, body.joint_names)
    tool, turns, contacts = body.follow(trajectory.positions)
    found += _tool(tool, turns, limits) + _tool_accelerations(trajectory, limits, body)
    found += _workspace(tool, limits)
    if touch := _first_new(contacts):
        missing_m = limits.clearance_m - touch.distance_m
        found.append(Violation("missing clearance", missing_m, 0.0, "m", detail=str(touch)))
    return found


def _workspace(tool: NDArray, limits: Limits) -> list[Violation]:
    """Who is beyond a side already may not go further beyond that one, nor beyond another."""
    excess_m = limits.workspace.excess_per_side_m(tool)  # (m, 6)
    allowed_m = np.maximum(limits.overshoot_m, excess_m[0] + 1e-3)
    most_m = excess_m.max(axis=0)
    side = int(np.argmax(most_m - allowed_m))
    if most_m[side] <= allowed_m[side]:
        return []
    where = f"{('low', 'high')[side // 3]} {'xyz'[side % 3]}"
    found, allowed = float(most_m[side]), float(allowed_m[side])
    return [Violation("out of the workspace", found, allowed, "m", detail=where)]


def tool_violations(trajectory: Trajectory, limits: Limits, body: BodyLike) -> list[Violation]:
    """Those of the tool's speeds, accelerations and jerks, of its way and its turning, alone."""
    tool, turns, _ = body.follow(trajectory.positions)
    return _tool(tool, turns, limits) + _tool_accelerations(trajectory, limits, body)


def _joints(trajectory: Trajectory, limits: Limits, names: Sequence[str]) -> list[Violation]:
    begin, end, jerk = trajectory.polynomials()
    positions = trajectory.positions
    outside = np.maximum(
        limits.position_lower_rad - positions, positions - limits.position_upper_rad
    )
    allowed_outside = np.maximum(outside[0], 0.0) + ROUNDING
    with np.errstate(divide="ignore", invalid="ignore"):
        turning_s = np.where(jerk == 0, -1.0, -begin / jerk)  # where a piece is fastest
    inside = (turning_s > 0) & (turning_s < STEP_S)
    turning_s = np.where(inside, turning_s, 0.0)
    peaks = trajectory.velocities[:-1] + turning_s * (begin + 0.5 * jerk * turning_s)
    speed = np.maximum(np.abs(peaks).max(axis=0), np.abs(trajectory.velocities).max(axis=0))
    acceleration = np.maximum(np.abs(begin), np.abs(end)).max(axis=0)
    found = []
    for name, values, allowed, unit, order in (
        ("joint position beyond its range", outside.max(axis=0), allowed_outside, "rad", 0),
        ("joint velocity", speed, limits.allowed_velocity_rad_s, "rad/s", 1),
        ("joint acceleration", acceleration, limits.acceleration_rad_s2, "rad/s^2", 2),
        ("joint jerk", np.abs(jerk).max(axis=0), limits.jerk_rad_s3, "rad/s^3", 3),
    ):
        ratio = values / allowed
        worst = int(np.argmax(ratio))
        if ratio[worst] > 1 + ROUNDING:
            found.append(
                Violation(
                    name, float(values[worst]), float(allowed[worst]), unit, order, names[worst]
                )
            )
    return found + _range_ends(trajectory, limits, names)


def _range_ends(trajectory: Trajectory, limits: Limits, names: Sequence[str]) -> list[Violation]:
    """At the samples: between two, a speed takes hardly more of what is allowed."""
    if limits.range_ends is None:
        return []
    speeds = trajectory.velocities
    low, high = limits.velocity_bounds_rad_s(trajectory.positions)
    allowed = np.maximum(np.where(speeds < 0, -low, high), LEAST_SPEED_RAD_S)
    ratio = np.abs(speeds) / allowed
    row, worst = divmod(int(np.argmax(ratio)), limits.joints)
    if ratio[row, worst] <= 1 + ENDS_ROUNDING:
        return []
    found, most = float(np.abs(speeds)[row, worst]), float(allowed[row, worst])
    name = "joint velocity toward the end of its range"
    return [Violation(name, found, most, "rad/s", 1, names[worst])]


def _tool(tool: NDArray, turns: Rotation, limits: Limits) -> list[Violation]:
    """`tool` (m, 3) [m] and its rotations at every sample."""
    found = []
    turning = (turns[1:] * turns[:-1].inv()).as_rotvec() / STEP_S  # (m - 1, 3) [rad/s]
    turned = float(np.linalg.norm(turning, axis=1).max())
    for name, order, largest, allowed, unit in (
        ("tool speed", 1, _largest_rate(tool, 1), limits.speed_m_s, "m/s"),
        ("tool jerk", 3, _largest_rate(tool, 3), limits.jerk_m_s3, "m/s^3"),
        ("tool turning", 1, turned, limits.turn_rad_s, "rad/s"),
        ("tool turning jerk", 3, _largest_rate(turning, 2), limits.turn_rad_s3, "rad/s^3"),
    ):
        if largest > allowed * (1 + ROUNDING):
            found.append(Violation(name, largest, allowed, unit, order))
    return found


def _largest_rate(values: NDArray, order: int) -> float:
    rates = np.diff(values, order, axis=0) / STEP_S**order
    return float(np.linalg.norm(rates, axis=1).max()) if len(rates) else 0.0


def _tool_accelerations(trajectory: Trajectory, limits: Limits, body: BodyLike) -> list[Violation]:
    """Of its way and of its turning, at both ends of every piece, where a joint's is greatest:
    between samples it changes by as much as the limit, so differences between them would miss it.
    """
    begin, end, _ = trajectory.polynomials()
    joints = np.concatenate([trajectory.positions[:-1], trajectory.positions[1:]])
    speeds = np.concatenate([trajectory.velocities[:-1], trajectory.velocities[1:]])
    bend = 0.5 * np.concatenate([begin, end]) * INSTANT_S**2
    if not (speeds.any() or bend.any()):
        return []
    places, frames = zip(
        *(
            body.tool_frames(joints + sign * INSTANT_S * speeds + sign**2 * bend)
            for sign in (-1, 0, 1)
        ),
        strict=True,
    )
    moved, turned = (
        (before - 2 * here + after) / INSTANT_S**2 for before, here, after in (places, frames)
    )
    # With R' = [w] R it is R'' R^T = [w'] + [w]^2, and the second part is symmetric.
    turned = turned @ frames[1].transpose(0, 2, 1)  # (2 (m - 1), 3, 3)
    turned = 0.5 * (turned - turned.transpose(0, 2, 1))
    found = []
    for name, vectors, allowed, unit in (
        ("tool acceleration", moved, limits.acceleration_m_s2, "m/s^2"),
        ("tool turning acceleration", turned[:, (2, 0, 1), (1, 2, 0)], limits.turn_rad_s2,
         "rad/s^2"),
    ):  # fmt: skip
        largest = float(np.linalg.norm(vectors, axis=1).max())
        if largest > allowed * (1 + ROUNDING):
            found.append(Violation(name, largest, allowed, unit, 2))
    return found


def _first_new(contacts: Sequence[Sequence[Contact]]) -> Contact | None:
    """The first contact that the motion makes, or makes worse."""
    known = {(touch.first, touch.second): touch.distance_m for touch in contacts[0]}
    for touches in contacts[1:]:
        for touch in touches:
            if touch.distance_m < known.get((touch.first, touch.second), np.inf) - 1e-4:
                return touch
    return None
