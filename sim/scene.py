"""What stands on the table: a plain description (`Scene`) and its compilation to a MuJoCo model.

The table's top is the plane z = 0 of the base frame; the robot's base stands at its origin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sim import menagerie, robot

Shape = Literal["cube", "cylinder", "ball", "bowl"]

SHAPES: tuple[Shape, ...] = ("cube", "cylinder", "ball", "bowl")
COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.10, 0.10),
    "green": (0.10, 0.62, 0.18),
    "blue": (0.12, 0.28, 0.85),
    "yellow": (0.95, 0.82, 0.10),
    "purple": (0.55, 0.15, 0.65),
}
CAMERAS = ("front", "wrist")
BOWL_RADIUS_M = 0.062  # to the middle of its wall
BOWL_HEIGHT_M = 0.035
BOWL_WALLS = 10
TIMESTEP_S = 0.004


class SceneError(ValueError):
    """A scene that cannot be built; the message names the field, the value and the choices."""


@dataclass(frozen=True)
class Item:
    """One thing on the table."""

    shape: Shape
    color: str  # a key of COLORS
    position: tuple[float, float]  # x, y [m], base frame
    yaw_rad: float = 0.0
    size_m: float = 0.022  # cube: half edge; cylinder and ball: radius; bowls have one size

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise SceneError(f"shape: expected one of {', '.join(SHAPES)}, got {self.shape!r}")
        if self.color not in COLORS:
            raise SceneError(f"color: expected one of {', '.join(COLORS)}, got {self.color!r}")
        if not (np.all(np.isfinite(self.position)) and len(self.position) == 2):
            raise SceneError(f"position: expected two finite numbers, got {self.position}")
        if not 0.01 <= self.size_m <= 0.035:
            raise SceneError(f"size_m: expected 0.01 to 0.035 m, got {self.size_m}")

    @property
    def name(self) -> str:
        """How instructions call it, and its body's name: "red cube"."""
        return f"{self.color} {self.shape}"

    @property
    def is_bowl(self) -> bool:
        return self.shape == "bowl"

    @property
    def height_m(self) -> float:
        """Of its centre above the table when it stands."""
        return 0.0 if self.is_bowl else self.size_m


@dataclass(frozen=True)
class CameraOffset:
    """How far the front camera stands from its usual pose."""

    position: tuple[float, float, float] = (0.0, 0.0, 0.0)  # [m], base frame
    # Rotation vector about the camera's own axes [deg]: right (tilts it up), up (pans it to its
    # left), backward (rolls it).
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        for name, values in (("position", self.position), ("rotation_deg", self.rotation_deg)):
            if len(values) != 3 or not np.all(np.isfinite(values)):
                raise SceneError(f"{name}: expected three finite numbers, got {values}")


@dataclass(frozen=True)
class Scene:
    """Everything that varies between episodes and can be seen."""

    items: tuple[Item, ...]
    table_rgb: tuple[float, float, float] = (0.56, 0.48, 0.40)
    light_direction: tuple[float, float, float] = (-0.2, 0.1, -1.0)
    light_brightness: float = 0.6
    shadows: bool = False
    camera_offset: CameraOffset = CameraOffset()

    def __post_init__(self) -> None:
        names = [item.name for item in self.items]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise SceneError(f"items: every name must be unique, got {sorted(twice)} twice")

    def item(self, name: str) -> Item:
        for item in self.items:
            if item.name == name:
                return item
        raise SceneError(
            f"item {name!r} is not in this scene; it has {[item.name for item in self.items]}"
        )


def compile_scene(
    scene: Scene, meshes: bool = False, dress: Callable[[mujoco.MjSpec], None] | None = None
) -> mujoco.MjModel:
    """Build the MuJoCo model of the robot, the table, the cameras and the items (about 2 ms).

    With `meshes` the arm is drawn with those of MuJoCo Menagerie; see `sim.menagerie`. `dress` may
    add to the finished description; see `sim.randomization.assets`.
    """
    spec = mujoco.MjSpec()
    hand = robot.add_arm(spec)
    if meshes:
        menagerie.dress(spec)
    spec.option.timestep = TIMESTEP_S
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 5.0
    spec.visual.quality.offsamples = 0  # cameras render at 224 px; the policy's resize smooths
    spec.visual.quality.shadowsize = 1024
    spec.visual.global_.offwidth = 640
    spec.visual.global_.offheight = 640
    spec.stat.extent = 1.0  # fixed, for the clipping planes are multiples of it
    spec.stat.center = (0.45, 0.0, 0.1)
    spec.visual.map.znear = 0.01
    spec.visual.map.zfar = 10.0
    _add_room(spec, scene)
    _add_cameras(spec, hand, scene.camera_offset)
    for item in scene.items:
        body = spec.worldbody.add_body(
            name=item.name,
            pos=(*item.position, item.height_m),
            quat=(np.cos(item.yaw_rad / 2), 0, 0, np.sin(item.yaw_rad / 2)),
        )
        body.add_freejoint(name=item.name)
        _GEOMETRY[item.shape](body, item)
    if dress is not None:
        dress(spec)
    return spec.compile()


