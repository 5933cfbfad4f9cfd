"""The gate of a remote policy: what can be asked without its weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from policies.interface import (
    ACTION_DIM,
    ACTION_NAMES,
    ActionChunk,
    ActionError,
    Observation,
    ToolLimits,
    UnfitPolicyError,
)
from policies.openvla.errors import CheckpointError
from policies.openvla.statistics import SLACK, ActionStatistics, check_statistics
from policies.remote.welcome import Welcome

PROBE_SIZE_PX = 224
PROBE_INSTRUCTIONS = ("pick up the red cube", "open the drawer")
PROBE_SEED = 0


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


def check_answers_differ(
    predict: Callable[[Observation], ActionChunk], cameras: tuple[str, ...]
) -> None:
    """A server that tells nothing about its policy answers other pictures and words otherwise.

    Only identical answers are held against it: a policy that draws noise always passes.
    """
    size = (PROBE_SIZE_PX, PROBE_SIZE_PX, 3)
    noise = np.random.default_rng(PROBE_SEED).integers(0, 256, size, dtype=np.uint8)
    pictures = (np.full(size, 0, np.uint8), np.full(size, 255, np.uint8), noise)
    first, second = PROBE_INSTRUCTIONS
    seen = [predict(_probe(picture, first, cameras)).actions for picture in pictures]
    if all(np.array_equal(each, seen[0]) for each in seen):
        raise UnfitPolicyError(
            "the policy ignores the images: black, white and noise give the same actions"
        )
    if np.array_equal(predict(_probe(noise, second, cameras)).actions, seen[-1]):
        raise UnfitPolicyError(
            f"the policy ignores the instruction: {first!r} and {second!r} give the same actions"
        )


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


def _probe(picture: np.ndarray, instruction: str, cameras: tuple[str, ...]) -> Observation:
    """A tool above the table that points down."""
    return Observation(
        images=dict.fromkeys(cameras, picture),
        joint_positions=np.array([0.0, -0.5, 0.0, -2.0, 0.0, 1.5, 0.8]),
        gripper_opening=1.0,
        ee_position=np.array([0.45, 0.0, 0.25]),
        ee_quaternion=np.array([0.0, 1.0, 0.0, 0.0]),
        instruction=instruction,
        stamp_ns=0,
    )
