"""The gate of a remote policy: what can be asked without its weights."""

from __future__ import annotations

import numpy as np

from policies.interface import (
    ACTION_DIM,
    ACTION_NAMES,
    ActionChunk,
    ActionError,
    ToolLimits,
    UnfitPolicyError,
)
from policies.openvla.errors import CheckpointError
from policies.openvla.statistics import SLACK, ActionStatistics, check_statistics
from policies.remote.welcome import Welcome


def check_description(welcome: Welcome, limits: ToolLimits) -> None:
    """Our server's policy has passed its own gate, and its statistics fit this robot's limits."""
    if not welcome.checked:
        raise UnfitPolicyError(
            f"the server did not check that {welcome.policy} looks, listens and computes what it "
            "should; `vla-ros serve` does"
        )
    if welcome.statistics is None:
        return  # every chunk is checked instead
    values = dict(welcome.statistics)
    key = values.pop("key")
    try:
        statistics = ActionStatistics.from_norm_stats({key: {"action": values}}, key, ACTION_DIM)
    except (CheckpointError, TypeError) as error:
        raise UnfitPolicyError(f"the server's statistics: {error}") from error
    if welcome.rate_hz is None:
        raise UnfitPolicyError("the server does not say how many actions a second it means")
    check_statistics(statistics, welcome.rate_hz, limits)


def check_actions(chunk: ActionChunk, limits: ToolLimits) -> None:
    """Raises `ActionError` for displacements that the controller would not carry out."""
    if chunk.mode != "delta":
        return  # poses: the executor limits the way to them
    farthest = np.abs(chunk.actions[:, :6]).max(axis=0)
    speed, turn = limits.speed_m_s * chunk.dt_s, limits.turn_rad_s * chunk.dt_s
    allowed = np.array([min(speed, limits.step_m)] * 3 + [turn] * 3) * SLACK
    for axis in np.flatnonzero(farthest > allowed)[:1]:
        unit = "m" if axis < 3 else "rad"
        raise ActionError(
            f"actions: {ACTION_NAMES[axis]}: a step of {farthest[axis]:.3g} {unit} in "
            f"{chunk.dt_s:g} s; the controller allows {allowed[axis]:.3g} {unit}"
        )
