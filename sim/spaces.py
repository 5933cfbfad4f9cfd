"""The space of instructions: text that vector environments must not put into shared memory."""

from __future__ import annotations

import string

from gymnasium.error import CustomSpaceError
from gymnasium.spaces import Text
from gymnasium.vector.utils import create_shared_memory

# Text, not a set: sets are ordered differently in every process of a vector environment.
CHARACTERS = string.ascii_letters + string.digits + " ,.'-?!"
MAX_LENGTH = 200


class InstructionSpace(Text):
    """Instructions in plain language."""

    def __init__(self) -> None:
        super().__init__(MAX_LENGTH, min_length=0, charset=CHARACTERS)


@create_shared_memory.register(InstructionSpace)
def _refuse_shared_memory(space: InstructionSpace, n: int = 1, ctx: object = None) -> None:
    """Gymnasium's `AsyncVectorEnv` reads text from shared memory once, before the first reset.

    Every instruction would be 200 times the first character (1.4.0). It turns this error into one
    that says what to do: `shared_memory=False`.
    """
    raise CustomSpaceError("an instruction is text, which shared memory does not keep up to date")
