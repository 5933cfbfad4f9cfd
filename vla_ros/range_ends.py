"""How fast joints may turn toward the ends of their range, where a maker publishes that. Data only.

Part of `vla_ros.limits.Limits`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from vla_ros.errors import LimitsError


@dataclass(frozen=True)
class RangeEnds:
    """At a distance d from an end at most sqrt(2 `braking_rad_s2` d) - `offset_rad_s` toward it.

    As libfranka has it for the FR3 (`computeUpperLimitsJointVelocity`, `include/franka/
    rate_limiting.h`), whose robot ends a motion that is faster. Away from an end it says nothing.
    """

    lower_rad: tuple[float, ...]  # (n,); may lie beyond the range that is used
    upper_rad: tuple[float, ...]  # (n,)
    braking_rad_s2: tuple[float, ...]  # (n,)
    offset_rad_s: tuple[float, ...]  # (n,)

    def __post_init__(self) -> None:
        count = len(np.atleast_1d(self.lower_rad))
        for each in fields(self):
            values = np.asarray(getattr(self, each.name), dtype=float)
            name = f"range_ends: {each.name}"
            if values.shape != (count,) or not np.all(np.isfinite(values)):
                raise LimitsError(f"{name}: expected {count} finite numbers, got {values.tolist()}")
        if np.any(np.asarray(self.braking_rad_s2) <= 0) or np.any(
            np.asarray(self.offset_rad_s) < 0
        ):
            raise LimitsError(
                f"range_ends: expected braking_rad_s2 above 0 and offset_rad_s from 0 on, got "
                f"{list(self.braking_rad_s2)} and {list(self.offset_rad_s)}"
            )

    def speeds_rad_s(
        self, positions: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The most toward the lower ends and toward the upper ones, 0 or more, as `positions`."""
        return (
            self._speeds_rad_s(positions - np.asarray(self.lower_rad)),
            self._speeds_rad_s(np.asarray(self.upper_rad) - positions),
        )

    def reachable_rad(self, speed_rad_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Between which positions (n,) [rad] joints may turn at `speed_rad_s` either way."""
        speeds = np.asarray(self.offset_rad_s) + speed_rad_s
        distances = speeds**2 / (2 * np.asarray(self.braking_rad_s2))
        return np.asarray(self.lower_rad) + distances, np.asarray(self.upper_rad) - distances

    def _speeds_rad_s(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        fastest = np.sqrt(2 * np.asarray(self.braking_rad_s2) * np.maximum(distances, 0.0))
        return np.maximum(fastest - np.asarray(self.offset_rad_s), 0.0)
