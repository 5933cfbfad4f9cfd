"""The MuJoCo bodies of furniture and grains: drawers, buttons, mats, beads and crumbs.

The body that bears the name of a piece of furniture is the part that moves: the drawer (its frame
is on the handle), the button's cap. Its slide joint has the same name and is zero when shut or not
pressed. Where a part must slide within another, contacts between the two are left out.
"""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from sim.items import CONTACT, OWN_PRIORITY, WOOD_RGBA
from sim.scene import (
    BUTTON_HEIGHT_M,
    BUTTON_TRAVEL_M,
    COLORS,
    DRAWER_DEPTH_M,
    DRAWER_HEIGHT_M,
    DRAWER_TRAVEL_M,
    DRAWER_WIDTH_M,
    GRAIN_RADIUS_M,
    HANDLE_HEIGHT_M,
    HANDLE_OFFSET_M,
    Button,
    Drawer,
    Furniture,
    Grains,
    Mat,
)

GOLDEN_ANGLE_RAD = np.pi * (3 - np.sqrt(5))  # successive points of a sunflower's disc
DARK_RGBA = (0.20, 0.20, 0.22, 1.0)


def add_fixture(spec: mujoco.MjSpec, fixture: Furniture) -> None:
    """Add one piece of furniture."""
    match fixture:
        case Drawer():
            _add_drawer(spec, fixture)
        case Button():
            _add_button(spec, fixture)
        case Mat():
            _add_mat(spec, fixture)


def put_at_start(model: mujoco.MjModel, data: mujoco.MjData, fixture: Furniture) -> None:
    """Set the joint of a piece of furniture to what the scene says."""
    if isinstance(fixture, Drawer):
        data.qpos[model.joint(fixture.name).qposadr[0]] = fixture.opening_m


def add_grains(spec: mujoco.MjSpec, heap: Grains) -> None:
    """Add a free body for every grain."""
    radius = GRAIN_RADIUS_M[heap.kind]
    for name, position in zip(heap.grain_names, grain_positions(heap), strict=True):
        body = spec.worldbody.add_body(name=name, pos=position)
        body.add_freejoint(name=name)
        is_bead = heap.kind == "beads"
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_SPHERE if is_bead else mujoco.mjtGeom.mjGEOM_BOX,
            size=(radius, 0, 0) if is_bead else (radius,) * 3,
            rgba=(*COLORS[heap.color], 1),
            mass=0.002,
            friction=(0.3, 0.002, 0.0005),  # slippery, whatever they touch
            priority=OWN_PRIORITY,
            **{**CONTACT, "condim": 3},
        )


def grain_positions(heap: Grains) -> NDArray[np.float64]:
    """(count, 3) [m]: layers, in each of which a disc is filled from the middle, none touching."""
    radius = GRAIN_RADIUS_M[heap.kind]
    # A sunflower's points, at radius s sqrt(i + 1/2), are at least 1.5 s apart. Cubes need room for
    # their diagonal.
    step = 2.1 * radius * (1.0 if heap.kind == "beads" else np.sqrt(2)) / 1.5
    per_layer = max(1, int((heap.spread_m / step) ** 2))
    positions = []
    for index in range(heap.count):
        layer, place = divmod(index, per_layer)
        angle = heap.yaw_rad + place * GOLDEN_ANGLE_RAD + layer
        distance = step * np.sqrt(place + 0.5)
        positions.append(
            (
                heap.position[0] + distance * np.cos(angle),
                heap.position[1] + distance * np.sin(angle),
                heap.elevation_m + radius + layer * 2.1 * radius,
            )
        )
    return np.array(positions)


