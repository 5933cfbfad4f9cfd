"""Training data in memory: images, states and what to say about each.

Pretraining's views and a dataset's demonstrations become the same thing here: n images with m
instructions each (demonstrations have one), and for every instruction the numbers to be named.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from policies.interface import ACTION_DIM


@dataclass(frozen=True)
class PatchLabels:
    """What is seen where; only simulation knows it."""

    item_classes: NDArray[np.int64]  # (n, items), -1 = none
    item_positions: NDArray[np.float32]  # (n, items, 3) [m], base frame
    patch_items: NDArray[np.int64]  # (n, patches) index of the item seen there, -1 = none
    target_items: NDArray[np.int64]  # (n, m) index of the item each instruction is about
    captions: list[str]  # n
    class_names: tuple[str, ...]  # of the classes, as instructions word them

    @property
    def class_count(self) -> int:
        return len(self.class_names)


@dataclass(frozen=True)
class Examples:
    """n images, m instructions each."""

    images: NDArray[np.uint8]  # (n, s, s, 3) RGB at the model's size
    states: NDArray[np.float32]  # (n, 7), see `policies.openvla.state`
    instructions: list[list[str]]  # n lists of m
    grounding: NDArray[np.float32]  # (n, m, g) [m], nan where unknown
    actions: NDArray[np.float32]  # (n, m, 7), nan where unknown
    patches: PatchLabels | None = None
    later_actions: NDArray[np.float32] | None = None  # (n, m, k, 7) after those, nan where unknown

    def __post_init__(self) -> None:
        count = len(self.images)
        lengths = {
            "states": len(self.states),
            "instructions": len(self.instructions),
            "grounding": len(self.grounding),
            "actions": len(self.actions),
        }
        wrong = {name: length for name, length in lengths.items() if length != count}
        if wrong:
            raise ValueError(f"expected {count} rows like images, got {wrong}")
        if self.actions.shape[-1] != ACTION_DIM:
            raise ValueError(
                f"actions: expected {ACTION_DIM} numbers, got {self.actions.shape[-1]}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def chunks(self, rows: NDArray, choices: NDArray, length: int) -> NDArray[np.float32]:
        """(b, length, 7): the actions of these rows and what follows them, nan where unknown."""
        chunk = np.full((len(rows), length, ACTION_DIM), np.nan, dtype=np.float32)
        chunk[:, 0] = self.actions[rows, choices]
        if self.later_actions is not None and length > 1:
            later = self.later_actions[rows, choices, : length - 1]
            chunk[:, 1 : 1 + later.shape[1]] = later
        return chunk

    @cached_property
    def instruction_weights(self) -> NDArray[np.float64]:
        """(n, m): how often to draw each instruction, so that every item of an image is named as
        often as any other. Otherwise what is nearest to the gripper is a good guess.
        """
        if self.patches is None:
            return np.ones(self.actions.shape[:2])
        targets = self.patches.target_items
        return 1.0 / (targets[:, :, None] == targets[:, None, :]).sum(-1)

    def rows(self, rows: slice) -> Examples:
        """Some of the rows; without patch labels."""
        return Examples(
            self.images[rows],
            self.states[rows],
            self.instructions[rows],
            self.grounding[rows],
            self.actions[rows],
            later_actions=None if self.later_actions is None else self.later_actions[rows],
        )
