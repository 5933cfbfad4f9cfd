"""What a checkpoint is expected to compute, in files beside its weights or in `golden/`.

`expected.safetensors` holds, per image `i`: `i.input_ids`, `i.pixel_values_stride<n>`,
`i.patch_features` and `i.projected` (every so many patches), `i.last_logits`, `i.generated_ids`,
`i.action.<unnorm_key>` and, for models with a state token, `i.state`; further `train.*` (a batch,
its loss) and `tokenizer.*` (numbers, their token ids, what those decode to). `expected.json` adds
gradient norms and instructions. Any part may be absent. `image_<i>.png` are the images.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError
from safetensors.numpy import save
from safetensors.torch import load_file

from policies.openvla.config import CheckpointError

EXPECTED = "expected.safetensors"
ABOUT = "expected.json"
GOLDEN = "golden"


@dataclass(frozen=True)
class Expectations:
    """The files' contents, read and checked; images are read when asked for."""

    folder: Path
    tensors: dict[str, NDArray]
    about: dict[str, Any]

    @property
    def cases(self) -> list[int]:
        """The numbers of the images, rising."""
        numbers = (re.match(r"(\d+)\.", name) for name in self.tensors)
        return sorted({int(match[1]) for match in numbers if match})

    def case(self, index: int) -> dict[str, NDArray]:
        """What is expected of image `index`, by name without its number."""
        start = f"{index}."
        return {
            name.removeprefix(start): value
            for name, value in self.tensors.items()
            if name.startswith(start)
        }

    def about_case(self, index: int) -> dict[str, Any]:
        """What `expected.json` says about image `index`; {} for nothing."""
        cases = self.about.get("cases", [])
        return cases[index] if index < len(cases) and isinstance(cases[index], dict) else {}

    def image(self, index: int) -> NDArray[np.uint8]:
        """(h, w, 3) uint8 RGB. Raises `CheckpointError` when there is none."""
        name = str(self.about_case(index).get("image", f"image_{index}.png"))
        if name != Path(name).name:
            raise CheckpointError(
                f"{self.folder / ABOUT}: image: expected a file in this folder, got {name!r}"
            )
        # Images may lie beside the weights while the numbers are in golden/.
        folders = [self.folder, *([self.folder.parent] if self.folder.name == GOLDEN else [])]
        for path in (folder / name for folder in folders):
            if path.is_file():
                try:
                    return np.asarray(Image.open(path).convert("RGB"))
                except (UnidentifiedImageError, OSError) as error:
                    raise CheckpointError(f"{path}: not an image ({error})") from None
        raise CheckpointError(f"{self.folder}: expected the image {name}, found none")


def has_expectations(folder: Path) -> bool:
    """Whether a checkpoint folder says what it should compute."""
    return any((place / EXPECTED).is_file() for place in (folder, folder / GOLDEN))


def read_expectations(folder: Path) -> Expectations:
    """Of a checkpoint folder: those beside its weights, else those in `golden/`.

    Raises `CheckpointError` when there are none or the files are not valid.
    """
    place = next((p for p in (folder, folder / GOLDEN) if (p / EXPECTED).is_file()), None)
    if place is None:
        raise CheckpointError(
            f"{folder}: expected {EXPECTED} beside the weights or in {GOLDEN}/, found none; "
            "`vla-ros verify-checkpoint DIR --write` writes what the checkpoint computes now"
        )
    path = place / EXPECTED
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error})") from None
    about: Any = {}
    if (place / ABOUT).is_file():
        try:
            about = json.loads((place / ABOUT).read_text())
        except ValueError as error:
            raise CheckpointError(f"{place / ABOUT}: not valid JSON ({error})") from None
    if not isinstance(about, dict):
        raise CheckpointError(f"{place / ABOUT}: expected a JSON object, got {about!r:.40}")
    if not tensors:
        raise CheckpointError(f"{path}: expected some figures, found none")
    return Expectations(
        place,
        # NumPy has no bfloat16.
        {
            name: (value.float() if value.dtype.itemsize == 2 else value).numpy()
            for name, value in tensors.items()
        },
        about,
    )


def write_files(
    folder: Path,
    tensors: dict[str, NDArray],
    about: dict[str, Any],
    images: Sequence[NDArray[np.uint8]],
) -> Path:
    """Write `folder/golden/` anew, whole or not at all; returns it."""
    partial = folder / f"{GOLDEN}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    # Not `save_file`: what it writes only its owner can read.
    contents = save({name: np.ascontiguousarray(value) for name, value in tensors.items()})
    (partial / EXPECTED).write_bytes(contents)
    (partial / ABOUT).write_text(json.dumps(about, indent=1) + "\n")
    for index, image in enumerate(images):
        Image.fromarray(image).save(partial / f"image_{index}.png", optimize=True)
    shutil.rmtree(folder / GOLDEN, ignore_errors=True)
    return partial.rename(folder / GOLDEN)
