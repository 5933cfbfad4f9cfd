"""Which robot an arm's kinematics are of: a MuJoCo model, its arm's joints and its tool.

`sim.kinematics` and the executor's checks work with any; the FR3 of `sim.robot` is the default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from sim import robot


class ArmModelError(ValueError):
    """A robot's description that cannot be used, with what it has."""


@dataclass(frozen=True)
class ArmModel:
    """A robot whose base stands at the world's origin."""

    make_spec: Callable[[], mujoco.MjSpec] = field(repr=False)  # a new one at every call
    joint_names: tuple[str, ...]  # of the arm, from base to tool
    tool: str  # a site, or a body (a URDF's link)
    home_rad: NDArray[np.float64]  # (n,) a usual posture, which IK tends to
    source: str = "the description"  # what messages call it

    def compile(self) -> mujoco.MjModel:
        """The model; raises `ArmModelError` when it lacks a joint or the tool."""
        try:
            model = self.make_spec().compile()
        except ValueError as error:
            raise ArmModelError(f"description: {' '.join(str(error).split())}") from error
        self.joint_ids(model)
        self.tool_frame(model)
        return model

    def joint_ids(self, model: mujoco.MjModel) -> NDArray[np.int64]:
        """(n,) of the arm's joints in `model`."""
        names = [model.joint(index).name for index in range(model.njnt)]
        missing = [name for name in self.joint_names if name not in names]
        if missing:
            raise ArmModelError(f"joints: expected some of {names}, got {missing}")
        ids = np.array([names.index(name) for name in self.joint_names])
        hinge = mujoco.mjtJoint.mjJNT_HINGE
        other = [name for name, kind in zip(names, model.jnt_type, strict=True) if kind != hinge]
        if turning := [name for name in self.joint_names if name in other]:
            raise ArmModelError(f"joints: expected joints that turn, got {turning}")
        return ids

    def tool_frame(self, model: mujoco.MjModel) -> tuple[str, int]:
        """("site" or "body", its index)."""
        for kind, element in (
            ("site", mujoco.mjtObj.mjOBJ_SITE),
            ("body", mujoco.mjtObj.mjOBJ_BODY),
        ):
            index = mujoco.mj_name2id(model, element, self.tool)
            if index >= 0:
                return kind, index
        sites = [model.site(index).name for index in range(model.nsite)]
        bodies = [model.body(index).name for index in range(1, model.nbody)]
        raise ArmModelError(f"tool: expected one of {sites + bodies}, got {self.tool!r}")


def fr3() -> ArmModel:
    """The simulated arm."""

    def make() -> mujoco.MjSpec:
        spec = mujoco.MjSpec()
        robot.add_arm(spec)
        return spec

    return ArmModel(make, robot.JOINT_NAMES, robot.TCP_SITE, robot.HOME_RAD)


def from_text(
    text: str,
    joint_names: tuple[str, ...],
    tool: str,
    home_rad: NDArray[np.float64],
    source: str = ArmModel.source,
) -> ArmModel:
    """From a URDF or MJCF, as text. Of a URDF only primitive shapes are kept: its meshes lie in
    ROS packages, and primitives are enough to see collisions."""

    def make() -> mujoco.MjSpec:
        try:
            spec = mujoco.MjSpec.from_string(text)
        except ValueError as error:
            raise ArmModelError(f"description: {' '.join(str(error).split())}") from error
        if "<robot" in text:
            spec.compiler.fusestatic = False  # else links without a joint lose their names
            for geom in list(spec.geoms):
                if geom.type == mujoco.mjtGeom.mjGEOM_MESH:
                    spec.delete(geom)
            for mesh in list(spec.meshes):
                spec.delete(mesh)
        return spec

    return ArmModel(make, tuple(joint_names), tool, np.asarray(home_rad, dtype=float), source)


def from_file(
    path: Path, joint_names: tuple[str, ...], tool: str, home_rad: NDArray[np.float64]
) -> ArmModel:
    """From a file, as `from_text` does."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ArmModelError(
            f"description: expected a URDF or MJCF file, got {path}: {error}"
        ) from None
    return from_text(text, joint_names, tool, home_rad, str(path))
