"""What a `joint_trajectory_controller` does with a JointTrajectory: follow it, then hold its end.

Positions are interpolated as ros2_control does: by cubic polynomials where points carry velocities
as well, else linearly. A new trajectory replaces the one that runs, from where the command stands.
No ROS, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline

from vla_ros.joints import JointsError, positions_by_name

FASTEST = 100.0  # [rad/s] or [m/s]; no joint does that, and polynomials would overflow


class TrajectoryError(ValueError):
    """A trajectory the controller refuses; the message says why."""


class TrajectoryFollower:
    """Follows trajectories of the joints `names`, within `lower` and `upper` (n,)."""

    def __init__(self, names: Sequence[str], lower: NDArray, upper: NDArray) -> None:
        self._names = tuple(names)
        self._lower, self._upper = np.asarray(lower, float), np.asarray(upper, float)
        self._times_ns: NDArray[np.int64] | None = None  # (k + 1,), rising
        self._positions: NDArray[np.float64] | None = None  # (k + 1, n)
        self._spline: CubicHermiteSpline | None = None  # over seconds since `_times_ns[0]`

    def accept(
        self,
        names: Sequence[str],
        points: Sequence[tuple[int, Sequence[float]]],
        start_ns: int,
        now_ns: int,
        commanded: NDArray,
        velocities: Sequence[Sequence[float]] = (),
    ) -> None:
        """Replace the running trajectory by `points`: ([ns] from start, positions) each.

        `start_ns` 0 means now. `commanded` (n,) is where the command stands. `velocities`: one row
        for each point, or none at all.
        """
        times_ns, positions = self._validate(names, points)
        times_ns = times_ns + (start_ns or now_ns)
        ahead = times_ns > now_ns
        if not ahead.any():
            raise TrajectoryError(
                f"trajectory: expected an end in the future, got one that ended "
                f"{(now_ns - times_ns[-1]) / 1e6:.0f} ms ago"
            )
        speeds = self._speeds(names, points, velocities)
        times_ns = np.concatenate([[now_ns], times_ns[ahead]])
        positions = np.concatenate([[np.asarray(commanded, float)], positions[ahead]])
        spline = None
        if speeds is not None:
            rates = np.concatenate([[self._speed(now_ns)], speeds[ahead]])
            try:
                spline = CubicHermiteSpline((times_ns - now_ns) / 1e9, positions, rates)
            except ValueError as error:  # so far ahead that seconds do not tell the times apart
                raise TrajectoryError(f"time_from_start: {error}") from error
        self._times_ns, self._positions, self._spline = times_ns, positions, spline

    def sample(self, now_ns: int) -> NDArray[np.float64] | None:
        """The command (n,) at `now_ns`; None while there has been no trajectory."""
        if self._times_ns is None or self._positions is None:
            return None
        if self._spline is not None:
            elapsed_s = (now_ns - self._times_ns[0]) / 1e9  # below 0: the clock was set back
            position = self._spline(np.clip(elapsed_s, 0.0, self._spline.x[-1]))
            return np.clip(position, self._lower, self._upper)
        elapsed = (self._times_ns - self._times_ns[0]).astype(float)
        instant = float(now_ns - self._times_ns[0])
        return np.array([np.interp(instant, elapsed, column) for column in self._positions.T])

    def clear(self) -> None:
        """Forget the trajectory; the command stays where it is."""
        self._times_ns = self._positions = self._spline = None

    def _speed(self, now_ns: int) -> NDArray[np.float64]:
        """(n,) of the command at `now_ns`, as far as velocities were given."""
        if self._spline is None or self._times_ns is None:
            return np.zeros(len(self._names))
        if not self._times_ns[0] <= now_ns < self._times_ns[-1]:
            return np.zeros(len(self._names))
        return self._spline((now_ns - self._times_ns[0]) / 1e9, 1)

    def _speeds(self, names, points, velocities) -> NDArray[np.float64] | None:
        """(k, n) in the order of `self._names`; None without velocities."""
        if not any(len(row) for row in velocities):
            return None
        try:
            speeds = [positions_by_name(names, row, self._names) for row in velocities]
        except JointsError as error:
            raise TrajectoryError(f"velocities: {error}") from error
        if len(speeds) != len(points):
            raise TrajectoryError(
                f"velocities: expected a row for each of {len(points)} points, got {len(speeds)}"
            )
        if np.max(np.abs(speeds)) > FASTEST:
            raise TrajectoryError(
                f"velocities: expected at most {FASTEST:g}, got {np.max(np.abs(speeds)):g}"
            )
        return np.stack(speeds)

    def _validate(self, names, points) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        if not points:
            raise TrajectoryError("trajectory: expected at least one point, got none")
        if sorted(names) != sorted(self._names):
            raise TrajectoryError(
                f"joint_names: expected {list(self._names)} in any order, got {list(names)}"
            )
        try:
            positions = np.stack([positions_by_name(names, p, self._names) for _, p in points])
        except JointsError as error:
            raise TrajectoryError(f"trajectory: {error}") from error
        outside = (positions < self._lower - 1e-3) | (positions > self._upper + 1e-3)
        if outside.any():
            row, joint = np.argwhere(outside)[0]
            raise TrajectoryError(
                f"{self._names[joint]}: expected {self._lower[joint]:.4g} to "
                f"{self._upper[joint]:.4g}, got {positions[row, joint]:.4g} in point {row}"
            )
        times_ns = np.array([time_ns for time_ns, _ in points], dtype=np.int64)
        if times_ns[0] < 0 or np.any(np.diff(times_ns) <= 0):
            raise TrajectoryError(
                f"time_from_start: expected rising times, got {(times_ns / 1e9).tolist()} s"
            )
        return times_ns, np.clip(positions, self._lower, self._upper)
