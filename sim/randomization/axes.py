"""The axes of domain randomization and their ranges: the one place where all of them stand.

A field's row says what is drawn, in which unit, how it changes the nominal world, what a range may
hold at most, and its ranges in the presets `train` and `hard`. `sim.randomization.domain` makes
presets of it and reads files that override it; `docs/randomization.md` prints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sim.patterns import PATTERNS

Operation = Literal["add", "scale", "set", "choice", "chance"]
# What is drawn: one number, three along x, y, z, one for every joint of the arm, one by name for
# every surface (table, floor, backdrop), item, movable body, or distractor.
Shape = Literal["one", "xyz", "joints", "surfaces", "items", "bodies", "distractors"]
Limits = tuple[float, float]

SURFACES = ("table", "floor", "backdrop")
DISTRACTOR_SHAPES = ("box", "capsule", "ellipsoid", "cylinder")
# None is a word of `sim.scene.COLORS`, and none could be taken for one.
DISTRACTOR_COLORS = {
    "white": (0.92, 0.92, 0.90),
    "grey": (0.50, 0.50, 0.50),
    "black": (0.08, 0.08, 0.09),
    "brown": (0.36, 0.24, 0.16),
    "beige": (0.80, 0.72, 0.60),
}
MAX_DISTRACTORS = 6


@dataclass(frozen=True)
class Field:
    """One number, or several alike, that an episode draws."""

    about: str
    operation: Operation  # on the nominal value; "set": the draw is the value
    unit: str  # "1" for factors, shares and counts
    allowed: Limits  # what a range may hold
    train: Limits | float | tuple[str, ...]  # the range; how often; the words to choose from
    hard: Limits | float | tuple[str, ...]
    shape: Shape = "one"
    distribution: str = "uniform"
    integer: bool = False
    choices: tuple[str, ...] = ()  # for operation "choice"


@dataclass(frozen=True)
class Axis:
    about: str
    fields: dict[str, Field]


AXES: dict[str, Axis] = {
    "lighting": Axis(
        "the lamp's direction, brightness and color, the room's light, shadows",
        {
            "direction": Field(
                "of the lamp's unit vector", "add", "1", (-0.9, 0.9),
                (-0.4, 0.4), (-0.7, 0.7), "xyz",
            ),
            "brightness": Field(
                "of the lamp", "scale", "1", (0.0, 3.0), (0.6, 1.4), (0.4, 1.7)
            ),
            "ambient": Field(
                "of the room's light", "scale", "1", (0.1, 3.0), (0.7, 1.3), (0.5, 1.6)
            ),
            "tint": Field(
                "of all light: red, green, blue", "scale", "1", (0.5, 1.5),
                (0.95, 1.05), (0.9, 1.1), "xyz",
            ),
            "shadows": Field(
                "how often the lamp casts them (3 to 6 times slower to draw)", "chance", "1",
                (0.0, 1.0), 0.0, 0.25,
            ),
        },
    ),
    "textures": Axis(
        "colors and patterns of table, floor and a backdrop; small shifts of the items' colors",
        {
            "surface_hue": Field(
                "round the color circle", "set", "1", (0.0, 1.0),
                (0.0, 1.0), (0.0, 1.0), "surfaces",
            ),
            "surface_saturation": Field(
                "0 is grey", "set", "1", (0.0, 1.0), (0.0, 0.3), (0.0, 0.45), "surfaces"
            ),
            "surface_value": Field(
                "0 is black", "set", "1", (0.0, 1.0), (0.35, 0.8), (0.2, 0.95), "surfaces"
            ),
            "pattern": Field(
                "drawn on the surface", "choice", "1", (0.0, 0.0),
                PATTERNS, PATTERNS, "surfaces", choices=PATTERNS,
            ),
            "contrast": Field(
                "of the pattern", "set", "1", (0.0, 1.0), (0.0, 0.3), (0.1, 0.6), "surfaces"
            ),
            "repeat": Field(
                "of the pattern over the surface", "set", "1", (0.5, 50.0),
                (1.0, 8.0), (1.0, 16.0), "surfaces", "log-uniform",
            ),
            "item_hue_deg": Field(
                "round the color circle", "add", "deg", (-12.0, 12.0),
                (-3.0, 3.0), (-6.0, 6.0), "items",
            ),
            "item_saturation": Field(
                "of the item's color", "scale", "1", (0.6, 1.2), (0.9, 1.05), (0.8, 1.1), "items"
            ),
            "item_value": Field(
                "of the item's color", "scale", "1", (0.6, 1.2), (0.9, 1.05), (0.8, 1.1), "items"
            ),
        },
    ),
    "camera": Axis(
        "where the cameras are and how much they see",
        {
            "position_m": Field(
                "of the front camera, base frame", "add", "m", (-0.5, 0.5),
                (-0.02, 0.02), (-0.05, 0.05), "xyz",
            ),
            "rotation_deg": Field(
                "of the front camera about its own axes: tilt, pan, roll", "add", "deg",
                (-30.0, 30.0), (-1.5, 1.5), (-4.0, 4.0), "xyz",
            ),
            "fov_deg": Field(
                "of the front camera, vertical", "add", "deg", (-15.0, 15.0),
                (-1.0, 1.0), (-3.0, 3.0),
            ),
            "wrist_position_m": Field(
                "of the wrist camera, hand frame", "add", "m", (-0.03, 0.03),
                (-0.002, 0.002), (-0.006, 0.006), "xyz",
            ),
            "wrist_rotation_deg": Field(
                "of the wrist camera about its own axes", "add", "deg", (-15.0, 15.0),
                (-1.0, 1.0), (-3.0, 3.0), "xyz",
            ),
        },
    ),
    "sensors": Axis(
        "what images and joint readings lose",
        {
            "image_noise": Field(
                "standard deviation per pixel, of 255", "set", "1", (0.0, 64.0),
                (0.0, 6.0), (3.0, 16.0),
            ),
            "image_blur_px": Field(
                "Gaussian's standard deviation in an image of 224 px", "set", "px", (0.0, 8.0),
                (0.0, 0.7), (0.3, 1.6),
            ),
            "exposure": Field("of the image", "scale", "1", (0.2, 3.0), (0.85, 1.15), (0.65, 1.4)),
            "gamma": Field(
                "exponent of the image", "set", "1", (0.3, 3.0), (0.9, 1.1), (0.75, 1.35)
            ),
            "joint_noise_rad": Field(
                "standard deviation per reading", "set", "rad", (0.0, 0.05),
                (0.0, 0.001), (0.001, 0.004),
            ),
            "joint_bias_rad": Field(
                "of every reading of an episode", "add", "rad", (-0.05, 0.05),
                (-0.001, 0.001), (-0.005, 0.005), "joints",
            ),
            "gripper_noise": Field(
                "standard deviation of the opening, of 1", "set", "1", (0.0, 0.2),
                (0.0, 0.005), (0.0, 0.02),
            ),
        },
    ),
    "objects": Axis(
        "size, mass and friction of what stands on the table",
        {
            "size": Field(
                "of cubes, cylinders and balls", "scale", "1", (0.5, 1.4),
                (0.92, 1.08), (0.8, 1.25), "items",
            ),
            "mass": Field(
                "of every body that moves freely, inertia with it", "scale", "1", (0.05, 20.0),
                (0.6, 1.7), (0.4, 2.5), "bodies", "log-uniform",
            ),
            "friction": Field(
                "sliding, of every body that moves freely", "scale", "1", (0.05, 5.0),
                (0.7, 1.3), (0.5, 1.5), "bodies",
            ),
            "table_friction": Field(
                "sliding; of two that touch the rougher one counts", "scale", "1", (0.05, 5.0),
                (0.7, 1.3), (0.5, 1.5),
            ),
            "finger_friction": Field(
                "sliding, of the finger pads", "scale", "1", (0.05, 5.0), (0.7, 1.3), (0.5, 1.5)
            ),
        },
    ),
    "table": Axis(
        "how high the table stands beside the robot",
        {
            "height_m": Field(
                "of the table's top, base frame", "add", "m", (-0.08, 0.08),
                (-0.01, 0.01), (-0.03, 0.03),
            ),
        },
    ),
    "joints": Axis(
        "the arm's passive dynamics",
        {
            "damping": Field(
                "viscous, of every joint", "scale", "1", (0.0, 100.0),
                (0.5, 2.0), (0.2, 5.0), "joints", "log-uniform",
            ),
            "friction": Field(
                "dry, of every joint", "scale", "1", (0.0, 20.0),
                (0.5, 1.5), (0.0, 3.0), "joints",
            ),
        },
    ),
    "actuators": Axis(
        "the gains of the position servos",
        {
            "stiffness": Field(
                "of every joint's servo", "scale", "1", (0.02, 10.0),
                (0.85, 1.15), (0.5, 1.3), "joints",
            ),
            "damping": Field(
                "of every joint's servo", "scale", "1", (0.02, 10.0),
                (0.85, 1.15), (0.6, 1.4), "joints",
            ),
            "gripper": Field(
                "both gains of the fingers' servos", "scale", "1", (0.1, 10.0),
                (0.85, 1.15), (0.6, 1.5),
            ),
        },
    ),
    "latency": Axis(
        "how late commands arrive",
        {
            "delay_ms": Field(
                "of every command", "set", "ms", (0.0, 1000.0), (0.0, 40.0), (20.0, 120.0)
            ),
            "jitter_ms": Field(
                "largest extra delay, drawn for every command", "set", "ms", (0.0, 500.0),
                (0.0, 10.0), (0.0, 40.0),
            ),
        },
    ),
    "observation": Axis(
        "how late observations are, and how many are lost",
        {
            "delay_ms": Field(
                "of images and readings alike", "set", "ms", (0.0, 1000.0),
                (0.0, 40.0), (20.0, 120.0),
            ),
            "drop": Field(
                "share of observations that repeat the one before", "set", "1", (0.0, 0.95),
                (0.0, 0.02), (0.0, 0.15),
            ),
        },
    ),
    "distractors": Axis(
        "things on the table that no instruction names",
        {
            "count": Field(
                "that find room; fewer where it is crowded", "set", "1", (0, MAX_DISTRACTORS),
                (0, 2), (2, 4), integer=True,
            ),
            "size_m": Field(
                "half the shorter side", "set", "m", (0.005, 0.04),
                (0.012, 0.022), (0.012, 0.03), "distractors",
            ),
            "shape": Field(
                "of the distractor", "choice", "1", (0.0, 0.0),
                DISTRACTOR_SHAPES, DISTRACTOR_SHAPES, "distractors", choices=DISTRACTOR_SHAPES,
            ),
            "color": Field(
                "of the distractor", "choice", "1", (0.0, 0.0),
                tuple(DISTRACTOR_COLORS), tuple(DISTRACTOR_COLORS), "distractors",
                choices=tuple(DISTRACTOR_COLORS),
            ),
        },
    ),
    "wording": Axis(
        "paraphrases of the instruction",
        {
            "polite": Field("please, could you, ...", "chance", "1", (0.0, 1.0), 0.2, 0.6),
            "synonyms": Field(
                "share of the verbs and prepositions that are exchanged", "set", "1", (0.0, 1.0),
                (0.0, 0.5), (0.4, 1.0),
            ),
            "nouns": Field(
                "share of the nouns that are exchanged (cube: block)", "set", "1", (0.0, 1.0),
                (0.0, 0.2), (0.2, 0.8),
            ),
        },
    ),
}  # fmt: skip
