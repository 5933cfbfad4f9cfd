"""CloseDrawer: push the drawer of the named color shut."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.kinematics import Kinematics
from sim.tabletop import Tabletop
from sim.tasks import base
from sim.tasks.base import Episode, Task
from sim.tasks.open_drawer import TOOL_HEIGHT_M, sample_drawers

SHUT_M = 0.006
OPENING_M = (0.06, 0.10)  # at the start
REACH_M = 0.016  # from the bar's middle to the closed fingers' that touch it from outside
PUSH_STEP_M = 0.03

PHRASES = (
    "close the {target}",
    "push the {target} shut",
    "shut the {target}",
    "slide the {target} closed",
)


class CloseDrawer(Task):
    """ "close the red drawer"."""

    name = "CloseDrawer"
    max_steps = 60

    def __init__(self) -> None:
        self._kinematics = Kinematics()

    def sample(self, rng: np.random.Generator) -> Episode:
        return sample_drawers(self, rng, self._kinematics, OPENING_M)

    def instruct(self, rng: np.random.Generator, episode: Episode) -> str:
        return base.choose(rng, PHRASES).format(target=episode.target)

    def targets(self, episode: Episode) -> tuple[str, ...]:
        return tuple(fixture.name for fixture in episode.scene.furniture)

    def success(self, world: Tabletop, episode: Episode) -> bool:
        return world.travel(episode.target) < SHUT_M

    def goal_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        return world.item_position(episode.target) - (world.travel(episode.target), 0, 0)

    def distance_left(self, world: Tabletop, episode: Episode) -> float:
        """[m]: how far the drawer has to go, and the fingers' way to its handle."""
        handle = world.item_position(episode.target) + (REACH_M, 0, 0)
        way = base.way_from_above(world.ee_position, handle, 0.005)
        return max(0.0, world.travel(episode.target) - SHUT_M) + way

    def expert(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        handle, tool = world.item_position(episode.target), world.ee_position
        ahead, aside = tool[:2] - handle[:2]
        # Coming down it keeps clear of the bar; once down it touches it.
        clearance = 0.008 if tool[2] > TOOL_HEIGHT_M + 0.025 else -0.006
        overshoot = max(0.0, REACH_M + clearance - ahead, ahead - 0.09)
        distance = float(np.hypot(overshoot, max(0.0, abs(aside) - 0.03)))
        height = base.funnel(distance, TOOL_HEIGHT_M, radius=0.003)
        if world.gripper_opening > 0.3:  # open fingers are broader than the handle
            height = base.TRAVEL_HEIGHT_M
        before = handle[:2] + (REACH_M + 0.03, 0)
        if tool[2] < height - 0.03:  # too low for where it is: rise before moving sideways
            return base.servo(world, np.array([*tool[:2], height]), base.CLOSED)
        if distance > 0.003 or tool[2] > TOOL_HEIGHT_M + 0.02:
            return base.servo(world, np.array([*before, height]), base.CLOSED)
        push = np.array([tool[0] - PUSH_STEP_M, handle[1], TOOL_HEIGHT_M])
        return base.servo(world, push, base.CLOSED)
