"""Gymnasium spaces that simulated and imagined environments share."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.error import CustomSpaceError
from gymnasium.spaces import Text
from gymnasium.vector.utils import create_shared_memory

from policies.interface import Observation

# Text, not a set: sets are ordered differently in every process of a vector environment.
CHARACTERS = string.ascii_letters + string.digits + " ,.'-?!"
MAX_LENGTH = 200


class InstructionSpace(Text):
    """Instructions in plain language, which vector environments must not put into shared memory."""

    def __init__(self) -> None:
        super().__init__(MAX_LENGTH, min_length=0, charset=CHARACTERS)


def observation_space(cameras: Sequence[str], image_size_px: int) -> spaces.Dict:
    """What an arm of seven joints sees and senses; see `sim.env.TabletopEnv`."""
    image = spaces.Box(0, 255, (image_size_px, image_size_px, 3), np.uint8)
    return spaces.Dict(
        {
            **dict.fromkeys(cameras, image),
            "joint_positions": spaces.Box(-np.pi, np.pi * 1.5, (7,), np.float64),
            "gripper_opening": spaces.Box(0.0, 1.0, (1,), np.float64),
            "ee_position": spaces.Box(-2.0, 2.0, (3,), np.float64),
            "ee_quaternion": spaces.Box(-1.0, 1.0, (4,), np.float64),
            "instruction": InstructionSpace(),
        }
    )


def observation_of(
    values: Mapping[str, Any], cameras: Sequence[str], stamp_ns: int = 0
) -> Observation:
    """A member of `observation_space` as the policies' `Observation`."""
    return Observation(
        images={name: values[name] for name in cameras if name in values},
        joint_positions=values["joint_positions"],
        gripper_opening=float(values["gripper_opening"][0]),
        ee_position=values["ee_position"],
        ee_quaternion=values["ee_quaternion"],
        instruction=values["instruction"],
        stamp_ns=stamp_ns,
    )


@create_shared_memory.register(InstructionSpace)
def _refuse_shared_memory(space: InstructionSpace, n: int = 1, ctx: object = None) -> None:
    """Gymnasium's `AsyncVectorEnv` reads text from shared memory once, before the first reset.

    Every instruction would be 200 times the first character (1.4.0). It turns this error into one
    that says what to do: `shared_memory=False`.
    """
    raise CustomSpaceError("an instruction is text, which shared memory does not keep up to date")
