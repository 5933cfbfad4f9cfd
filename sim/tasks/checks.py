"""Physical checks of which success is made: on what something stands, whether it is let go."""

from __future__ import annotations

import numpy as np

from sim.scene import BOWL_RADIUS_M
from sim.tabletop import Tabletop

REST_SPEED_M_S = 0.05
HEIGHT_TOLERANCE_M = 0.006


def let_go(world: Tabletop, name: str) -> bool:
    """Whether the robot does not touch the item and it is at rest."""
    return not world.is_touched(name) and world.item_speed(name) < REST_SPEED_M_S


def stands_on_table(world: Tabletop, name: str) -> bool:
    """Whether the item's centre is as high as when it stands on the table itself."""
    item = world.scene.item(name)
    own_height = item.height_m - item.elevation_m
    return bool(abs(world.item_position(name)[2] - own_height) < HEIGHT_TOLERANCE_M)


def stands_on(world: Tabletop, name: str, below: str, reach_m: float = 0.02) -> bool:
    """Whether an item stands on another one, its centre above that one's top."""
    offset = world.item_position(name) - world.item_position(below)
    height = world.scene.item(name).size_m + world.scene.item(below).size_m
    return bool(
        np.linalg.norm(offset[:2]) < reach_m
        and abs(offset[2] - height) < HEIGHT_TOLERANCE_M
        and world.is_touching(name, below)
    )


def in_bowl(world: Tabletop, name: str, bowl: str) -> bool:
    """Whether the item's centre is within a bowl's wall, near its bottom."""
    offset = world.item_position(name) - world.item_position(bowl)
    return bool(np.linalg.norm(offset[:2]) < BOWL_RADIUS_M and 0.0 < offset[2] < 0.05)
