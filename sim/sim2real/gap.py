"""The tracking gap: how far the simulated arm goes from the robot when told the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sim import robot
from sim.sim2real.arm import ArmParameters, ArmSimulation
from sim.sim2real.logs import Log

SHIFT_LIMIT_S = 0.3  # latencies are sought up to this
SHIFT_STEP_S = 0.001


@dataclass(frozen=True)
class Gap:
    """Of one log, or of several together."""

    joint_rmse_rad: NDArray[np.float64]  # (7,)
    joint_max_rad: NDArray[np.float64]  # (7,)
    tool_rmse_m: float
    tool_max_m: float
    tool_rmse_rad: float
    tool_max_rad: float
    # How much later the robot moves than the simulated arm; None: nothing moves.
    lag_s: float | None
    samples: int

    @property
    def rmse_rad(self) -> float:
        """Over all joints."""
        return float(np.sqrt(np.mean(self.joint_rmse_rad**2)))

    def as_json(self) -> dict[str, Any]:
        joints = robot.JOINT_NAMES
        return {
            "rmse_rad": self.rmse_rad,
            "joint_rmse_rad": dict(zip(joints, self.joint_rmse_rad.tolist(), strict=True)),
            "joint_max_rad": dict(zip(joints, self.joint_max_rad.tolist(), strict=True)),
            "tool_rmse_m": self.tool_rmse_m,
            "tool_max_m": self.tool_max_m,
            "tool_rmse_rad": self.tool_rmse_rad,
            "tool_max_rad": self.tool_max_rad,
            "lag_s": self.lag_s,
            "samples": self.samples,
        }


def tracking_gap(simulation: ArmSimulation, log: Log, parameters: ArmParameters) -> Gap:
    """Replay the log's commands with `parameters` and compare with what the robot did."""
    simulated = simulation.replay(log, [parameters])[0]  # (n, 7)
    error = np.abs(log.joint_positions - simulated)
    real_place, real_turn = simulation.tool_poses(log.joint_positions)
    place, turn = simulation.tool_poses(simulated)
    distance = np.linalg.norm(real_place - place, axis=1)  # (n,) [m]
    angle = (
        Rotation.from_matrix(real_turn) * Rotation.from_matrix(turn).inv()
    ).magnitude()  # (n,) [rad]
    return Gap(
        joint_rmse_rad=np.sqrt(np.mean(error**2, axis=0)),
        joint_max_rad=error.max(axis=0),
        tool_rmse_m=float(np.sqrt(np.mean(distance**2))),
        tool_max_m=float(distance.max()),
        tool_rmse_rad=float(np.sqrt(np.mean(angle**2))),
        tool_max_rad=float(angle.max()),
        lag_s=lag(log.stamps_s, log.joint_positions, simulated),
        samples=len(error),
    )


def pooled(gaps: Sequence[Gap]) -> Gap:
    """The gap over the samples of several logs; the lag is their mean, weighted by samples."""
    weights = np.array([gap.samples for gap in gaps], float)

    def root_mean(values: Sequence[Any]) -> Any:
        return np.sqrt(np.average(np.square(values), axis=0, weights=weights))

    known = [gap for gap in gaps if gap.lag_s is not None]
    samples = sum(gap.samples for gap in known)
    return Gap(
        joint_rmse_rad=root_mean([gap.joint_rmse_rad for gap in gaps]),
        joint_max_rad=np.max([gap.joint_max_rad for gap in gaps], axis=0),
        tool_rmse_m=float(root_mean([gap.tool_rmse_m for gap in gaps])),
        tool_max_m=max(gap.tool_max_m for gap in gaps),
        tool_rmse_rad=float(root_mean([gap.tool_rmse_rad for gap in gaps])),
        tool_max_rad=max(gap.tool_max_rad for gap in gaps),
        lag_s=sum((gap.lag_s or 0.0) * gap.samples for gap in known) / samples if known else None,
        samples=sum(gap.samples for gap in gaps),
    )


def closed_share(before: float, after: float) -> float | None:
    """The share of a gap that is gone: 1 - after / before; None where there was none."""
    return 1.0 - after / before if before > 0 else None


def lag(stamps_s: NDArray, later: NDArray, earlier: NDArray) -> float | None:
    """By how much (n, 7) `later` trails `earlier` [s]: the shift with the least squared error.

    Sought from -0.3 to 0.3 s in steps of 1 ms, over samples that every shift has. None when
    nothing moves by more than 1 mrad, or when the log is too short.
    """
    inside = (stamps_s >= SHIFT_LIMIT_S) & (stamps_s <= stamps_s[-1] - SHIFT_LIMIT_S)
    if inside.sum() < 10 or np.ptp(earlier, axis=0).max() < 1e-3:
        return None
    shifts = np.arange(-SHIFT_LIMIT_S, SHIFT_LIMIT_S + SHIFT_STEP_S / 2, SHIFT_STEP_S)
    at = stamps_s[inside]
    errors = np.zeros(len(shifts))
    for measured, simulated in zip(later.T, earlier.T, strict=True):
        moved = np.interp((at[None] - shifts[:, None]).ravel(), stamps_s, simulated)
        errors += np.sum((moved.reshape(len(shifts), -1) - measured[inside]) ** 2, axis=1)
    return float(shifts[errors.argmin()])
