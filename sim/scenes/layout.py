"""Draws a scene from its description: kinds, colors, sizes, then a spot for each object.

What is drawn over an area keeps clear of everything, so that the open gripper fits between; what
the file puts at a fixed spot, or relative to another object, only must not overlap that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from sim.scene import (
    DRAWER_DEPTH_M,
    DRAWER_TRAVEL_M,
    DRAWER_WIDTH_M,
    HANDLE_OFFSET_M,
    SHAPES,
    Button,
    Drawer,
    Grains,
    Item,
    Mat,
    Scene,
)
from sim.scenes.description import Description, Part
from sim.scenes.fields import FIXTURES, SIDES
from sim.scenes.materials import surfaces_of
from sim.tabletop import Tabletop
from sim.tasks import base
from sim.tasks.place_relative import RELATIONS
from sim.tasks.pour import CUP_FLOOR_M

SPOTS = 300  # tried for an object before the layout is begun anew
OVERLAP_M = 0.001  # more than what bodies at rest sink into each other
FLOOR_M = {"bowl": 0.0065, "cup": CUP_FLOOR_M, "drawer": 0.0075}  # of what lies in it
MAT_EDGE_M = 0.03  # things that are put on a mat keep away from its edge
# A chest, its drawer, the way that opens and the handle, around the front's middle: x, y [m].
CHEST_M = (-DRAWER_DEPTH_M - 0.008, HANDLE_OFFSET_M + DRAWER_TRAVEL_M + 0.005)
CHEST_HALF_WIDTH_M = DRAWER_WIDTH_M / 2 + 0.01

Thing = Item | Drawer | Button | Mat | Grains


class Misfit(Exception):
    """What was drawn cannot be: the reason. Another draw may fit."""


@dataclass
class Layout:
    """Objects by the names that the file calls them."""

    things: dict[str, Thing] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    drawn: dict[str, dict[str, Any]] = field(default_factory=dict)  # of the parts' values

    def called(self, name: str) -> str:
        """How errors speak of an object: where it is in the file, and what was drawn."""
        return f"{self.parts[name].path} ({self.things[name].name})"


def draw_layout(description: Description, rng: np.random.Generator) -> Layout:
    """Draw all objects. Raises `Misfit`."""
    layout = Layout()
    for part in description.parts:
        _add(layout, part, rng)
    return layout


def to_scene(description: Description, layout: Layout) -> Scene:
    """The drawn objects as a scene, in the file's order."""
    things = layout.things.values()
    return Scene(
        items=tuple(thing for thing in things if isinstance(thing, Item)),
        furniture=tuple(thing for thing in things if isinstance(thing, Drawer | Button | Mat)),
        grains=tuple(thing for thing in things if isinstance(thing, Grains)),
        surfaces=surfaces_of(description, layout),
        **description.look,
    )


def names_in(description: Description, scene: Scene) -> dict[str, str]:
    """The file's name -> the name in a scene that was drawn from it."""
    items, furniture, grains = iter(scene.items), iter(scene.furniture), iter(scene.grains)
    names = {}
    for part in description.parts:
        pool = items if part.kinds[0] in SHAPES else grains
        names[part.name] = next(furniture if part.kinds[0] in FIXTURES else pool).name
    return names


def check_overlaps(layout: Layout, world: Tabletop) -> None:
    """Raises `Misfit` where two objects, or one and the robot, are in the same place."""
    model, data = world.model, world.data
    owners: dict[str, list[int]] = {name: [] for name in layout.things}
    robot = []
    for geom in range(model.ngeom):
        body = model.body(model.geom_bodyid[geom]).name
        solid = model.geom_contype[geom] or model.geom_conaffinity[geom]
        for name, thing in layout.things.items():
            if solid and (body == thing.name or body.startswith(f"{thing.name} ")):
                owners[name].append(geom)
                break
        else:
            if solid and model.geom(geom).name not in ("table", "floor"):
                robot.append(geom)
    names = list(owners)
    for index, name in enumerate(names):
        for other in names[:index]:
            if _spacing(layout.things[name], layout.things[other]) < 0.1:
                depth = _depth(model, data, owners[name], owners[other])
                if depth > OVERLAP_M:
                    raise Misfit(
                        f"{layout.called(name)} and {layout.called(other)} overlap by "
                        f"{1e3 * depth:.0f} mm"
                    )
        depth = _depth(model, data, owners[name], robot)
        if depth > OVERLAP_M:
            raise Misfit(f"{layout.called(name)} overlaps the robot by {1e3 * depth:.0f} mm")


def check_room(layout: Layout, name: str, spot: NDArray, besides: tuple[str, ...]) -> None:
    """Raises `Misfit` where something stands at the place that `name` shall get to, (2,) [m]."""
    for other, thing in layout.things.items():
        if other in (name, *besides) or isinstance(thing, Mat):
            continue
        gap = _gap_to(thing, spot)
        needed = _radius(thing) + _radius(layout.things[name])
        if gap < needed:
            raise Misfit(
                f"{layout.called(name)}: {layout.called(other)} stands where it shall get to, "
                f"x {spot[0]:.2f} y {spot[1]:.2f}: {1e3 * gap:.0f} mm away, "
                f"{1e3 * needed:.0f} are needed"
            )


# --- drawing --------------------------------------------------------------------------------------


