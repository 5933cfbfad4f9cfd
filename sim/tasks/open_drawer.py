"""OpenDrawer: pull the drawer of the named color open by its handle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim.kinematics import Kinematics
from sim.scene import COLORS, DRAWER_TRAVEL_M, HANDLE_HEIGHT_M, HANDLE_OFFSET_M, Drawer, Scene
from sim.tabletop import Tabletop
from sim.tasks import base
from sim.tasks.base import Episode, Task

OPEN_M = 0.08  # of DRAWER_TRAVEL_M
PULL_STEP_M = 0.04
# Between the drawer's front and its handle's bar: where closed fingers fit, from the bar.
GAP = np.array([0.0025 - HANDLE_OFFSET_M / 2 - 0.005, 0.0, 0.0])
TOOL_HEIGHT_M = HANDLE_HEIGHT_M  # the palm, 4 cm above it, clears the chest

PHRASES = (
    "open the {target}",
    "pull the {target} open",
    "pull out the {target}",
    "slide the {target} open",
)


class OpenDrawer(Task):
    """ "open the red drawer"."""

    name = "OpenDrawer"
    max_steps = 60

    def __init__(self) -> None:
        self._kinematics = Kinematics()

    def sample(self, rng: np.random.Generator) -> Episode:
        return sample_drawers(self, rng, self._kinematics, (0.0, 0.0))

    def instruct(self, rng: np.random.Generator, episode: Episode) -> str:
        return base.choose(rng, PHRASES).format(target=episode.target)

    def targets(self, episode: Episode) -> tuple[str, ...]:
        return tuple(fixture.name for fixture in episode.scene.furniture)

    def success(self, world: Tabletop, episode: Episode) -> bool:
        return world.travel(episode.target) > OPEN_M

    def goal_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        left = DRAWER_TRAVEL_M - world.travel(episode.target)
        return world.item_position(episode.target) + (left, 0, 0)

    def distance_left(self, world: Tabletop, episode: Episode) -> float:
        """[m]: how far the drawer has to go, and the fingers' way to its handle."""
        handle = world.item_position(episode.target) + GAP
        way = base.way_from_above(world.ee_position, handle, 0.005)
        return max(0.0, OPEN_M - world.travel(episode.target)) + way

    def expert(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        gap = world.item_position(episode.target) + GAP
        tool = world.ee_position
        ahead, aside = tool[:2] - gap[:2]
        if -0.014 < ahead < 0.020 and abs(aside) < 0.03 and tool[2] < TOOL_HEIGHT_M + 0.015:
            return base.servo(
                world, np.array([tool[0] + PULL_STEP_M, gap[1], TOOL_HEIGHT_M]), base.CLOSED
            )
        distance = float(np.hypot(ahead, max(0.0, abs(aside) - 0.01)))
        height = base.funnel(distance, TOOL_HEIGHT_M, radius=0.004)
        if world.gripper_opening > 0.3:  # open fingers are broader than the handle
            height = base.TRAVEL_HEIGHT_M
        if tool[2] < height - 0.03:  # too low for where it is: rise before moving sideways
            return base.servo(world, np.array([*tool[:2], height]), base.CLOSED)
        return base.servo(world, np.array([*gap[:2], height]), base.CLOSED)


def sample_drawers(
    task: Task, rng: np.random.Generator, kinematics: Kinematics, opening_m: tuple[float, float]
) -> Episode:
    """Two chests side by side, each drawer open by an amount from the range given."""
    colors = rng.permutation(list(COLORS))
    order = rng.permutation([1.0, -1.0])
    drawers = tuple(
        Drawer(
            str(color),
            (float(rng.uniform(0.37, 0.41)), float(side * rng.uniform(0.10, 0.115))),
            opening_m=float(rng.uniform(*opening_m)),
        )
        for color, side in zip(colors, order, strict=False)
    )
    start = base.draw_start(rng, kinematics)
    scene = Scene(items=(), furniture=drawers)
    episode = Episode(scene, "", drawers[0].name, joint_positions=start)
    return replace(episode, instruction=task.instruct(rng, episode))
