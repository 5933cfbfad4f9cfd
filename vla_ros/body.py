"""The robot's body as the executor checks it: tool, singularities, and what touches what.

MuJoCo's own collision detection, between all parts of the robot and with the boxes to keep out of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sim.arm_description import MEND, sees
from sim.arm_model import ArmModel, fr3
from sim.kinematics import Kinematics
from vla_ros.errors import UserError
from vla_ros.limits import Box

KEEP_OUT = "keep-out box"
UNLIMITED_RAD = 2 * np.pi  # where a description gives a joint no range


@dataclass(frozen=True)
class Contact:
    """Two parts nearer to each other than they may be."""

    first: str
    second: str
    distance_m: float  # below 0: how deep they are in each other

    def __str__(self) -> str:
        return f"{self.first} and {self.second} are {self.distance_m * 1000:.0f} mm apart"


class Body:
    """Kinematics and collisions of one robot. Its other joints (fingers) stand fully open.

    Parts that are neighbours, or neighbours' neighbours, are not compared: drawn simply they
    overlap, and their joints' ranges keep them apart. Nor are those that touch in the home posture.
    Raises `UserError` for boxes that nothing can be checked against.
    """

    def __init__(
        self,
        arm: ArmModel | None = None,
        keep_out: Sequence[Box] = (),
        clearance_m: float = 0.005,
    ) -> None:
        arm = arm or fr3()
        self._kinematics = Kinematics(arm=arm)
        self.joint_names = arm.joint_names
        spec = arm.make_spec()
        for geom in spec.geoms:
            geom.contype = geom.conaffinity = 1
        for index, box in enumerate(keep_out):
            low, high = np.asarray(box.low_m), np.asarray(box.high_m)
            spec.worldbody.add_geom(
                name=f"{KEEP_OUT} {index}",
                type=mujoco.mjtGeom.mjGEOM_BOX,
                pos=(low + high) / 2,
                size=(high - low) / 2,
                contype=1,
                conaffinity=1,
            )
        self._model = spec.compile()
        if keep_out and not sees(self._model):
            raise UserError(
                f"keep_out_m: expected a description in which parts that move have shapes, "
                f"{arm.source} has none: {MEND}"
            )
        self._model.geom_margin[:] = clearance_m / 2  # of a pair the sum counts
        self._data = mujoco.MjData(self._model)
        joints = arm.joint_ids(self._model)
        self._addresses = self._model.jnt_qposadr[joints]
        self._dofs = self._model.jnt_dofadr[joints]
        self._kind, self._tool = arm.tool_frame(self._model)
        for joint in range(self._model.njnt):
            if joint not in joints and self._model.jnt_limited[joint]:
                address = self._model.jnt_qposadr[joint]
                self._data.qpos[address] = self._model.jnt_range[joint, 1]
        self._is_box = np.array(
            [KEEP_OUT in self._model.geom(index).name for index in range(self._model.ngeom)]
        )
        self._ignored = _near_pairs(self._model)
        at_home = self._touching(arm.home_rad)
        self._ignored |= {pair for pair, geoms, _ in at_home if not self._is_box[list(geoms)].any()}

    def forward(self, joints: NDArray) -> tuple[NDArray, Rotation]:
        """See `Kinematics.forward`."""
        return self._kinematics.forward(joints)

    def inverse(
        self, joints: NDArray, position: NDArray, rotation: Rotation
    ) -> tuple[NDArray, float]:
        """See `Kinematics.inverse`."""
        return self._kinematics.inverse(joints, position, rotation)

    def condition(self, joints: NDArray) -> float:
        """Of the tool's Jacobian ([m], [rad]), as MoveIt Servo has it: large near a singularity."""
        self._place(joints)
        mujoco.mj_comPos(self._model, self._data)
        jacobian = np.zeros((6, self._model.nv))
        function = mujoco.mj_jacSite if self._kind == "site" else mujoco.mj_jacBody
        function(self._model, self._data, jacobian[:3], jacobian[3:], self._tool)
        values = np.linalg.svd(jacobian[:, self._dofs], compute_uv=False)
        return float(values[0] / max(values[-1], 1e-9))

    def contacts(self, joints: NDArray) -> list[Contact]:
        """What is too near to what at `joints` (n,) [rad]."""
        return [
            Contact(self._name(geoms[0]), self._name(geoms[1]), distance_m)
            for _, geoms, distance_m in self._touching(joints)
        ]

    def follow(
        self, joints: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], Rotation, list[list[Contact]]]:
        """Tool positions (m, 3) [m], its rotations and the contacts along `joints` (m, n) [rad]."""
        positions, matrices, contacts = [], [], []
        for row in joints:
            contacts.append(self.contacts(row))
            place, turn = self._tool_arrays
            positions.append(place[self._tool].copy())
            matrices.append(turn[self._tool].reshape(3, 3).copy())
        return np.stack(positions), Rotation.from_matrix(np.stack(matrices)), contacts

    def tool_frames(
        self, joints: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Tool positions (m, 3) [m] and rotation matrices (m, 3, 3) along `joints` (m, n) [rad]:
        `follow` without all else."""
        place, turn = self._tool_arrays
        positions, matrices = np.empty((len(joints), 3)), np.empty((len(joints), 9))
        for row, each in enumerate(joints):
            self._place(each)
            positions[row] = place[self._tool]
            matrices[row] = turn[self._tool]
        return positions, matrices.reshape(-1, 3, 3)

    @property
    def _tool_arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """MuJoCo's positions (k, 3) and matrices (k, 9) of what the tool is one of."""
        data = self._data
        return (data.site_xpos, data.site_xmat) if self._kind == "site" else (data.xpos, data.xmat)

    def _place(self, joints: NDArray) -> None:
        self._data.qpos[self._addresses] = joints
        mujoco.mj_kinematics(self._model, self._data)

    def _touching(self, joints: NDArray) -> list[tuple[tuple[int, int], tuple[int, int], float]]:
        """(bodies in order, geoms, distance [m]) of the pairs that count."""
        self._place(joints)
        mujoco.mj_collision(self._model, self._data)
        contacts, found = self._data.contact, []
        for (one, other), distance_m in zip(
            contacts.geom.tolist(), contacts.dist.tolist(), strict=True
        ):
            first, second = sorted(self._model.geom_bodyid[[one, other]].tolist())
            boxed = self._is_box[one] or self._is_box[other]
            if boxed or (first, second) not in self._ignored:
                found.append(((first, second), (one, other), distance_m))
        return found

    def _name(self, geom: int) -> str:
        if self._is_box[geom]:
            return self._model.geom(geom).name
        return self._model.body(self._model.geom_bodyid[geom]).name


def _near_pairs(model: mujoco.MjModel) -> set[tuple[int, int]]:
    """Bodies at most two joints apart; bodies that no joint separates count as one."""

    def ancestors(body: int) -> list[int]:
        """The bodies with a joint from here down to the base, at most three."""
        chain: list[int] = []
        while body and len(chain) < 3:
            chain.append(int(model.body_weldid[body]))
            body = int(model.body_parentid[model.body_weldid[body]])
        return [*chain, 0] if len(chain) < 3 else chain

    near = set()
    for one in range(model.nbody):
        for other in range(model.nbody):
            if int(model.body_weldid[one]) in ancestors(other):
                near.add((min(one, other), max(one, other)))
    return near
