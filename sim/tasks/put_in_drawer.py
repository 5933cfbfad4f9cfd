"""PutInDrawer: put one named item into the open drawer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim.kinematics import Kinematics
from sim.scene import (
    COLORS,
    DRAWER_DEPTH_M,
    DRAWER_HEIGHT_M,
    DRAWER_WIDTH_M,
    HANDLE_HEIGHT_M,
    HANDLE_OFFSET_M,
    Drawer,
    Scene,
)
from sim.tabletop import Tabletop
from sim.tasks import base, checks, skills
from sim.tasks.base import Episode, Task

OPENING_M = (0.085, 0.10)  # at the start
RELEASE_HEIGHT_M = 0.070  # of the item's centre: below the rim, above the drawer's bottom
CLEAR_HEIGHT_M = 0.10  # of the tool, over drawer and handle

PHRASES = (
    "put the {target} into the {destination}",
    "place the {target} in the {destination}",
    "drop the {target} into the {destination}",
    "store the {target} in the {destination}",
)


class PutInDrawer(Task):
    """ "put the red cube into the blue drawer"."""

    name = "PutInDrawer"
    max_steps = 90

    def __init__(self) -> None:
        self._kinematics = Kinematics()

    def sample(self, rng: np.random.Generator) -> Episode:
        scene = draw_chest_and_items(rng, OPENING_M)
        start = base.draw_start(rng, self._kinematics)
        target, drawer = scene.items[0].name, scene.furniture[0].name
        episode = Episode(scene, "", target, drawer, joint_positions=start)
        return replace(episode, instruction=self.instruct(rng, episode))

    def instruct(self, rng: np.random.Generator, episode: Episode) -> str:
        return base.choose(rng, PHRASES).format(
            target=episode.target, destination=episode.destination
        )

    def success(self, world: Tabletop, episode: Episode) -> bool:
        assert episode.destination is not None
        return in_drawer(world, episode.target, episode.destination) and checks.let_go(
            world, episode.target
        )

    def goal_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        """The middle of what is open of the drawer."""
        assert episode.destination is not None
        handle = world.item_position(episode.destination)
        middle = HANDLE_OFFSET_M + world.travel(episode.destination) / 2 + 0.004
        return np.array([handle[0] - middle, handle[1], 0.03])

    def expert(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        assert episode.destination is not None
        if world.is_held(episode.target):
            goal = self.goal_position(world, episode)
            return skills.set_down(world, episode.target, goal[:2], RELEASE_HEIGHT_M)
        handle, tool = world.item_position(episode.destination), world.ee_position
        at_drawer = abs(tool[1] - handle[1]) < DRAWER_WIDTH_M / 2 and tool[0] < handle[0] + 0.03
        if in_drawer(world, episode.target, episode.destination) or (
            at_drawer and tool[2] < CLEAR_HEIGHT_M
        ):
            return skills.withdraw(world)  # straight up, or it would take the handle along
        return base.grasp(world, episode.target)


def in_drawer(world: Tabletop, name: str, drawer: str) -> bool:
    """Whether an item's centre is between the drawer's walls, below their top."""
    offset = world.item_position(name) - world.item_position(drawer)
    return bool(
        -DRAWER_DEPTH_M < offset[0] + HANDLE_OFFSET_M < 0
        and abs(offset[1]) < DRAWER_WIDTH_M / 2
        and offset[2] < DRAWER_HEIGHT_M - HANDLE_HEIGHT_M
    )


def draw_chest_and_items(rng: np.random.Generator, opening_m: tuple[float, float]) -> Scene:
    """A chest on one side, its drawer open by an amount from the range given; items opposite."""
    colors = rng.permutation(list(COLORS))
    side = base.choose(rng, (1.0, -1.0))
    middle = float(rng.uniform(0.06, 0.09))
    drawer = Drawer(
        str(base.choose(rng, tuple(COLORS))),
        (float(rng.uniform(0.37, 0.40)), side * middle),
        opening_m=float(rng.uniform(*opening_m)),
    )
    # Farther from the chest than the hand, which is broad along y, must come down beside it.
    edges = sorted((side * (middle - 0.13), side * -0.20))
    area = (0.45, 0.60, edges[0], edges[1])
    kinds = [(base.choose(rng, ("cube", "cylinder", "ball")), str(color)) for color in colors[:2]]
    items = base.draw_until_it_fits(lambda: base.draw_items(rng, kinds, area))
    return Scene(items, furniture=(drawer,))
