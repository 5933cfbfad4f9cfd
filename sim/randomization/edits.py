"""Writes what was drawn into a compiled model, and takes it back without a trace.

Values are always computed from the nominal model, never from what the last draw left, and what
MuJoCo derives from them at compilation (`mj_setConst`, bounding volumes) is derived anew.
"""

from __future__ import annotations

import colorsys
import copy
from collections.abc import Iterable, Mapping

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from sim import robot
from sim.patterns import pattern
from sim.randomization.assets import DISTRACTOR_PREFIX
from sim.randomization.axes import SURFACES
from sim.randomization.draw import Draw
from sim.scene import Scene

# Of the model: what an edit changes, and what MuJoCo derives from that.
EDITED = (
    "light_dir", "light_diffuse", "light_castshadow",
    "geom_rgba", "geom_size", "geom_pos", "geom_friction", "geom_rbound", "geom_aabb", "bvh_aabb",
    "mat_texrepeat", "tex_data",
    "cam_pos", "cam_quat", "cam_fovy",
    "body_pos", "body_quat", "body_ipos", "body_mass", "body_inertia", "qpos0", "qpos_spring",
    "dof_damping", "dof_frictionloss", "actuator_gainprm", "actuator_biasprm",
)  # fmt: skip
DERIVED = (
    "body_subtreemass", "body_invweight0", "dof_invweight0", "dof_M0", "dof_length",
    "actuator_acc0", "actuator_length0",
    "tendon_length0", "tendon_invweight0", "tendon_lengthspring",
    "cam_pos0", "cam_poscom0", "cam_mat0", "light_pos0", "light_poscom0", "light_dir0",
)  # fmt: skip
HEADLIGHT = ("ambient", "diffuse")
STATISTICS = ("meaninertia", "meanmass")
SIZED_SHAPES = ("cube", "cylinder", "ball")


def movable_bodies(model: mujoco.MjModel) -> list[str]:
    """Names of the named bodies that move freely, distractors left out."""
    free = np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)
    names = [model.body(model.jnt_bodyid[joint]).name for joint in free]
    return [name for name in names if name and not name.startswith(DISTRACTOR_PREFIX)]


