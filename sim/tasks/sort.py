"""Sort: put every item into the bowl of its color; one without such a bowl stays out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim.kinematics import Kinematics
from sim.scene import COLORS, Scene
from sim.tabletop import Tabletop
from sim.tasks import base, checks
from sim.tasks.base import Episode, Stage, Task
from sim.tasks.pick_place import PickPlace

PHRASES = (
    "sort the items by color into the bowls",
    "put each item into the bowl of its color",
    "sort by color",
    "put everything into the bowl that has the same color",
)


class Sort(Task):
    """ "put each item into the bowl of its color"."""

    name = "Sort"
    max_steps = 180
    swappable = False

    def __init__(self) -> None:
        self._kinematics = Kinematics()
        self._pick_place = PickPlace()

    def sample(self, rng: np.random.Generator) -> Episode:
        colors = [str(color) for color in rng.permutation(list(COLORS))]
        count = 2 + int(rng.integers(0, 2))
        shapes = [base.choose(rng, ("cube", "cylinder", "ball")) for _ in range(count)]
        kinds = [*zip(shapes, colors, strict=False), *(("bowl", color) for color in colors[:2])]
        items = base.draw_until_it_fits(lambda: base.draw_items(rng, kinds))
        start = base.draw_start(rng, self._kinematics)
        stages = tuple(Stage("PickPlace", item.name, f"{item.color} bowl") for item in items[:2])
        episode = Episode(Scene(items), "", items[0].name, joint_positions=start, stages=stages)
        return replace(episode, instruction=self.instruct(rng, episode))

    def instruct(self, rng: np.random.Generator, episode: Episode) -> str:
        return base.choose(rng, PHRASES)

    def first_touches(self, world: Tabletop, episode: Episode) -> tuple[str, ...]:
        return tuple(stage.target for stage in episode.stages)

    def success(self, world: Tabletop, episode: Episode) -> bool:
        sorted_names = self.first_touches(world, episode)
        bowls = [item.name for item in world.scene.items if item.is_bowl]
        others = [
            item.name
            for item in world.scene.items
            if not item.is_bowl and item.name not in sorted_names
        ]
        return all(
            self._pick_place.success(world, episode.at(stage)) for stage in episode.stages
        ) and not any(checks.in_bowl(world, name, bowl) for name in others for bowl in bowls)

    def target_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        return world.item_position(self._now(world, episode).target)

    def goal_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        return self._pick_place.goal_position(world, self._now(world, episode))

    def expert(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        return self._pick_place.expert(world, self._now(world, episode))

    def _now(self, world: Tabletop, episode: Episode) -> Episode:
        """The part to do next: what is held, otherwise the first that is not in its bowl."""
        parts = [episode.at(stage) for stage in episode.stages]
        for part in parts:
            if world.is_held(part.target):
                return part
        for part in parts:
            if not self._pick_place.success(world, part):
                return part
        return parts[-1]