def _add(layout: Layout, part: Part, rng: np.random.Generator) -> None:
    """Draw one object and add it."""
    taken = {thing.name for thing in layout.things.values()}
    pairs = [(kind, color) for kind in part.kinds for color in part.colors]
    free = [(kind, color) for kind, color in pairs if f"{color} {kind}" not in taken]
    if not free:
        names = ", ".join(f"{color} {kind}" for kind, color in pairs)
        raise Misfit(f"{part.path}: the scene has {names} already; no two may have the same name")
    kind, color = base.choose(rng, free)
    values = {
        name: value.draw(rng) if hasattr(value, "draw") else value
        for name, value in part.values.items()
    }
    layout.parts[part.name], layout.drawn[part.name] = part, values
    why = ""
    for _ in range(1 if part.is_fixed else SPOTS):
        spot, elevation_m = _spot(layout, part, rng)
        thing = _thing(kind, color, spot, elevation_m, values)
        why = "" if part.is_fixed else _crowded(layout, part, thing)
        if not why:
            layout.things[part.name] = thing
            return
    raise Misfit(f"{part.path} ({color} {kind}): no room in {SPOTS} draws; {why}")


def _thing(
    kind: str, color: str, spot: tuple[float, float], elevation_m: float, values: dict[str, float]
) -> Thing:
    yaw_rad = float(np.radians(values.get("yaw_deg", 0.0)))
    match kind:
        case "drawer":
            return Drawer(color, spot, values["opening_m"])
        case "button":
            return Button(color, spot)
        case "mat":
            return Mat(color, spot, values["half_size_m"])  # type: ignore[arg-type]
        case "beads" | "crumbs":
            return Grains(kind, color, spot, int(values["count"]), values["spread_m"], elevation_m)
    size = {"size_m": values["size_m"]} if "size_m" in values else {}
    return Item(kind, color, spot, yaw_rad, elevation_m=elevation_m, **size)  # type: ignore[arg-type]


def _spot(
    layout: Layout, part: Part, rng: np.random.Generator
) -> tuple[tuple[float, float], float]:
    """x, y [m] and the height [m] of what it stands on."""
    if part.place is None:
        return (part.x_m.draw(rng), part.y_m.draw(rng)), 0.0
    other = layout.things[part.place.other]
    x, y = other.position
    match part.place.relation:
        case "on":
            if isinstance(other, Mat):
                half = np.maximum(np.array(other.half_size) - MAT_EDGE_M, 0.0)
                offset = rng.uniform(-half, half)
                return (x + float(offset[0]), y + float(offset[1])), 0.0
            assert isinstance(other, Item)
            return (x, y), other.elevation_m + 2 * other.size_m
        case "inside":
            if isinstance(other, Drawer):
                # The middle of what is open of it, or of all of it.
                open_m = other.opening_m if other.opening_m > DRAWER_TRAVEL_M / 2 else None
                x += -DRAWER_DEPTH_M / 2 + other.opening_m if open_m is None else open_m / 2
                return (x, y), FLOOR_M["drawer"]
            assert isinstance(other, Item)
            return (x, y), other.elevation_m + FLOOR_M[other.shape]
        case "near":
            angle = rng.uniform(-np.pi, np.pi)
            along = np.array([np.cos(angle), np.sin(angle)])
        case side:
            along = np.array(RELATIONS[SIDES[side]])
    spot = np.array([x, y]) + part.place.distance_m.draw(rng) * along
    return (float(spot[0]), float(spot[1])), 0.0


def _crowded(layout: Layout, part: Part, thing: Thing) -> str:
    """Why a drawn spot is too close to another object; nothing if it is not."""
    related = _related(layout, part)
    for name, other in layout.things.items():
        if name in related:
            continue
        gap, needed = _spacing(thing, other), _radius(thing) + _radius(other)
        if gap < needed:
            return (
                f"the last was {1e3 * gap:.0f} mm from {layout.called(name)}, "
                f"{1e3 * needed:.0f} are needed"
            )
    return ""


def _related(layout: Layout, part: Part) -> set[str]:
    """What it is placed by, and what that stands on or in."""
    names: set[str] = set()
    while part.place is not None:
        names.add(part.place.other)
        part = layout.parts[part.place.other]
    return names


# --- distances ------------------------------------------------------------------------------------


def _box(thing: Thing) -> NDArray:
    """(2, 2) [m]: low and high x, y of what must stay clear by the radius below."""
    middle = np.array(thing.position)
    match thing:
        case Drawer():
            half = CHEST_HALF_WIDTH_M
            return middle + [(CHEST_M[0], -half), (CHEST_M[1], half)]
        case Mat():
            return middle + np.array([-1.0, 1.0])[:, None] * thing.half_size
    return np.stack([middle, middle])


def _radius(thing: Thing) -> float:
    match thing:
        case Item():
            return base.room_radius(thing.shape)
        case Button():
            return base.room_radius("button")
        case Grains():
            return thing.spread_m + 0.01
    return 0.0  # the box is all of it


def _spacing(first: Thing, second: Thing) -> float:
    """[m] between their boxes."""
    one, other = _box(first), _box(second)
    return float(np.linalg.norm(np.maximum(0.0, np.maximum(one[0] - other[1], other[0] - one[1]))))


def _gap_to(thing: Thing, spot: NDArray) -> float:
    low, high = _box(thing)
    return float(np.linalg.norm(np.maximum(0.0, np.maximum(low - spot, spot - high))))


def _depth(model: mujoco.MjModel, data: mujoco.MjData, ones: list[int], others: list[int]) -> float:
    """[m]: how far geoms of one group are in those of another, 0 where they are apart."""
    distances = (mujoco.mj_geomDistance(model, data, a, b, 0.0, None) for a in ones for b in others)
    return max(0.0, -min(distances, default=0.0))
