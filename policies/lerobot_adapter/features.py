"""From an `Observation` to the features a LeRobot checkpoint declares.

A LeRobot policy names its inputs (`observation.state`, `observation.images.front`, ...) and gives
their shapes. What an `Observation` has under such a name is listed here; anything else is refused
before the robot moves. Columns are the same as those of the datasets that `vla-ros collect` writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.utils.constants import OBS_IMAGES, OBS_STATE
from numpy.typing import NDArray
from torch import Tensor

from policies.interface import Observation, ObservationError
from policies.openvla.config import CheckpointError
from policies.openvla.state import DATASET_STATE_NAMES, dataset_state

IMAGE_PREFIX = OBS_IMAGES + "."
# The networks of these types read no state but `observation.state`, whatever else they declare:
# `lerobot-train` declares every column of the dataset, the simulator's truth among them.
READ_ONE_STATE = frozenset({"act", "diffusion", "vqbet", "smolvla", "pi0", "pi05"})


def tool_state(observation: Observation) -> NDArray[np.float64]:
    """(8,): tool position [m], quaternion w x y z, gripper opening, as datasets store it."""
    return dataset_state(
        observation.ee_position, observation.ee_quaternion, observation.gripper_opening
    )


VECTORS: dict[str, tuple[int, Callable[[Observation], NDArray]]] = {
    OBS_STATE: (len(DATASET_STATE_NAMES), tool_state),
    "observation.joint_positions": (7, lambda observation: observation.joint_positions),
}


@dataclass(frozen=True)
class FeatureMap:
    """Which parts of an observation a checkpoint takes, under which names."""

    cameras: Mapping[str, tuple[int, int]]  # camera -> (height, width) in pixels
    vectors: tuple[str, ...]  # of `VECTORS`

    @classmethod
    def of(
        cls,
        inputs: Mapping[str, PolicyFeature],
        rename: Mapping[str, str],
        policy_type: str,
        source: str,
    ) -> FeatureMap:
        """Match a checkpoint's inputs; `rename` is its pre-processor's: our name -> its name.

        Raises `CheckpointError` naming the input that cannot be supplied, and the choices.
        """
        ours = {its: mine for mine, its in rename.items()}
        cameras: dict[str, tuple[int, int]] = {}
        vectors: list[str] = []
        for its_name, feature in inputs.items():
            name = ours.get(its_name, its_name)
            shape = tuple(feature.shape)
            if feature.type is FeatureType.VISUAL and name.startswith(IMAGE_PREFIX):
                if len(shape) != 3 or shape[0] != 3:
                    raise CheckpointError(
                        f"{source}: {its_name}: expected shape (3, height, width), got {shape}"
                    )
                cameras[name.removeprefix(IMAGE_PREFIX)] = (shape[1], shape[2])
            elif name in VECTORS:
                if shape != (VECTORS[name][0],):
                    raise CheckpointError(
                        f"{source}: {its_name}: expected {VECTORS[name][0]} numbers, as "
                        f"`vla-ros collect` writes them, the checkpoint takes {shape}"
                    )
                vectors.append(name)
            elif feature.type is FeatureType.STATE and policy_type in READ_ONE_STATE:
                continue
            else:
                raise CheckpointError(
                    f"{source}: input {its_name!r} of shape {shape} cannot be supplied; there are "
                    f"{IMAGE_PREFIX}<camera>, {', '.join(VECTORS)}. Train without it "
                    "(--policy.input_features), or rename one of these to it (--rename_map)"
                )
        return cls(cameras, tuple(vectors))

    def batch(self, observation: Observation) -> dict[str, object]:
        """A batch of one, before the checkpoint's own pre-processor: images (1, 3, h, w) in [0, 1],
        vectors (1, n), and the instruction as `task`. Raises `ObservationError`.
        """
        values: dict[str, object] = {"task": [observation.instruction]}
        for camera, size in self.cameras.items():
            values[IMAGE_PREFIX + camera] = resized(observation.camera(camera), size)
        for name in self.vectors:
            length, read = VECTORS[name]
            vector = np.asarray(read(observation), dtype=np.float32)
            if vector.shape != (length,):
                raise ObservationError(f"{name}: expected {length} numbers, got {vector.shape}")
            values[name] = torch.from_numpy(vector)[None]
        return values


def resized(image: NDArray[np.uint8], size_px: tuple[int, int]) -> Tensor:
    """(h, w, 3) uint8 -> (1, 3, *size_px) in [0, 1], as torchvision's `Resize` does in training."""
    tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    scaled = tensor.float() / 255.0
    return F.interpolate(scaled, size_px, mode="bilinear", antialias=True, align_corners=False)
