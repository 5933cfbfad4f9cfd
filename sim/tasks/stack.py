"""Stack: put one named item on top of another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim.kinematics import Kinematics
from sim.tabletop import Tabletop
from sim.tasks import base, checks, skills
from sim.tasks.base import Episode, Task

PHRASES = (
    "stack the {target} on the {destination}",
    "put the {target} on top of the {destination}",
    "place the {target} onto the {destination}",
    "pick up the {target} and set it on the {destination}",
)


class Stack(Task):
    """ "stack the red cube on the blue cylinder"."""

    name = "Stack"
    max_steps = 90

    def __init__(self) -> None:
        self._kinematics = Kinematics()

    def sample(self, rng: np.random.Generator) -> Episode:
        shapes = tuple(base.choose(rng, ("cube", "cylinder")) for _ in range(3))
        scene = base.draw_until_it_fits(lambda: base.draw_scene(rng, shapes, bowls=0))
        start = base.draw_start(rng, self._kinematics)
        target, destination = (item.name for item in scene.items[:2])
        episode = Episode(scene, "", target, destination, joint_positions=start)
        return replace(episode, instruction=self.instruct(rng, episode))

    def instruct(self, rng: np.random.Generator, episode: Episode) -> str:
        return base.choose(rng, PHRASES).format(
            target=episode.target, destination=episode.destination
        )

    def targets(self, episode: Episode) -> tuple[str, ...]:
        return tuple(name for name in super().targets(episode) if name != episode.destination)

    def success(self, world: Tabletop, episode: Episode) -> bool:
        assert episode.destination is not None
        return checks.stands_on(world, episode.target, episode.destination) and checks.let_go(
            world, episode.target
        )

    def goal_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        assert episode.destination is not None
        below = world.item_position(episode.destination)
        sizes = (world.scene.item(name).size_m for name in (episode.target, episode.destination))
        return below + (0, 0, sum(sizes))

    def expert(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        assert episode.destination is not None
        if world.is_held(episode.target):
            goal = self.goal_position(world, episode)
            return skills.set_down(world, episode.target, goal[:2], goal[2])
        if checks.stands_on(world, episode.target, episode.destination):
            return skills.withdraw(world)
        return base.grasp(world, episode.target)
