"""Draw the arm with the meshes of MuJoCo Menagerie's `franka_fr3` in place of primitives.

Only what is seen changes: collisions, inertias and joints stay `sim.robot`'s. The meshes come with
the extra `menagerie`, which downloads them (3 MB) when they are first used; `MENAGERIE_ROOT` names
a checkout to use instead. They draw about ten times slower on a CPU.
"""

from __future__ import annotations

from pathlib import Path

import mujoco

ROBOT = "franka_fr3"
VISUAL_GROUP = 2  # drawn by default, as are groups 0 and 1
HIDDEN_GROUP = 3


class MeshError(OSError):
    """The meshes cannot be had; the message says what to install or set."""


def load_arm() -> tuple[mujoco.MjSpec, Path]:
    """Menagerie's description of the arm, and the folder its mesh files are in."""
    try:
        import mujoco_menagerie
    except ImportError as error:
        raise MeshError(
            "meshes need the package mujoco-menagerie, which is not installed: "
            "pip install mujoco-menagerie"
        ) from error
    try:
        entry = mujoco_menagerie.get(ROBOT)
        file = entry.xml(entry.default_model)
        spec = mujoco.MjSpec.from_file(str(file))
    except (mujoco_menagerie.MenagerieError, OSError, ValueError) as error:
        raise MeshError(
            f"the meshes of {ROBOT} cannot be loaded: {error}; connect to the internet once, or "
            "set MENAGERIE_ROOT to a checkout of google-deepmind/mujoco_menagerie"
        ) from error
    return spec, file.parent / spec.meshdir


def dress(spec: mujoco.MjSpec) -> None:
    """Give the bodies of `sim.robot` in `spec` the visual meshes of the bodies of the same name."""
    arm, folder = load_arm()
    bodies = {body.name: body for body in spec.bodies}
    files = {mesh.name or Path(mesh.file).stem: mesh.file for mesh in arm.meshes}
    materials = {material.name: material.rgba for material in arm.materials}
    dressed = False
    for source in arm.bodies:
        visible = [
            geom
            for geom in source.geoms
            if geom.type == mujoco.mjtGeom.mjGEOM_MESH and geom.group == VISUAL_GROUP
        ]
        if source.name not in bodies or not visible:
            continue
        dressed = True
        body = bodies[source.name]
        for geom in body.geoms:
            geom.group = HIDDEN_GROUP  # still collides
        for geom in visible:
            path = folder / files[geom.meshname]
            if not path.is_file():
                raise MeshError(f"the mesh file {path} is missing")
            if spec.mesh(geom.meshname) is None:
                spec.add_mesh(name=geom.meshname, file=str(path))
            body.add_geom(
                type=mujoco.mjtGeom.mjGEOM_MESH,
                meshname=geom.meshname,
                pos=geom.pos,
                quat=geom.quat,
                rgba=materials.get(geom.material, geom.rgba),
                group=VISUAL_GROUP,
                contype=0,
                conaffinity=0,
                mass=0,
            )
    if not dressed:
        raise MeshError(f"{ROBOT} has no visual meshes for the bodies {sorted(bodies)}")
