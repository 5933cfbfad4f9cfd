"""What of the robot touches what, for the monitor: by MuJoCo, without the executor's code."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from sim.arm_model import ArmModel
from vla_ros.limits import Box

NEAR_JOINTS = 2  # parts with no more joints between them are drawn overlapping
NOTHING, PARTS, BOXES = range(3)  # what two shapes are to each other


class Touching:
    """Of one robot with its fingers open, and of boxes that it has to keep out of."""

    def __init__(self, arm: ArmModel, boxes: Sequence[Box] = ()) -> None:
        spec = arm.make_spec()
        for geom in spec.geoms:
            geom.contype = geom.conaffinity = 1
        for row, box in enumerate(boxes):
            low_m, high_m = np.asarray(box.low_m), np.asarray(box.high_m)
            spec.worldbody.add_geom(
                name=f"to keep out of {row}",
                type=mujoco.mjtGeom.mjGEOM_BOX,
                pos=(low_m + high_m) / 2,
                size=(high_m - low_m) / 2,
            )
        self._model = model = spec.compile()
        self._data = mujoco.MjData(model)
        joints = arm.joint_ids(model)
        self._addresses = model.jnt_qposadr[joints]
        fingers = np.setdiff1d(np.flatnonzero(model.jnt_limited), joints)
        self._data.qpos[model.jnt_qposadr[fingers]] = model.jnt_range[fingers, 1]
        chains = [_joints_below(model, body) for body in model.geom_bodyid]
        between = np.array([[len(one ^ other) for other in chains] for one in chains])
        self._kinds = np.where(between > NEAR_JOINTS, PARTS, NOTHING)  # (k, k), shape to shape
        shapes = [model.geom(f"to keep out of {row}").id for row in range(len(boxes))]
        self._kinds[shapes] = self._kinds[:, shapes] = BOXES

    def depths_m(self, joints: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m, 2) along `joints` (m, n) [rad]: how deep parts are in each other, and in boxes."""
        return np.array([self._depths_m(row) for row in joints])

    def _depths_m(self, joints: NDArray[np.float64]) -> list[float]:
        self._data.qpos[self._addresses] = joints
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_collision(self._model, self._data)
        contacts = self._data.contact
        kinds = self._kinds[contacts.geom[:, 0], contacts.geom[:, 1]]
        depths_m = -contacts.dist
        return [float(depths_m[kinds == kind].max(initial=0.0)) for kind in (PARTS, BOXES)]


def _joints_below(model: mujoco.MjModel, body: int) -> set[int]:
    """The joints between the base and `body`."""
    joints: set[int] = set()
    while body:
        first = model.body_jntadr[body]
        joints.update(range(first, first + model.body_jntnum[body]))
        body = model.body_parentid[body]
    return joints
