"""What a planner expects, for people to look at. No ROS, no torch."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class Imagining(Protocol):
    """A policy that knows what its last chunk should lead to."""

    def expectation(self) -> Any:
        """A `world_models.planning.world_model_planner.Expectation`, or None."""


def picture_of(policy: Imagining) -> tuple[NDArray[np.uint8], int] | None:
    """The end of what is expected, (s, s, 3) RGB, and its stamp [ns]; None: there is no picture.

    Asking for it also lets the next chunk's diagnostics tell how wrong it was.
    """
    expected = policy.expectation()
    if expected is None or expected.pictures is None:
        return None
    return expected.pictures[-1], expected.stamps_ns[-1]
