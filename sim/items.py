"""The MuJoCo bodies of items: what can be carried. `sim.scene.Item` describes them."""

from __future__ import annotations

import mujoco
import numpy as np

from sim import robot
from sim.scene import (
    BOWL_HEIGHT_M,
    BOWL_RADIUS_M,
    BRUSH_GRIP_HEIGHT_M,
    BRUSH_HALF_WIDTH_M,
    COLORS,
    CUP_HEIGHT_M,
    CUP_RADIUS_M,
    Item,
)

BOWL_WALLS = 10
BOWL_TILT_RAD = 0.35  # of its walls, outwards
CUP_WALLS = 8  # two of them flat against the fingers
WOOD_RGBA = (0.55, 0.38, 0.22, 1.0)

# Everything that stands on the table touches everything, the robot included.
CONTACT = {
    "contype": robot.WORLD_CONTYPE,
    "conaffinity": robot.WORLD_CONAFFINITY,
    "condim": 4,
    "solref": (0.008, 1.0),
}
# Of two that touch MuJoCo takes the greater friction, and the finger pads are rough. Where a scene
# says how things slide that holds by priority: a thing's own, or else the table's.
TABLE_PRIORITY, OWN_PRIORITY = 1, 2


def add_item(spec: mujoco.MjSpec, item: Item) -> None:
    """Add a free body with the item's name and a joint of the same name."""
    body = spec.worldbody.add_body(
        name=item.name,
        pos=(*item.position, item.height_m),
        quat=(np.cos(item.yaw_rad / 2), 0, 0, np.sin(item.yaw_rad / 2)),
    )
    body.add_freejoint(name=item.name)
    _GEOMETRY[item.shape](body, item)


def _cube(body: mujoco.MjsBody, item: Item) -> None:
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=(item.size_m,) * 3,
        rgba=(*COLORS[item.color], 1),
        mass=0.06,
        friction=(0.9, 0.01, 0.001),
        **CONTACT,
    )


def _cylinder(body: mujoco.MjsBody, item: Item) -> None:
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        size=(item.size_m, item.size_m, 0),
        rgba=(*COLORS[item.color], 1),
        mass=0.05,
        friction=(0.9, 0.01, 0.001),
        **CONTACT,
    )


def _ball(body: mujoco.MjsBody, item: Item) -> None:
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_SPHERE,
        size=(item.size_m, 0, 0),
        rgba=(*COLORS[item.color], 1),
        mass=0.05,
        friction=(0.9, 0.02, 0.004),
        **{**CONTACT, "condim": 6},
    )


def _bowl(body: mujoco.MjsBody, item: Item) -> None:
    rgba = (*COLORS[item.color], 1)
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        pos=(0, 0, 0.003),
        size=(BOWL_RADIUS_M, 0.003, 0),
        rgba=rgba,
        mass=0.25,
        **CONTACT,
    )
    _add_walls(
        body,
        count=BOWL_WALLS,
        radius=BOWL_RADIUS_M,
        tilt_rad=BOWL_TILT_RAD,
        height=BOWL_HEIGHT_M / 2 + 0.002,
        half_size=(0.003, BOWL_RADIUS_M * np.tan(np.pi / BOWL_WALLS) * 1.08, BOWL_HEIGHT_M / 2),
        rgba=rgba,
        mass=0.01,
    )


def _cup(body: mujoco.MjsBody, item: Item) -> None:
    """An eight-sided beaker; its frame is in its middle."""
    half_width = CUP_RADIUS_M * np.tan(np.pi / CUP_WALLS) * 1.05
    rgba = (*COLORS[item.color], 1)
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        pos=(0, 0, 0.002 - CUP_HEIGHT_M / 2),
        size=(CUP_RADIUS_M, 0.002, 0),
        rgba=rgba,
        mass=0.03,
        **CONTACT,
    )
    _add_walls(
        body,
        count=CUP_WALLS,
        radius=CUP_RADIUS_M,
        tilt_rad=0.0,
        height=0.001,
        half_size=(0.002, half_width, CUP_HEIGHT_M / 2 - 0.001),
        rgba=rgba,
        mass=0.004,
    )


def _brush(body: mujoco.MjsBody, item: Item) -> None:
    """A broad block with a handle on top; its frame is in the middle of the handle."""
    half_height, grip = 0.0125, 0.025
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=(0, 0, half_height - BRUSH_GRIP_HEIGHT_M),
        size=(0.02, BRUSH_HALF_WIDTH_M, half_height),
        rgba=(*COLORS[item.color], 1),
        mass=0.06,
        friction=(0.4, 0.01, 0.001),
        **CONTACT,
    )
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=(0, 0, 2 * half_height + grip - BRUSH_GRIP_HEIGHT_M),
        size=(0.015, 0.012, grip),
        rgba=WOOD_RGBA,
        mass=0.02,
        friction=(0.9, 0.01, 0.001),
        **CONTACT,
    )


def _add_walls(
    body: mujoco.MjsBody,
    count: int,
    radius: float,
    tilt_rad: float,
    height: float,
    half_size: tuple[float, float, float],
    rgba: tuple[float, ...],
    mass: float,
) -> None:
    """A ring of boxes, their middles `radius` from the axis and `height` above the origin [m]."""
    for index in range(count):
        angle = 2 * np.pi * index / count
        turn = np.array([np.cos(angle / 2), 0, 0, np.sin(angle / 2)])
        lean = np.array([np.cos(tilt_rad / 2), 0, np.sin(tilt_rad / 2), 0])
        quaternion = np.zeros(4)
        mujoco.mju_mulQuat(quaternion, turn, lean)
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=(radius * np.cos(angle), radius * np.sin(angle), height),
            quat=quaternion,
            size=half_size,
            rgba=rgba,
            mass=mass,
            **CONTACT,
        )


_GEOMETRY = {
    "cube": _cube,
    "cylinder": _cylinder,
    "ball": _ball,
    "bowl": _bowl,
    "cup": _cup,
    "brush": _brush,
}
