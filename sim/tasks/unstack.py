"""Unstack: take the upper of two items off and put it on the table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim.kinematics import Kinematics
from sim.scene import COLORS, Item, Scene
from sim.tabletop import Tabletop
from sim.tasks import base, checks, skills
from sim.tasks.base import Episode, Task

PHRASES = (
    "take the {target} off the {below} and put it on the table",
    "unstack the {target} from the {below}",
    "put the {target} that stands on the {below} onto the table",
    "move the {target} from the {below} to the table",
)
STACK_DISTANCE_M = 0.15  # of two stacks, at least
AREA = (0.40, 0.57, -0.16, 0.16)


class Unstack(Task):
    """ "take the red cube off the blue cylinder and put it on the table"."""

    name = "Unstack"
    max_steps = 90

    def __init__(self) -> None:
        self._kinematics = Kinematics()

    def sample(self, rng: np.random.Generator) -> Episode:
        colors = rng.permutation(list(COLORS))
        spots = base.draw_until_it_fits(lambda: _draw_spots(rng))
        items: list[Item] = []
        for index, spot in enumerate(spots):
            yaw = float(rng.uniform(-0.4, 0.4))
            elevation = 0.0
            for color in colors[2 * index : 2 * index + 2]:  # from below
                item = Item(
                    shape=base.choose(rng, ("cube", "cylinder")),
                    color=str(color),
                    position=(float(spot[0]), float(spot[1])),
                    yaw_rad=yaw,
                    size_m=float(rng.uniform(0.020, 0.024)),
                    elevation_m=elevation,
                )
                items.append(item)
                elevation = 2 * item.size_m
        start = base.draw_start(rng, self._kinematics)
        episode = Episode(Scene(tuple(items)), "", items[1].name, joint_positions=start)
        return replace(episode, instruction=self.instruct(rng, episode))

    def instruct(self, rng: np.random.Generator, episode: Episode) -> str:
        return base.choose(rng, PHRASES).format(
            target=episode.target, below=_below(episode.scene, episode.target)
        )

    def targets(self, episode: Episode) -> tuple[str, ...]:
        return tuple(item.name for item in episode.scene.items if item.elevation_m > 0)

    def success(self, world: Tabletop, episode: Episode) -> bool:
        return checks.stands_on_table(world, episode.target) and checks.let_go(
            world, episode.target
        )

    def goal_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        others = [item.name for item in world.scene.items if item.name != episode.target]
        below = world.item_position(_below(world.scene, episode.target))[:2]
        spot = skills.free_spot(below, [world.item_position(name)[:2] for name in others])
        return np.array([*spot, world.scene.item(episode.target).size_m])

    def expert(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        if world.is_held(episode.target):
            goal = self.goal_position(world, episode)
            return skills.set_down(world, episode.target, goal[:2], goal[2])
        if checks.stands_on_table(world, episode.target):
            return skills.withdraw(world)
        return base.grasp(world, episode.target)


def _draw_spots(rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    first, second = rng.uniform((AREA[0], AREA[2]), (AREA[1], AREA[3]), size=(2, 2))
    if np.linalg.norm(first - second) < STACK_DISTANCE_M:
        raise base.CrowdedError
    return first, second


def _below(scene: Scene, target: str) -> str:
    """What the target stands on when the episode begins."""
    upper = scene.item(target)
    return next(
        item.name for item in scene.items if item.position == upper.position and item.name != target
    )
