"""From a description (`sim.scene`) to a MuJoCo model: room and cameras are built here.

What stands on the table is built by `sim.items` and `sim.furniture`, surfaces by `sim.surfaces`.
"""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sim import furniture, items, menagerie, robot, surfaces
from sim.scene import TABLE, Scene

TIMESTEP_S = 0.004


def compile_scene(
    scene: Scene, meshes: bool = False, dress: Callable[[mujoco.MjSpec], None] | None = None
) -> mujoco.MjModel:
    """Build the MuJoCo model of the robot, the table, the cameras and what stands there (2 ms).

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
    _add_cameras(spec, hand, scene)
    for item in scene.items:
        items.add_item(spec, item)
    for fixture in scene.furniture:
        furniture.add_fixture(spec, fixture)
    for heap in scene.grains:
        furniture.add_grains(spec, heap)
    for surface in scene.surfaces:
        surfaces.add_surface(spec, surface)
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
        name=TABLE,
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


def _add_cameras(spec: mujoco.MjSpec, hand: mujoco.MjsBody, scene: Scene) -> None:
    offset = scene.camera_offset
    position = np.array(FRONT_CAMERA_POSITION)
    axes = np.array(look_at(position, np.array(FRONT_CAMERA_TARGET)))
    if any(offset.rotation_deg):
        right, up = axes.reshape(2, 3)
        usual = np.stack([right, up, np.cross(right, up)], axis=1)  # columns are the camera's axes
        turn = Rotation.from_rotvec(offset.rotation_deg, degrees=True).as_matrix()
        axes = (usual @ turn)[:, :2].T.flatten()
    front = spec.worldbody.add_camera(
        name="front", pos=position + offset.position, fovy=scene.front_fov_deg
    )
    front.alt.type = mujoco.mjtOrientation.mjORIENTATION_XYAXES
    front.alt.xyaxes = axes
    # Beside the fingers, looking along them; the image's right is the hand's y axis.
    hand.add_camera(name="wrist", pos=(0.07, 0, 0.0), quat=(0, 0.7071, 0.7071, 0), fovy=75)
