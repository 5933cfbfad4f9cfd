"""Draws `docs/randomization.png`: what each preset looks like. Left to right: five seeds of the
front camera, the last one's wrist camera.

python -m sim.randomization.sheet docs/randomization.png
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sim.env import TabletopEnv

PRESETS_SHOWN = (
    "nominal", "lighting", "textures", "camera", "sensors", "objects", "table", "distractors",
    "train", "hard",
)  # fmt: skip
SEEDS = (1000, 1001, 1003, 1007, 1011)
SIDE_PX = 168


def row(preset: str) -> NDArray[np.uint8]:
    """(SIDE_PX, 6 SIDE_PX, 3)"""
    env = TabletopEnv("PickPlace", randomization=preset)
    seen = [env.reset(seed=seed)[0] for seed in SEEDS]
    env.close()
    images = [values["front"] for values in seen] + [seen[-1]["wrist"]]
    small = [Image.fromarray(image).resize((SIDE_PX, SIDE_PX)) for image in images]
    strip = Image.fromarray(np.concatenate([np.asarray(image) for image in small], axis=1))
    ImageDraw.Draw(strip).text(
        (4, 3), preset, font_size=15, fill="white", stroke_fill="black", stroke_width=2
    )
    return np.asarray(strip)


def main() -> None:
    (path,) = sys.argv[1:]
    sheet = Image.fromarray(np.concatenate([row(preset) for preset in PRESETS_SHOWN], axis=0))
    sheet.quantize(192).save(path, optimize=True)


if __name__ == "__main__":
    main()
