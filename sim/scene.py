"""What stands on the table: a plain description, which `sim.compile` turns into a MuJoCo model.

The table's top is the plane z = 0 of the base frame; the robot's base stands at its origin. Items
can be carried, furniture cannot, grains (beads, crumbs) come in heaps. Instructions call all of
them by their names, "red cube", and no two in a scene have the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sim.patterns import PATTERNS

Shape = Literal["cube", "cylinder", "ball", "bowl", "cup", "brush"]

BASIC_SHAPES: tuple[Shape, ...] = ("cube", "cylinder", "ball", "bowl")
SHAPES: tuple[Shape, ...] = (*BASIC_SHAPES, "cup", "brush")
COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.10, 0.10),
    "green": (0.10, 0.62, 0.18),
    "blue": (0.12, 0.28, 0.85),
    "yellow": (0.95, 0.82, 0.10),
    "purple": (0.55, 0.15, 0.65),
}
CAMERAS = ("front", "wrist")
FRONT_FOV_DEG = 41.0
TABLE = "table"  # what surfaces call it, and its geom's name
GLOSS = ("shininess", "specular", "reflectance")  # MuJoCo's words
# What fields of `Surface` may be.
SURFACE_LIMITS: dict[str, tuple[float, float]] = {
    "contrast": (0.0, 1.0),
    "repeat": (0.5, 16.0),
    **dict.fromkeys(GLOSS, (0.0, 1.0)),
    "friction": (0.01, 3.0),
    "mass_kg": (0.0001, 10.0),
}
BOWL_RADIUS_M = 0.062  # to the middle of its wall
BOWL_HEIGHT_M = 0.035
CUP_RADIUS_M = 0.030  # to the middle of its wall
CUP_HEIGHT_M = 0.070
BRUSH_HALF_WIDTH_M = 0.060  # along its y axis
BRUSH_GRIP_HEIGHT_M = 0.055  # of the middle of its handle, where its frame is

DRAWER_TRAVEL_M = 0.10
DRAWER_WIDTH_M = 0.150
DRAWER_DEPTH_M = 0.120
DRAWER_HEIGHT_M = 0.055  # lower than the palm of a hand that grasps something beside it
HANDLE_OFFSET_M = 0.050  # of the handle's bar before the drawer's front; its frame is there
HANDLE_HEIGHT_M = 0.046
BUTTON_HEIGHT_M = 0.044  # of its cap's top when not pressed
BUTTON_TRAVEL_M = 0.012
GRAIN_RADIUS_M = {"beads": 0.007, "crumbs": 0.006}  # crumbs: half the edge of a cube


class SceneError(ValueError):
    """A scene that cannot be built; the message names the field, the value and the choices."""


def _check_choice(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SceneError(f"{field}: expected one of {', '.join(choices)}, got {value!r}")


def _check_numbers(field: str, values: Sequence[float], count: int) -> None:
    if len(values) != count or not np.all(np.isfinite(values)):
        words = {2: "two", 3: "three"}
        raise SceneError(f"{field}: expected {words[count]} finite numbers, got {values}")


def _check_range(field: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise SceneError(f"{field}: expected {low} to {high} m, got {value}")


@dataclass(frozen=True)
class Item:
    """One thing on the table that can be carried."""

    shape: Shape
    color: str  # a key of COLORS
    position: tuple[float, float]  # x, y [m], base frame
    yaw_rad: float = 0.0
    # Cube: half edge; cylinder and ball: radius; bowls, cups and brushes have one size.
    size_m: float = 0.022
    elevation_m: float = 0.0  # of what it stands on, above the table

    def __post_init__(self) -> None:
        _check_choice("shape", self.shape, SHAPES)
        _check_choice("color", self.color, tuple(COLORS))
        _check_numbers("position", self.position, 2)
        _check_range("size_m", self.size_m, 0.01, 0.035)
        _check_range("elevation_m", self.elevation_m, 0.0, 0.3)

    @property
    def name(self) -> str:
        """How instructions call it, and its body's name: "red cube"."""
        return f"{self.color} {self.shape}"

    @property
    def is_bowl(self) -> bool:
        return self.shape == "bowl"

    @property
    def height_m(self) -> float:
        """Of its centre (bowl: its base; brush: its grip) above the table when it stands."""
        own = {"bowl": 0.0, "cup": CUP_HEIGHT_M / 2, "brush": BRUSH_GRIP_HEIGHT_M}
        return self.elevation_m + own.get(self.shape, self.size_m)


@dataclass(frozen=True)
class Drawer:
    """A chest with one drawer, which opens away from the robot; its handle is a bar along y."""

    color: str
    position: tuple[float, float]  # x, y [m] of the closed drawer's front, base frame
    opening_m: float = 0.0  # at the start; DRAWER_TRAVEL_M is fully open

    def __post_init__(self) -> None:
        _check_choice("color", self.color, tuple(COLORS))
        _check_numbers("position", self.position, 2)
        _check_range("opening_m", self.opening_m, 0.0, DRAWER_TRAVEL_M)

    @property
    def name(self) -> str:
        return f"{self.color} drawer"


@dataclass(frozen=True)
class Button:
    """A box with a sprung cap, to be pressed from above."""

    color: str
    position: tuple[float, float]  # x, y [m], base frame

    def __post_init__(self) -> None:
        _check_choice("color", self.color, tuple(COLORS))
        _check_numbers("position", self.position, 2)

    @property
    def name(self) -> str:
        return f"{self.color} button"