def _add_room(spec: mujoco.MjSpec, scene: Scene) -> None:
    spec.worldbody.add_light(
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=(0.5, 0, 2.0),
        dir=scene.light_direction,
        diffuse=(scene.light_brightness,) * 3,
        specular=(0.1, 0.1, 0.1),
        castshadow=scene.shadows,
    )
    spec.visual.headlight.ambient = (0.35, 0.35, 0.35)
    spec.visual.headlight.diffuse = (0.25, 0.25, 0.25)
    spec.visual.headlight.specular = (0, 0, 0)
    spec.worldbody.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=(0.45, 0, -0.02),
        size=(0.65, 0.60, 0.02),
        rgba=(*scene.table_rgb, 1),
        contype=robot.WORLD_CONTYPE,
        conaffinity=robot.WORLD_CONAFFINITY,
        friction=(0.8, 0.01, 0.001),
    )
    spec.worldbody.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        pos=(0, 0, -0.75),
        size=(4, 4, 0.1),
        rgba=(0.30, 0.32, 0.35, 1),
        contype=robot.WORLD_CONTYPE,
        conaffinity=robot.WORLD_CONAFFINITY,
    )


def look_at(position: NDArray, target: NDArray) -> tuple[float, ...]:
    """MuJoCo's `xyaxes` of a camera at `position` that looks at `target`, upright."""
    backward = np.asarray(position, float) - np.asarray(target, float)
    right = np.cross((0, 0, 1), backward)
    up = np.cross(backward, right)
    return (*(right / np.linalg.norm(right)), *(up / np.linalg.norm(up)))


FRONT_CAMERA_POSITION = (1.12, 0.0, 0.62)
FRONT_CAMERA_TARGET = (0.46, 0.0, 0.155)
FRONT_CAMERA_FOVY_DEG = 41.0


def _add_cameras(spec: mujoco.MjSpec, hand: mujoco.MjsBody, offset: CameraOffset) -> None:
    position = np.array(FRONT_CAMERA_POSITION)
    axes = np.array(look_at(position, np.array(FRONT_CAMERA_TARGET)))
    if any(offset.rotation_deg):
        right, up = axes.reshape(2, 3)
        usual = np.stack([right, up, np.cross(right, up)], axis=1)  # columns are the camera's axes
        turn = Rotation.from_rotvec(offset.rotation_deg, degrees=True).as_matrix()
        axes = (usual @ turn)[:, :2].T.flatten()
    front = spec.worldbody.add_camera(
        name="front", pos=position + offset.position, fovy=FRONT_CAMERA_FOVY_DEG
    )
    front.alt.type = mujoco.mjtOrientation.mjORIENTATION_XYAXES
    front.alt.xyaxes = axes
    # Beside the fingers, looking along them; the image's right is the hand's y axis.
    hand.add_camera(name="wrist", pos=(0.07, 0, 0.0), quat=(0, 0.7071, 0.7071, 0), fovy=75)


_CONTACT = {
    "contype": robot.WORLD_CONTYPE,
    "conaffinity": robot.WORLD_CONAFFINITY,
    "condim": 4,
    "solref": (0.008, 1.0),
}


def _cube(body: mujoco.MjsBody, item: Item) -> None:
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=(item.size_m,) * 3,
        rgba=(*COLORS[item.color], 1),
        mass=0.06,
        friction=(0.9, 0.01, 0.001),
        **_CONTACT,
    )


def _cylinder(body: mujoco.MjsBody, item: Item) -> None:
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        size=(item.size_m, item.size_m, 0),
        rgba=(*COLORS[item.color], 1),
        mass=0.05,
        friction=(0.9, 0.01, 0.001),
        **_CONTACT,
    )


def _ball(body: mujoco.MjsBody, item: Item) -> None:
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_SPHERE,
        size=(item.size_m, 0, 0),
        rgba=(*COLORS[item.color], 1),
        mass=0.05,
        friction=(0.9, 0.02, 0.004),
        **{**_CONTACT, "condim": 6},
    )


def _bowl(body: mujoco.MjsBody, item: Item) -> None:
    rgba = (*COLORS[item.color], 1)
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        pos=(0, 0, 0.003),
        size=(BOWL_RADIUS_M, 0.003, 0),
        rgba=rgba,
        mass=0.25,
        **_CONTACT,
    )
    tilt_rad = 0.35
    half_width = BOWL_RADIUS_M * np.tan(np.pi / BOWL_WALLS) * 1.08
    for index in range(BOWL_WALLS):
        angle = 2 * np.pi * index / BOWL_WALLS
        turn = np.array([np.cos(angle / 2), 0, 0, np.sin(angle / 2)])
        lean = np.array([np.cos(tilt_rad / 2), 0, np.sin(tilt_rad / 2), 0])
        quaternion = np.zeros(4)
        mujoco.mju_mulQuat(quaternion, turn, lean)
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=(
                BOWL_RADIUS_M * np.cos(angle),
                BOWL_RADIUS_M * np.sin(angle),
                BOWL_HEIGHT_M / 2 + 0.002,
            ),
            quat=quaternion,
            size=(0.003, half_width, BOWL_HEIGHT_M / 2),
            rgba=rgba,
            mass=0.01,
            **_CONTACT,
        )


_GEOMETRY = {"cube": _cube, "cylinder": _cylinder, "ball": _ball, "bowl": _bowl}
