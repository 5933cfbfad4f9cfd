"""How jerky the arm moved, from its joints' speeds as a robot's log at 50 Hz would have them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from sim.tabletop import Tabletop

SAMPLE_S = 0.02  # contacts shake a simulated arm within single physics steps; no encoder sees that


class Smoothness:
    """Collects the joints' speeds while `watching` a world; a copy of it that a policy plays with
    in between leaves no trace."""

    def __init__(self) -> None:
        self._steps = 0  # of the physics
        self._sample_s = SAMPLE_S
        self._velocities: list[NDArray[np.float64]] = []  # (7,) [rad/s] each, of every sample

    @contextmanager
    def watching(self, world: Tabletop) -> Iterator[None]:
        """Sample the physics steps of `world` that are made in here."""
        timestep_s = float(world.model.opt.timestep)
        stride = max(1, round(SAMPLE_S / timestep_s))
        self._sample_s = stride * timestep_s

        def observe() -> None:
            if self._steps % stride == 0:
                self._velocities.append(world.joint_velocities)
            self._steps += 1

        world.observer = observe
        try:
            yield
        finally:
            world.observer = None

    @property
    def jerk_rad_s3(self) -> float:
        """See `root_mean_square_jerk`; 0 before anything moved."""
        if not self._velocities:
            return 0.0
        return root_mean_square_jerk(np.stack(self._velocities), self._sample_s)  # of (n, 7)


def root_mean_square_jerk(velocities: NDArray[np.float64], timestep_s: float) -> float:
    """Over time and joints [rad/s^3], by second differences of `velocities` (n, joints) [rad/s]."""
    if len(velocities) < 3:  # too few to tell
        return 0.0
    jerks = np.diff(velocities, n=2, axis=0) / timestep_s**2
    return float(np.sqrt(np.mean(jerks**2)))