@dataclass(frozen=True)
class Mat:
    """A marked rectangle on the table; it has no thickness to stumble over."""

    color: str
    position: tuple[float, float]  # x, y [m] of its middle, base frame
    half_size: tuple[float, float] = (0.06, 0.08)  # along x, y [m]

    def __post_init__(self) -> None:
        _check_choice("color", self.color, tuple(COLORS))
        _check_numbers("position", self.position, 2)
        _check_numbers("half_size", self.half_size, 2)
        for length in self.half_size:
            _check_range("half_size", length, 0.01, 0.3)

    @property
    def name(self) -> str:
        return f"{self.color} mat"


Furniture = Drawer | Button | Mat


@dataclass(frozen=True)
class Grains:
    """A heap of small things of one color: balls ("beads") or cubes ("crumbs")."""

    kind: Literal["beads", "crumbs"]
    color: str
    position: tuple[float, float]  # x, y [m] of the heap's middle, base frame
    count: int = 8
    spread_m: float = 0.03  # radius of a layer; what does not fit lies in layers above
    elevation_m: float = 0.0  # of what the heap lies on, above the table
    yaw_rad: float = 0.0

    def __post_init__(self) -> None:
        _check_choice("kind", self.kind, tuple(GRAIN_RADIUS_M))
        _check_choice("color", self.color, tuple(COLORS))
        _check_numbers("position", self.position, 2)
        if not 1 <= self.count <= 50:
            raise SceneError(f"count: expected 1 to 50, got {self.count}")
        _check_range("spread_m", self.spread_m, 0.01, 0.15)
        _check_range("elevation_m", self.elevation_m, 0.0, 0.3)

    @property
    def name(self) -> str:
        return f"{self.color} {self.kind}"

    @property
    def grain_names(self) -> tuple[str, ...]:
        """The bodies' names, one for each grain."""
        return tuple(f"{self.name} {index}" for index in range(self.count))


@dataclass(frozen=True)
class CameraOffset:
    """How far the front camera stands from its usual pose."""

    position: tuple[float, float, float] = (0.0, 0.0, 0.0)  # [m], base frame
    # Rotation vector about the camera's own axes [deg]: right (tilts it up), up (pans it to its
    # left), backward (rolls it).
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        _check_numbers("position", self.position, 3)
        _check_numbers("rotation_deg", self.rotation_deg, 3)


@dataclass(frozen=True)
class Surface:
    """How a thing, or the table, looks besides its color, how it slides, and what it weighs.

    With its defaults it changes nothing.
    """

    of: str  # a thing's name, or `TABLE`
    pattern: str = "plain"
    contrast: float = 0.0  # of the pattern
    repeat: float = 1.0  # of the pattern: over the table, over each side of a thing
    shininess: float = 0.5
    specular: float = 0.5
    reflectance: float = 0.0  # of the table
    friction: float | None = None  # sliding; None: that of its kind
    mass_kg: float | None = None  # of an item; None: that of its kind

    def __post_init__(self) -> None:
        _check_choice("pattern", self.pattern, PATTERNS)
        for name, (low, high) in SURFACE_LIMITS.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise SceneError(f"{name}: expected {low:g} to {high:g}, got {value:g}")

    @property
    def is_seen(self) -> bool:
        """Whether it looks different from what all have."""
        return self.pattern != "plain" or any(
            getattr(self, name) != getattr(Surface, name) for name in GLOSS
        )


@dataclass(frozen=True)
class Scene:
    """Everything that varies between episodes and can be seen."""

    items: tuple[Item, ...]
    table_rgb: tuple[float, float, float] = (0.56, 0.48, 0.40)
    light_direction: tuple[float, float, float] = (-0.2, 0.1, -1.0)
    light_brightness: float = 0.6
    shadows: bool = False
    camera_offset: CameraOffset = CameraOffset()
    furniture: tuple[Furniture, ...] = ()
    grains: tuple[Grains, ...] = ()
    # Not in its repr: the stand-in's noise (`sim.sim2real.stand_in`) is drawn from that.
    front_fov_deg: float = field(default=FRONT_FOV_DEG, repr=False)  # vertical
    surfaces: tuple[Surface, ...] = field(default=(), repr=False)  # that are not as usual

    def __post_init__(self) -> None:
        twice = {name for name in self.names if self.names.count(name) > 1}
        if twice:
            raise SceneError(f"items: every name must be unique, got {sorted(twice)} twice")
        if not 0.0 < self.front_fov_deg < 180.0:
            raise SceneError(f"front_fov_deg: expected 0 to 180, got {self.front_fov_deg:g}")
        for index, surface in enumerate(self.surfaces):
            _check_choice("surfaces", surface.of, (TABLE, *self.names))
            if surface.of in [other.of for other in self.surfaces[:index]]:
                raise SceneError(f"surfaces: expected one of each thing, got {surface.of!r} twice")
            if surface.mass_kg is not None and all(item.name != surface.of for item in self.items):
                raise SceneError(f"mass_kg: only items have it, got {surface.of!r}")

    @property
    def names(self) -> list[str]:
        """Of everything an instruction can speak of."""
        return [part.name for part in (*self.items, *self.furniture, *self.grains)]

    def surface(self, of: str) -> Surface:
        """Of a thing or the table; that of all where the scene says nothing."""
        return next((each for each in self.surfaces if each.of == of), Surface(of))

    def item(self, name: str) -> Item:
        """Raises `SceneError` naming those there are."""
        return _find("item", name, self.items)

    def fixture(self, name: str) -> Furniture:
        """A piece of furniture. Raises `SceneError` naming those there are."""
        return _find("furniture", name, self.furniture)

    def heap(self, name: str) -> Grains:
        """Grains. Raises `SceneError` naming those there are."""
        return _find("grains", name, self.grains)


def _find(kind: str, name: str, parts: Sequence):
    for part in parts:
        if part.name == name:
            return part
    raise SceneError(
        f"{kind} {name!r} is not in this scene; it has {[part.name for part in parts]}"
    )