def _add_drawer(spec: mujoco.MjSpec, drawer: Drawer) -> None:
    x, y = drawer.position
    half_width, half_depth = DRAWER_WIDTH_M / 2, DRAWER_DEPTH_M / 2
    chest = spec.worldbody.add_body(name=f"{drawer.name} chest", pos=(x - half_depth, y, 0))
    side, top = half_width + 0.006, DRAWER_HEIGHT_M + 0.008
    for sign in (-1, 1):
        _box(chest, (0, sign * side, top / 2), (half_depth, 0.004, top / 2), WOOD_RGBA)
    _box(chest, (0, 0, top), (half_depth, side + 0.004, 0.004), WOOD_RGBA)
    _box(chest, (-half_depth - 0.004, 0, top / 2), (0.004, side + 0.004, top / 2), WOOD_RGBA)

    body = spec.worldbody.add_body(name=drawer.name, pos=(x + HANDLE_OFFSET_M, y, HANDLE_HEIGHT_M))
    body.add_joint(
        name=drawer.name,
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=(1, 0, 0),
        range=(0.0, DRAWER_TRAVEL_M),
        limited=mujoco.mjtLimited.mjLIMITED_TRUE,
        damping=4.0,
        frictionloss=1.0,
    )
    spec.add_exclude(bodyname1=body.name, bodyname2=chest.name)
    rgba = (*COLORS[drawer.color], 1)
    # From here on heights are above the table and x is before the front.
    shift = np.array([-HANDLE_OFFSET_M, 0, -HANDLE_HEIGHT_M])
    low, wall = 0.003, 0.004
    middle = (DRAWER_HEIGHT_M + low) / 2
    tall = (DRAWER_HEIGHT_M - low) / 2
    back = -DRAWER_DEPTH_M + 2 * wall
    panels = (
        ((-wall, 0, middle), (wall, half_width, tall)),  # front
        ((back, 0, middle), (wall, half_width, tall)),
        ((back / 2, 0, low + 0.002), (-back / 2, half_width, 0.002)),  # bottom
        ((back / 2, half_width - wall, middle), (-back / 2, wall, tall)),
        ((back / 2, wall - half_width, middle), (-back / 2, wall, tall)),
    )
    for centre, half_size in panels:
        _box(body, shift + centre, half_size, rgba, mass=0.06)
    _box(body, (0, 0, 0), (0.005, 0.045, 0.005), DARK_RGBA, mass=0.03)
    for sign in (-1, 1):
        post = (-HANDLE_OFFSET_M / 2, sign * 0.045, 0)
        _box(body, post, (HANDLE_OFFSET_M / 2 + 0.005, 0.005, 0.005), DARK_RGBA, mass=0.01)


def _add_button(spec: mujoco.MjSpec, button: Button) -> None:
    case_height, cap_half = 0.024, 0.010
    case = spec.worldbody.add_body(name=f"{button.name} case", pos=(*button.position, 0))
    _box(case, (0, 0, case_height / 2), (0.032, 0.032, case_height / 2), DARK_RGBA)
    body = spec.worldbody.add_body(
        name=button.name, pos=(*button.position, BUTTON_HEIGHT_M - cap_half)
    )
    body.add_joint(
        name=button.name,
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=(0, 0, -1),
        range=(0.0, BUTTON_TRAVEL_M),
        limited=mujoco.mjtLimited.mjLIMITED_TRUE,
        stiffness=300.0,
        springref=-0.004,  # holds the cap up against its weight
        damping=2.0,
    )
    spec.add_exclude(bodyname1=body.name, bodyname2=case.name)
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        size=(0.022, cap_half, 0),
        rgba=(*COLORS[button.color], 1),
        mass=0.03,
        **CONTACT,
    )


def _add_mat(spec: mujoco.MjSpec, mat: Mat) -> None:
    body = spec.worldbody.add_body(name=mat.name, pos=(*mat.position, 0.0005))
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=(*mat.half_size, 0.0005),
        rgba=(*COLORS[mat.color], 1),
        contype=0,
        conaffinity=0,
    )


def _box(body: mujoco.MjsBody, centre, half_size, rgba, mass: float = 0.1) -> None:
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=centre,
        size=half_size,
        rgba=rgba,
        mass=mass,
        **CONTACT,
    )
