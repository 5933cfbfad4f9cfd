"""Where distractors stand: on the table, in nobody's way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mujoco
import numpy as np
from numpy.typing import NDArray

from sim.randomization.assets import DISTRACTOR_PREFIX, distractor_height

if TYPE_CHECKING:
    from sim.randomization.world import RandomizedTabletop

# A straight way that must stay free: from, to, each x, y [m].
Lane = tuple[NDArray, NDArray]
AREA_LOW, AREA_HIGH = np.array([0.32, -0.30]), np.array([0.72, 0.30])  # x, y [m]: in the picture
GAP_M = 0.055  # to everything else: the open gripper fits between
LANE_M = 0.09  # from a lane's middle
RUN_UP_M = 0.12  # a lane begins so far before its first point: room for the fingers
ATTEMPTS = 60


def free_poses(
    world: RandomizedTabletop, lanes: list[Lane], rng: np.random.Generator
) -> list[list[float]]:
    """Put every distractor of `world` somewhere; x, y, z [m] and w, x, y, z of each.

    One that finds no room goes to the floor beside the table.
    """
    model, data, values = world.model, world.data, world.draw["distractors"]
    on_table = _others(model)
    poses = []
    for index, (shape, half_size_m) in enumerate(
        zip(values["shape"], values["size_m"], strict=True)
    ):
        joint = model.joint(f"{DISTRACTOR_PREFIX}{index}")
        address = int(joint.qposadr[0])
        geom = int(model.body_geomadr[joint.bodyid[0]])
        pose = model.qpos0[address : address + 7].copy()
        for _ in range(ATTEMPTS):
            spot = rng.uniform(AREA_LOW, AREA_HIGH)
            half_yaw = rng.uniform(0.0, np.pi)
            if any(_distance(spot, lane) < LANE_M + half_size_m for lane in lanes):
                continue
            turn = (np.cos(half_yaw), 0.0, 0.0, np.sin(half_yaw))
            data.qpos[address : address + 7] = (*spot, distractor_height(shape, half_size_m), *turn)
            mujoco.mj_kinematics(model, data)
            if _gap(model, data, geom, on_table) >= GAP_M:
                pose = data.qpos[address : address + 7].copy()
                on_table.append(geom)
                break
        data.qpos[address : address + 7] = pose
        poses.append([float(value) for value in pose])
    return poses


def _others(model: mujoco.MjModel) -> list[int]:
    """Geoms that can be touched, but for table, floor and distractors."""
    found = []
    for geom in range(model.ngeom):
        body = model.body(model.geom_bodyid[geom]).name
        solid = model.geom_contype[geom] or model.geom_conaffinity[geom]
        named = model.geom(geom).name in ("table", "floor")
        if solid and not named and not body.startswith(DISTRACTOR_PREFIX):
            found.append(geom)
    return found


def _gap(model: mujoco.MjModel, data: mujoco.MjData, geom: int, others: list[int]) -> float:
    """[m] to the nearest of the others, GAP_M at most."""
    return min(
        (mujoco.mj_geomDistance(model, data, geom, other, GAP_M, None) for other in others),
        default=GAP_M,
    )


def _distance(spot: NDArray, lane: Lane) -> float:
    """[m] from the lane's middle, its run-up included."""
    start, end = lane
    along = end - start
    length = float(np.linalg.norm(along))
    if length < 1e-6:
        return float(np.linalg.norm(spot - start))
    along = along / length
    reach = np.clip((spot - start) @ along, -RUN_UP_M, length)
    return float(np.linalg.norm(spot - start - reach * along))
