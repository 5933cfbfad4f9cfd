"""How a checkpoint wants its images: the numbers of the original's `preprocessor_config.json`.

They are a checkpoint's own: openvla-7b's are ImageNet's rounded to bfloat16.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policies.openvla.errors import CheckpointError
from policies.openvla.json_file import read_object

PREPROCESSOR = "preprocessor_config.json"
Channels = tuple[float, float, float]  # red, green, blue


@dataclass(frozen=True)
class ImageNormalization:
    """Subtracted from and divided into an image in [0, 1], once per tower (DINOv2, SigLIP)."""

    means: tuple[Channels, Channels] = ((0.485, 0.456, 0.406), (0.5, 0.5, 0.5))  # ImageNet; SigLIP
    stds: tuple[Channels, Channels] = ((0.229, 0.224, 0.225), (0.5, 0.5, 0.5))


def preprocessor_config(
    normalization: ImageNormalization, image_sizes: tuple[int, ...]
) -> dict[str, Any]:
    """The original's `preprocessor_config.json`."""
    return {
        "image_processor_type": "PrismaticImageProcessor",
        "image_resize_strategy": "resize-naive",
        "input_sizes": [[3, size, size] for size in image_sizes],
        "interpolations": ["bicubic", "bicubic"],
        "means": [list(mean) for mean in normalization.means],
        "stds": [list(std) for std in normalization.stds],
        "use_fused_vision_backbone": True,
    }


def read_normalization(folder: Path, image_sizes: tuple[int, ...]) -> ImageNormalization:
    """The means and deviations of a folder; those of timm's towers where it has no file.

    Raises `CheckpointError` for a file that is not valid, or that wants images of other sizes or
    prepared in another way than `policies.openvla.preprocess` does.
    """
    path = folder / PREPROCESSOR
    if not path.is_file():
        return ImageNormalization()
    given = read_object(path)
    ours = preprocessor_config(ImageNormalization(), image_sizes)
    for name in (
        "image_resize_strategy", "input_sizes", "interpolations", "use_fused_vision_backbone",
    ):  # fmt: skip
        if given.get(name, ours[name]) != ours[name]:
            raise CheckpointError(f"{path}: {name}: expected {ours[name]}, got {given[name]}")
    means, stds = (_channels(path, name, given.get(name, ours[name])) for name in ("means", "stds"))
    if min(stds[0] + stds[1]) <= 0:
        raise CheckpointError(f"{path}: stds: expected positive numbers, got {given['stds']}")
    return ImageNormalization(means, stds)


def _channels(path: Path, name: str, given: Any) -> tuple[Channels, Channels]:
    try:
        first, second = (tuple(float(number) for number in row) for row in given)
        if len(first) == len(second) == 3:
            return (first[0], first[1], first[2]), (second[0], second[1], second[2])
    except (TypeError, ValueError):
        pass
    raise CheckpointError(f"{path}: {name}: expected 3 numbers for each of 2 towers, got {given}")
