"""Joint values by name: a JointState's order is nobody's promise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vla_ros.texts import shortened


class JointsError(ValueError):
    """A message about joints that cannot be used: names missing, lengths differ, not finite."""


def positions_by_name(
    names: Sequence[str], positions: Sequence[float], wanted: Sequence[str]
) -> NDArray[np.float64]:
    """The positions (n,) of the joints `wanted`, in that order; other joints are ignored."""
    if len(names) != len(positions):
        raise JointsError(
            f"joints: expected one position for each of {len(names)} names, got {len(positions)}"
        )
    values = dict(zip(names, positions, strict=True))
    missing = [name for name in wanted if name not in values]
    if missing:
        raise JointsError(
            f"joints: expected {shortened(missing)} among the names, "
            f"got {shortened(sorted(values))}"
        )
    result = np.array([values[name] for name in wanted], dtype=np.float64)
    if not np.all(np.isfinite(result)):
        raise JointsError(f"joints: expected finite positions, got {result}")
    return result
