"""Forward and inverse kinematics of the arm, on `mink` (differential IK as a quadratic program)."""

from __future__ import annotations

import math

import mink
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sim.arm_model import ArmModel, fr3
from sim.ik_step import IkStep
from sim.quaternions import Quaternion


class Kinematics:
    """IK by a few Gauss-Newton steps of a damped least-squares problem within the joint limits.

    The problem of each step is mink's: minimise ||J dq - e||^2_W + damping ||dq||^2 plus a small
    pull to the home posture (the arm's seventh degree of freedom), subject to the joint limits.
    """

    def __init__(self, iterations: int = 4, arm: ArmModel | None = None) -> None:
        """`arm` is the FR3 where none is given."""
        arm = arm or fr3()
        self._model = arm.compile()
        self._configuration = mink.Configuration(self._model)
        kind, self._tool = arm.tool_frame(self._model)
        self._frame_task = mink.FrameTask(
            arm.tool, kind, position_cost=1.0, orientation_cost=0.3, lm_damping=1e-4
        )
        data = self._configuration.data
        self._tool_position, self._tool_matrix = (
            (data.site_xpos, data.site_xmat) if kind == "site" else (data.xpos, data.xmat)
        )
        joints = arm.joint_ids(self._model)
        self._addresses = self._model.jnt_qposadr[joints]
        self.lower_rad, self.upper_rad = self._model.jnt_range[joints].T.copy()  # (n,) each
        self._lowest_rad, self._highest_rad = self.lower_rad + 1e-6, self.upper_rad - 1e-6
        posture_cost = np.full(self._model.nv, 2e-3)
        posture_task = mink.PostureTask(self._model, cost=posture_cost)
        home = np.zeros(self._model.nq)
        home[self._addresses] = arm.home_rad
        posture_task.set_target(home)
        self._step = IkStep(self._configuration, self._frame_task, posture_task, damping=1e-5)
        self._iterations = iterations

    def forward(self, joint_positions: NDArray) -> tuple[NDArray, Rotation]:
        """Tool pose in the base frame: position (3,) [m] and rotation, for (n,) angles [rad]."""
        self._update(joint_positions)
        matrix = self._tool_matrix[self._tool].reshape(3, 3)
        return self._tool_position[self._tool].copy(), Rotation.from_matrix(matrix)

    def inverse(
        self, joint_positions: NDArray, position: NDArray, rotation: Rotation
    ) -> tuple[NDArray, float]:
        """Joint angles near `joint_positions` (n,) [rad] whose tool pose is the one wanted.

        Returns the angles (n,) [rad], always within the joint limits, and the position error that
        remains [m] (large: the pose is out of reach).
        """
        return self.reach(joint_positions, position, tuple(rotation.as_quat()))

    def reach(
        self, joint_positions: NDArray, position: NDArray, quaternion: Quaternion
    ) -> tuple[NDArray, float]:
        """As `inverse`, with the orientation as x, y, z, w."""
        # Few calls of NumPy and few objects: 0.1 s of physics takes 1 ms, and this must be less.
        self._update(np.asarray(joint_positions).clip(self._lowest_rad, self._highest_rad))
        x, y, z, w = quaternion
        self._frame_task.set_target(mink.SE3(np.array([w, x, y, z, *position])))
        for _ in range(self._iterations):
            self._step()
        solution = self._configuration.data.qpos[self._addresses]
        short = self._tool_position[self._tool] - position  # (3,) [m]
        return solution.clip(self.lower_rad, self.upper_rad), math.sqrt(short @ short)

    def _update(self, joint_positions: NDArray) -> None:
        q = np.zeros(self._model.nq)
        q[self._addresses] = joint_positions
        self._configuration.update(q)


def displaced(rotation: Rotation, roll_pitch_yaw: NDArray) -> Rotation:
    """`rotation` turned by fixed-axis roll, pitch, yaw [rad] about the base frame's axes."""
    return fixed_axis_rotation(roll_pitch_yaw) * rotation


def fixed_axis_rotation(roll_pitch_yaw: NDArray) -> Rotation:
    """Roll, then pitch, then yaw [rad] about the base frame's axes."""
    return Rotation.from_euler("xyz", roll_pitch_yaw)


def displacement(start: Rotation, end: Rotation) -> NDArray:
    """The fixed-axis roll, pitch, yaw (3,) [rad] with `displaced(start, it) == end`."""
    return (end * start.inv()).as_euler("xyz")
