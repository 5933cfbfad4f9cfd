"""What a scene file can say: every field with its type, default and meaning, as data.

`sim.scenes.values` reads by these tables, docs/scenes.md shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sim.patterns import PATTERNS
from sim.scene import COLORS, DRAWER_TRAVEL_M, FRONT_FOV_DEG, SHAPES, SURFACE_LIMITS, TABLE
from sim.tasks.base import ITEM_AREA
from sim.tasks.push import DIRECTIONS

FILE_SUFFIXES = (".yaml", ".yml", ".json")
REQUIRED = "required"
CARRIED = ("cube", "cylinder", "ball")  # what the fingers can grasp
FLAT = ("cube", "cylinder")
FIXTURES = ("drawer", "button", "mat")
GRAINS = ("beads", "crumbs")
KINDS = (*SHAPES, *FIXTURES, *GRAINS)
SIDES = {"left_of": "left", "right_of": "right", "front_of": "front", "behind": "behind"}
RELATIONS = (*SIDES, "near", "on", "inside")
INSIDE = ("bowl", "cup", "drawer")  # what something can be in
COMPACT = tuple(kind for kind in KINDS if kind != "drawer")  # that have a middle
CONTAINERS = ("bowl", "drawer")  # what the robot can put something into
TOUCHED = tuple(kind for kind in KINDS if kind != "mat")  # a mat has no thickness


@dataclass(frozen=True)
class Field:
    """One field. `type` is a key of `sim.scenes.values.READERS`."""

    type: str
    about: str
    default: Any = REQUIRED  # None: nothing, or what `otherwise` says
    otherwise: str = ""
    low: float = 0.0  # of numbers
    high: float = 0.0
    choices: tuple[str, ...] = ()  # of words
    kinds: tuple[str, ...] = KINDS  # of objects that have it, or that a reference may name


Table = Mapping[str, Field]


def _surface(
    name: str,
    about: str,
    default: Any,
    otherwise: str = "",
    kinds: tuple[str, ...] = KINDS,
    reader: str = "number",
) -> Field:
    """A field of `sim.scene.Surface`."""
    low, high = SURFACE_LIMITS[name]
    return Field(reader, about, default, otherwise, low, high, kinds=kinds)


def _item(kinds: tuple[str, ...] = CARRIED) -> Field:
    return Field("object", "what is handled", kinds=kinds)


FILE: Table = {
    "about": Field("text", "for people", ""),
    "instruction": Field(
        "texts", "one wording, or a list to draw from; `{name}` stands for an object"
    ),
    "objects": Field("list", "what stands on the table; the robot's base is at x = y = 0"),
    "success": Field("list", "what must hold in the end, all of it; experts go in this order"),
    "max_steps": Field(
        "count", "time limit in steps of 0.1 s", None, "what its parts need", low=1, high=1000
    ),
    "camera": Field("mapping", "the front camera: offset from its usual pose, and view", {}),
    "light": Field("mapping", "the lamp", {}),
    "table_rgb": Field("rgb", "the table's color", [0.56, 0.48, 0.40], low=0.0, high=1.0),
    "materials": Field("mapping", "by names, which objects and the table say", None),
    "table_material": Field("material", "the table's", None),
}
MATERIAL: Table = {
    "rgb": Field("rgb", "objects have the color that names them", None, high=1.0, kinds=(TABLE,)),
    "pattern": Field("word", "shades of the color", "plain", choices=PATTERNS),
    "contrast": _surface("contrast", "of the pattern", 0.4),
    "repeat": _surface("repeat", "of the pattern over the table, or over each side", 1.0),
    "shininess": _surface("shininess", "how small the lamp's highlight is", 0.5),
    "specular": _surface("specular", "how bright the lamp's highlight is", 0.5),
    "reflectance": _surface("reflectance", "1 is a mirror", 0.0, kinds=(TABLE,)),
    "friction": _surface(
        "friction", "sliding, whatever it touches", None, "that of the kind",
        kinds=(TABLE, *TOUCHED),
    ),
    "density_kg_m3": Field(
        "number", "wood is 700, steel 7800", None, "the mass of the kind",
        low=100, high=20000, kinds=SHAPES,
    ),
}  # fmt: skip
CAMERA: Table = {
    "position_m": Field("vector", "base frame", [0.0, 0.0, 0.0], low=-0.5, high=0.5),
    "rotation_deg": Field(
        "vector", "about its own axes: tilt up, pan left, roll", [0.0, 0.0, 0.0], low=-45, high=45
    ),
    "fov_deg": Field("number", "how much it sees, vertical", FRONT_FOV_DEG, low=20, high=120),
}
LIGHT: Table = {
    "direction": Field("vector", "of the light, base frame", [-0.2, 0.1, -1.0], low=-1, high=1),
    "brightness": Field("number", "0 is dark", 0.6, low=0.0, high=1.0),
    "shadows": Field("flag", "drawn 3 to 6 times slower", False),
}
OBJECT: Table = {
    "kind": Field("words", "one, or a list to draw from", choices=KINDS),
    "color": Field("words", "one, or a list to draw from", choices=tuple(COLORS)),
    "name": Field("name", "what the rest of the file calls it", None, "color and kind, `red cube`"),
    # The bounds are the table's edges.
    "x_m": Field("range", "forward of the base", list(ITEM_AREA[:2]), low=-0.2, high=1.1),
    "y_m": Field("range", "to the robot's left", list(ITEM_AREA[2:]), low=-0.6, high=0.6),
    "place": Field("mapping", "by an object above it in the list, instead of x_m, y_m", None),
    "yaw_deg": Field("range", "about the vertical", 0.0, low=-180, high=180, kinds=SHAPES),
    "size_m": Field(
        "range", "half edge or radius; half height", 0.022, low=0.01, high=0.035, kinds=CARRIED
    ),
    "opening_m": Field("range", "at the start", 0.0, high=DRAWER_TRAVEL_M, kinds=("drawer",)),
    "half_size_m": Field(
        "pair", "along x and y", [0.06, 0.08], low=0.01, high=0.3, kinds=("mat",)
    ),
    "count": Field("count", "how many grains", 10, low=1, high=50, kinds=GRAINS),
    "spread_m": Field("number", "radius of the heap", 0.02, low=0.01, high=0.15, kinds=GRAINS),
    "material": Field("material", "how it looks, slides, and how heavy it is", None),
    "friction": _surface(
        "friction", "sliding, whatever it touches", None, "its material's, or that of its kind",
        reader="range", kinds=TOUCHED,
    ),
    "mass_kg": _surface(
        "mass_kg", "all of it", None, "its material's, or that of its kind",
        reader="range", kinds=SHAPES,
    ),
}  # fmt: skip
PLACE: Table = {
    **{
        relation: Field("object", "as the robot sees it, which looks along x", None)
        for relation in SIDES
    },
    "near": Field("object", "in any direction", None),
    "on": Field("object", "on top of it", None, kinds=(*FLAT, "mat")),
    "inside": Field("object", "in it, or in what is open of it", None, kinds=INSIDE),
    "distance_m": Field(
        "range", "of the two middles; not for `on` and `inside`", [0.10, 0.15], low=0.0, high=0.5
    ),
}
_SIDE: Table = {
    "item": _item(),
    "other": Field("object", "beside which it is put", kinds=COMPACT),
    "distance_m": Field(
        "range", "of the two middles, along", None, "0.05 to 0.16; bowl: 0.10 to 0.20", high=0.4
    ),
    "aside_m": Field("number", "the middles' distance across, at most", 0.04, low=0.01, high=0.2),
}
PREDICATES: dict[str, Table] = {
    "lifted": {
        "item": _item(),
        "height_m": Field("number", "held above where it stood", 0.10, low=0.02, high=0.15),
    },
    "inside": {
        "item": _item(),
        "container": Field("object", "in which it is let go", kinds=CONTAINERS),
    },
    "on": {
        "item": _item(FLAT),
        "below": Field("object", "on which it is let go", kinds=(*FLAT, "mat")),
    },
    **dict.fromkeys(SIDES, _SIDE),
    "near": {
        "item": _item(SHAPES),
        "other": Field("object", "of which it is let go at rest", kinds=COMPACT),
        "distance_m": Field("number", "of the two middles, at most", 0.15, low=0.02, high=0.5),
    },
    "moved": {
        "item": _item(FLAT),
        "direction": Field("word", "as the robot sees it", choices=tuple(DIRECTIONS)),
        "distance_m": Field("number", "along, from where it stood", 0.08, low=0.02, high=0.15),
        "aside_m": Field("number", "across, at most", 0.05, low=0.01, high=0.2),
    },
    "drawer": {
        "name": Field("object", "which", kinds=("drawer",)),
        "open": Field("flag", "true: beyond 8 of 10 cm; false: below 6 mm"),
    },
    "pressed": {"button": Field("object", "8 of 12 mm down", kinds=("button",))},
    "poured": {
        "cup": Field("object", "out of which", kinds=("cup",)),
        "container": Field("object", "8 of 10 beads end there", kinds=("bowl",)),
    },
}
TABLES: dict[str, Table] = {
    "": FILE,
    "materials.NAME.": MATERIAL,
    "camera.": CAMERA,
    "light.": LIGHT,
    "objects[].": OBJECT,
    "objects[].place.": PLACE,
    **{f"success[].{name}.": table for name, table in PREDICATES.items()},
}
