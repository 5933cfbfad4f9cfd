"""Moves that several experts share, from the present state alone: carrying, setting down, leaving.

`sim.tasks.base` has the first of them, `servo` and `grasp`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sim.tabletop import Tabletop
from sim.tasks import base

CARRY_HEIGHT_M = 0.125  # of a carried item's centre: clear of two cubes on top of each other
REST_HEIGHT_M = 0.22  # of the tool, when there is nothing left to do
PALM_REACH = (0.06, 0.14)  # half the room that the hand takes over a spot on the table, x, y [m]


def servo_pose(
    world: Tabletop,
    position: NDArray,
    rotation: Rotation,
    gripper: float,
    max_turn_rad: float = base.MAX_TURN_RAD,
) -> NDArray[np.float64]:
    """The action (7,) towards a tool pose that may be turned far from the present one."""
    step = np.asarray(position) - world.ee_position
    length = np.linalg.norm(step)
    if length > base.MAX_STEP_M:
        step *= base.MAX_STEP_M / length
    turn = (rotation * world.ee_rotation.inv()).as_rotvec()
    angle = np.linalg.norm(turn)
    if angle > max_turn_rad:
        turn *= max_turn_rad / angle
    return np.concatenate([step, Rotation.from_rotvec(turn).as_euler("xyz"), [gripper]])


def set_down(
    world: Tabletop, target: str, spot: NDArray, rest_height: float
) -> NDArray[np.float64]:
    """The action (7,) that brings the held `target` to `spot` (2,) [m] and lets it go there.

    `rest_height` [m] is that of its centre when it stands.
    """
    item, tool = world.item_position(target), world.ee_position
    offset = spot - item[:2]
    distance = float(np.linalg.norm(offset))
    if distance < 0.012 and item[2] < rest_height + 0.007:
        return base.servo(world, tool, base.OPEN)
    height = min(CARRY_HEIGHT_M, rest_height + 0.002 + 2.5 * max(0.0, distance - 0.008))
    if item[2] < height - 0.03:  # too low for where it is: rise before moving sideways
        return base.servo(world, tool + np.array([0, 0, height - item[2]]), base.CLOSED)
    return base.servo(world, tool + np.array([*offset, height - item[2]]), base.CLOSED)


def withdraw(world: Tabletop, gripper: float = base.OPEN) -> NDArray[np.float64]:
    """The action (7,) that leaves what is below the hand alone: straight up."""
    return base.servo(world, np.array([*world.ee_position[:2], REST_HEIGHT_M]), gripper)


def free_spot(
    near: NDArray,
    others: Iterable[NDArray],
    area: tuple[float, float, float, float] = base.ITEM_AREA,
) -> NDArray[np.float64]:
    """(2,) [m]: the place nearest to `near` where the hand can set something down.

    The hand is broad along y: it must not come down onto the `others`, (2,) [m] each.
    """
    xs, ys = np.arange(area[0], area[1], 0.02), np.arange(area[2], area[3] + 0.01, 0.02)
    spots = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)  # (spots, 2)
    room = np.full(len(spots), np.inf)  # 1: just enough
    for other in others:
        room = np.minimum(room, np.max(np.abs(spots - other) / PALM_REACH, axis=1))
    if not np.any(room > 1.0):
        return spots[np.argmax(room)]
    free = spots[room > 1.0]
    return free[np.argmin(np.linalg.norm(free - near, axis=1))]
