"""Questions that a policy's answers alone can decide: does it look, does it listen?

For policies whose insides are not ours: LeRobot's, and those that another machine computes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from policies.interface import ActionChunk, Observation, UnfitPolicyError

PROBE_SIZE_PX = 224
PROBE_INSTRUCTIONS = ("pick up the red cube", "open the drawer")
PROBE_SEED = 0


def check_answers_differ(
    predict: Callable[[Observation], ActionChunk], cameras: tuple[str, ...], words: bool = True
) -> None:
    """Other pictures, and unless `words` is false other instructions, get other answers.

    Only identical answers are held against a policy: one that draws noise always passes.
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
    if words and np.array_equal(predict(_probe(noise, second, cameras)).actions, seen[-1]):
        raise UnfitPolicyError(
            f"the policy ignores the instruction: {first!r} and {second!r} give the same actions"
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