class ModelEditor:
    """Applies draws to one compiled model, each in place of the last."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._nominal = copy.copy(model)
        self._scratch = mujoco.MjData(model)

    def restore(self) -> None:
        """The nominal model, bit for bit."""
        for name in EDITED + DERIVED:
            getattr(self._model, name)[:] = getattr(self._nominal, name)
        for name in HEADLIGHT:
            getattr(self._model.vis.headlight, name)[:] = getattr(self._nominal.vis.headlight, name)
        for name in STATISTICS:
            setattr(self._model.stat, name, getattr(self._nominal.stat, name))

    def apply(self, draw: Draw, scene: Scene) -> None:
        """Change the nominal model, compiled from `scene`, to what was drawn."""
        self.restore()
        model = self._model
        _light(model, draw)
        _color(model, draw, scene)
        _aim_cameras(model, draw)
        _resize(model, draw["objects"].get("size", {}))
        _weigh(model, draw)
        _roughen(model, draw)
        _drive(model, draw)
        _set_table(model, draw["table"].get("height_m", 0.0))
        _set_distractors(model, draw["distractors"].get("poses", ()))
        self._derive()

    def _derive(self) -> None:
        """What the compiler derives, but for `stat.meansize`, which only scales decoration."""
        model = self._model
        mujoco.mj_setConst(model, self._scratch)
        # mj_setConst leaves the statistics as they are; the solver's tolerance goes by the inertia.
        model.stat.meaninertia = float(np.mean(model.dof_M0))
        model.stat.meanmass = float(np.mean(model.body_mass[1:]))


def size_factors(model: mujoco.MjModel, scene: Scene, drawn: Mapping[str, float]) -> dict:
    """By how much each item grows. Where one stands on another, all grow alike."""
    sized = [item for item in scene.items if item.shape in SIZED_SHAPES and item.name in drawn]
    heights = [float(model.body(item.name).pos[2]) for item in sized]
    stacked = not np.allclose(heights, [item.height_m for item in sized], atol=1e-6)
    return {item.name: drawn[(sized[0] if stacked else item).name] for item in sized}


def _light(model: mujoco.MjModel, draw: Draw) -> None:
    values = draw["lighting"]
    if not values:
        return
    tint = np.array(values.get("tint", (1.0, 1.0, 1.0)))
    directions = model.light_dir + np.array(values.get("direction", (0.0, 0.0, 0.0)))
    model.light_dir[:] = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    model.light_diffuse *= values.get("brightness", 1.0) * tint
    if "shadows" in values:
        model.light_castshadow[:] = values["shadows"]
    for name in HEADLIGHT:
        light = getattr(model.vis.headlight, name)
        light *= values.get("ambient", 1.0) * tint


def _color(model: mujoco.MjModel, draw: Draw, scene: Scene) -> None:
    values = draw["textures"]
    if not values:
        return
    for surface in SURFACES:
        geom = model.geom(surface)
        hue, saturation, value = colorsys.rgb_to_hsv(*geom.rgba[:3])
        geom.rgba[:3] = colorsys.hsv_to_rgb(
            values.get("surface_hue", {}).get(surface, hue),
            values.get("surface_saturation", {}).get(surface, saturation),
            values.get("surface_value", {}).get(surface, value),
        )
        own = scene.surface(surface)
        material = model.mat(surface)
        material.texrepeat[:] = values.get("repeat", {}).get(surface, own.repeat)
        contrast = values.get("contrast", {}).get(surface, own.contrast)
        kind = values.get("pattern", {}).get(surface, own.pattern)
        rng = draw.stream(f"textures.{surface}") if "pattern" in values else None
        shades = pattern(kind, contrast, rng)
        start = int(model.tex(surface).adr[0])
        model.tex_data[start : start + shades.size] = shades.reshape(-1)
    for item in scene.items:
        shift = [
            values.get(field, {}).get(item.name, nominal)
            for field, nominal in (
                ("item_hue_deg", 0.0),
                ("item_saturation", 1.0),
                ("item_value", 1.0),
            )
        ]
        for geom in _geoms(model, item.name):
            model.geom_rgba[geom, :3] = shifted(model.geom_rgba[geom, :3], *shift)


def shifted(rgb: Iterable[float], hue_deg: float, saturation: float, value: float) -> tuple:
    """A color (3,) in [0, 1] turned round the color circle, saturation and value multiplied."""
    h, s, v = colorsys.rgb_to_hsv(*rgb)
    return colorsys.hsv_to_rgb(
        (h + hue_deg / 360.0) % 1.0, min(1.0, s * saturation), min(1.0, v * value)
    )


def _aim_cameras(model: mujoco.MjModel, draw: Draw) -> None:
    values = draw["camera"]
    for name, prefix in (("front", ""), ("wrist", "wrist_")):
        camera = model.camera(name)
        camera.pos[:] += values.get(f"{prefix}position_m", (0.0, 0.0, 0.0))
        if f"{prefix}rotation_deg" in values:
            turn = Rotation.from_rotvec(values[f"{prefix}rotation_deg"], degrees=True)
            usual = Rotation.from_quat(camera.quat, scalar_first=True)
            camera.quat[:] = (usual * turn).as_quat(scalar_first=True)
    model.camera("front").fovy[:] += values.get("fov_deg", 0.0)


def _resize(model: mujoco.MjModel, factors: Mapping[str, float]) -> None:
    """Scale bodies about their origins; they go on standing where they stood. Masses stay."""
    for name, factor in factors.items():
        body, geoms = model.body(name), _geoms(model, name)
        for array in (model.geom_size, model.geom_pos, model.geom_rbound, model.geom_aabb):
            array[geoms] *= factor
        volumes = int(model.body_bvhadr[body.id])
        model.bvh_aabb[volumes : volumes + int(model.body_bvhnum[body.id])] *= factor
        body.ipos[:] *= factor
        body.inertia[:] *= factor**2
        body.pos[2] *= factor
        address = int(model.joint(name).qposadr[0])
        for array in (model.qpos0, model.qpos_spring):
            array[address + 2] *= factor


def _weigh(model: mujoco.MjModel, draw: Draw) -> None:
    for name, factor in draw["objects"].get("mass", {}).items():
        model.body(name).mass[:] *= factor
        model.body(name).inertia[:] *= factor


def _roughen(model: mujoco.MjModel, draw: Draw) -> None:
    values = draw["objects"]
    for name, factor in values.get("friction", {}).items():
        model.geom_friction[_geoms(model, name), 0] *= factor
    model.geom("table").friction[0] *= values.get("table_friction", 1.0)
    for name in robot.FINGER_BODIES:
        model.geom_friction[_geoms(model, name), 0] *= values.get("finger_friction", 1.0)


def _drive(model: mujoco.MjModel, draw: Draw) -> None:
    dofs = [int(model.joint(name).dofadr[0]) for name in robot.JOINT_NAMES]
    model.dof_damping[dofs] *= draw["joints"].get("damping", 1.0)
    model.dof_frictionloss[dofs] *= draw["joints"].get("friction", 1.0)
    servos = [model.actuator(name).id for name in robot.JOINT_NAMES]
    _scale_gains(
        model,
        servos,
        np.array(draw["actuators"].get("stiffness", 1.0)),
        np.array(draw["actuators"].get("damping", 1.0)),
    )
    gripper = np.array(draw["actuators"].get("gripper", 1.0))
    fingers = [model.actuator(name).id for name in robot.FINGER_JOINT_NAMES]
    _scale_gains(model, fingers, gripper, gripper)


def _scale_gains(model, servos: list[int], stiffness: np.ndarray, damping: np.ndarray) -> None:
    """A position servo's force is kp (command - position) - kd speed."""
    model.actuator_gainprm[servos, 0] *= stiffness
    model.actuator_biasprm[servos, 1] *= stiffness
    model.actuator_biasprm[servos, 2] *= damping


def _set_table(model: mujoco.MjModel, height_m: float) -> None:
    """A higher table is a lower robot: z = 0 stays the table's top, for all that stands on it.

    The cameras that stand in the room keep their place beside the robot.
    """
    model.body(robot.BASE_BODY).pos[2] -= height_m
    model.cam_pos[model.cam_bodyid == 0, 2] -= height_m


def _set_distractors(model: mujoco.MjModel, poses: Iterable[Iterable[float]]) -> None:
    """Poses: x, y, z [m], w, x, y, z."""
    for index, pose in enumerate(poses):
        body = model.body(f"{DISTRACTOR_PREFIX}{index}")
        position, quaternion = np.split(np.array(pose, dtype=float), [3])
        body.pos[:], body.quat[:] = position, quaternion
        address = int(model.joint(body.name).qposadr[0])
        for array in (model.qpos0, model.qpos_spring):
            array[address : address + 7] = pose


def _geoms(model: mujoco.MjModel, body: str) -> np.ndarray:
    """(n,) ids of the geoms of a body and of what is fixed to it."""
    root = model.body(body).id
    return np.flatnonzero(model.body_weldid[model.geom_bodyid] == model.body_weldid[root])
