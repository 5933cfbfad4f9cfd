"""What a randomized world has that the nominal one has not: materials, a backdrop, distractors.

They go into the description of a scene before its one compilation; what is drawn for them is
written into the compiled model by `sim.randomization.edits`.
"""

from __future__ import annotations

import mujoco

from sim import robot
from sim.patterns import TEXTURE_PX
from sim.randomization.axes import DISTRACTOR_COLORS, SURFACES
from sim.randomization.draw import Draw, Values
from sim.scene import GLOSS

DISTRACTOR_PREFIX = "distractor-"
DISTRACTOR_DENSITY = 800.0  # [kg/m^3], wood
UPRIGHT, LYING = (1.0, 0.0, 0.0, 0.0), (0.7071068, 0.7071068, 0.0, 0.0)  # w, x, y, z
BACKDROP_RGB = (0.45, 0.45, 0.45)


def dress(spec: mujoco.MjSpec, draw: Draw) -> None:
    """Add what the axes of `draw` need."""
    if "textures" in draw:
        _add_surfaces(spec)
    if "distractors" in draw:
        _add_distractors(spec, draw["distractors"])


def _add_surfaces(spec: mujoco.MjSpec) -> None:
    """Blank textures on table and floor, and a wall behind the robot that only cameras see."""
    for name in SURFACES:
        spec.add_texture(
            name=name,
            type=mujoco.mjtTexture.mjTEXTURE_2D,
            nchannel=3,
            width=TEXTURE_PX,
            height=TEXTURE_PX,
            builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
            rgb1=(1.0, 1.0, 1.0),
        )
        material = spec.add_material(name=name)
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    spec.worldbody.add_geom(
        name="backdrop",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        pos=(-1.0, 0.0, 0.5),
        quat=(0.5, 0.5, 0.5, 0.5),  # its front looks along +x
        size=(4.0, 2.0, 0.1),
        rgba=(*BACKDROP_RGB, 1.0),
        contype=0,
        conaffinity=0,
    )
    for geom in spec.worldbody.geoms:
        if geom.name in SURFACES:
            if geom.material:  # a scene's own: it keeps its gloss
                drawn, own = spec.material(geom.name), spec.material(geom.material)
                for attribute in GLOSS:
                    setattr(drawn, attribute, getattr(own, attribute))
            geom.material = geom.name


def _add_distractors(spec: mujoco.MjSpec, values: Values) -> None:
    """Bodies on the floor beside the table, until `sim.randomization.placing` finds them room."""
    floor_z_m = spec.geom("floor").pos[2]
    kinds = {
        "box": mujoco.mjtGeom.mjGEOM_BOX,
        "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
        "ellipsoid": mujoco.mjtGeom.mjGEOM_ELLIPSOID,
        "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    }
    drawn = zip(values["shape"], values["size_m"], values["color"], strict=True)
    for index, (shape, half_size_m, color) in enumerate(drawn):
        name = f"{DISTRACTOR_PREFIX}{index}"
        height_m = floor_z_m + distractor_height(shape, half_size_m)
        body = spec.worldbody.add_body(name=name, pos=(0.5, 1.2 + 0.2 * index, height_m))
        body.add_freejoint(name=name)
        body.add_geom(
            type=kinds[shape],
            size=distractor_size(shape, half_size_m),
            quat=LYING if shape == "capsule" else UPRIGHT,
            rgba=(*DISTRACTOR_COLORS[color], 1.0),
            density=DISTRACTOR_DENSITY,
            contype=robot.WORLD_CONTYPE,
            conaffinity=robot.WORLD_CONAFFINITY,
            condim=4,
            solref=(0.008, 1.0),
            friction=(0.9, 0.02, 0.004),
        )


def distractor_size(shape: str, half_size_m: float) -> tuple[float, float, float]:
    """MuJoCo's size of a distractor: none is like a cube, cylinder or ball."""
    if shape == "box":
        return (half_size_m, 1.6 * half_size_m, 0.6 * half_size_m)
    if shape == "ellipsoid":
        return (half_size_m, 1.5 * half_size_m, 0.6 * half_size_m)
    if shape == "cylinder":  # a disc
        return (1.3 * half_size_m, 0.4 * half_size_m, 0.0)
    return (0.6 * half_size_m, 1.2 * half_size_m, 0.0)  # a capsule


def distractor_height(shape: str, half_size_m: float) -> float:
    """[m] of its centre above the table."""
    factor = {"box": 0.6, "ellipsoid": 0.6, "cylinder": 0.4, "capsule": 0.6}
    return factor[shape] * half_size_m
