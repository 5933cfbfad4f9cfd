"""Lift: pick one named item up from among others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim.kinematics import Kinematics
from sim.tabletop import Tabletop
from sim.tasks import base
from sim.tasks.base import Episode, Task

LIFT_HEIGHT_M = 0.10  # the item's centre above where it stood

PHRASES = (
    "pick up the {target}",
    "lift the {target}",
    "grab the {target} and raise it",
    "take the {target} off the table",
    "raise the {target}",
)


class Lift(Task):
    """ "pick up the red cube"."""

    name = "Lift"
    max_steps = 60

    def __init__(self, height_m: float = LIFT_HEIGHT_M) -> None:
        self._kinematics = Kinematics()
        self._height_m = height_m

    def sample(self, rng: np.random.Generator) -> Episode:
        count = int(rng.integers(2, 4))
        shapes = tuple(base.choose(rng, ("cube", "cylinder", "ball")) for _ in range(count))
        bowls = int(rng.integers(0, 2))
        scene = base.draw_until_it_fits(lambda: base.draw_scene(rng, shapes, bowls))
        start = base.draw_start(rng, self._kinematics)
        episode = Episode(scene, "", scene.items[0].name, joint_positions=start)
        return replace(episode, instruction=self.instruct(rng, episode))

    def instruct(self, rng: np.random.Generator, episode: Episode) -> str:
        return base.choose(rng, PHRASES).format(target=episode.target)

    def success(self, world: Tabletop, episode: Episode) -> bool:
        stood_at = episode.scene.item(episode.target).height_m
        height = world.item_position(episode.target)[2] - stood_at
        return bool(height > self._height_m and world.is_held(episode.target))

    def goal_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        item = world.item_position(episode.target)
        return np.array([item[0], item[1], self._height_m + 0.05])

    def expert(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        if world.is_held(episode.target):
            tool = world.ee_position
            return base.servo(world, np.array([*tool[:2], 0.20]), base.CLOSED)
        return base.grasp(world, episode.target)
