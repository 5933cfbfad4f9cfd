"""A sampled joint motion that ends at rest, as a controller is given it. No ROS, no clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_NS = 20_000_000  # between two points


@dataclass(frozen=True)
class Phase:
    """Where the joints are and how they move."""

    positions: NDArray[np.float64]  # (n,) [rad]
    velocities: NDArray[np.float64]  # (n,) [rad/s]
    accelerations: NDArray[np.float64]  # (n,) [rad/s^2]

    @classmethod
    def at_rest(cls, positions: NDArray[np.float64]) -> Phase:
        positions = np.array(positions, dtype=float)
        return cls(positions, np.zeros_like(positions), np.zeros_like(positions))

    @property
    def resting(self) -> bool:
        return bool(np.all(self.velocities == 0) and np.all(self.accelerations == 0))


@dataclass(frozen=True)
class Trajectory:
    """Joint states every `SAMPLE_NS`, the first at `start_ns`, the last at rest.

    Between two points a controller has a cubic polynomial through positions and velocities, as
    joint_trajectory_controller does when points carry both.
    """

    start_ns: int
    positions: NDArray[np.float64]  # (m, n) [rad]
    velocities: NDArray[np.float64]  # (m, n) [rad/s]
    accelerations: NDArray[np.float64]  # (m, n) [rad/s^2]
    unsent_ns: int = 0  # of its beginning: the controller finds its own way to what follows
    known: bool = True  # whether that way is; else only its end

    @property
    def times_ns(self) -> NDArray[np.int64]:
        """(m,) [ns] from the start."""
        return np.arange(len(self.positions), dtype=np.int64) * SAMPLE_NS

    @property
    def end_ns(self) -> int:
        return self.start_ns + (len(self.positions) - 1) * SAMPLE_NS

    def creeps(self, now_ns: int) -> bool:
        """Whether the controller is on its own way then."""
        return self.unsent_ns > 0 and now_ns < self.start_ns + self.unsent_ns

    def at(self, now_ns: int) -> Phase:
        """What the controller follows at `now_ns`: before the start the first, then the last."""
        elapsed = (now_ns - self.start_ns) / SAMPLE_NS
        row = int(np.clip(np.floor(elapsed), 0, len(self.positions) - 1))
        share = float(np.clip(elapsed - row, 0.0, 1.0))
        if row == len(self.positions) - 1 or share == 0.0:
            return Phase(self.positions[row], self.velocities[row], self.accelerations[row])
        q0, q1 = self.positions[row : row + 2]
        v0, v1 = self.velocities[row : row + 2] * (SAMPLE_NS / 1e9)
        square, cube = 3 * (q1 - q0) - 2 * v0 - v1, v0 + v1 - 2 * (q1 - q0)
        a0, a1 = self.accelerations[row : row + 2]
        return Phase(
            q0 + share * (v0 + share * (square + share * cube)),
            (v0 + share * (2 * square + 3 * share * cube)) / (SAMPLE_NS / 1e9),
            a0 + share * (a1 - a0),
        )

    def polynomials(self) -> tuple[NDArray, NDArray, NDArray]:
        """Of each piece: accelerations at its begin and end, and the jerk: (m - 1, n) each."""
        step_s = SAMPLE_NS / 1e9
        moved = np.diff(self.positions, axis=0)
        v0, v1 = self.velocities[:-1], self.velocities[1:]
        begin = 6 * moved / step_s**2 - (4 * v0 + 2 * v1) / step_s
        end = -6 * moved / step_s**2 + (2 * v0 + 4 * v1) / step_s
        return begin, end, (end - begin) / step_s
