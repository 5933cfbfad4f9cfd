"""PickPlace: put one named item into one named bowl."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim.kinematics import Kinematics
from sim.tabletop import Tabletop
from sim.tasks import base, checks
from sim.tasks.base import Episode, Task

CARRY_HEIGHT_M = 0.13  # tool height on the way to the bowl
SINK_HEIGHT_M = 0.08  # where the tool sinks to over the bowl ...
RELEASE_HEIGHT_M = 0.12  # ... letting go as soon as it is below this
RELEASE_RADIUS_M = 0.035  # the item still falls inside the wall, which is at 0.062
BESIDE_M = 0.033  # from the bowl's middle, where something else lies in it already
BESIDE_RADIUS_M = 0.008
SPOTS = 16
RIM_CLEARANCE_M = 0.085  # an item held lower than this would strike the rim

PHRASES = (
    "put the {target} into the {destination}",
    "place the {target} in the {destination}",
    "drop the {target} into the {destination}",
    "move the {target} to the {destination}",
    "pick up the {target} and put it in the {destination}",
)


class PickPlace(Task):
    """ "put the green cylinder into the blue bowl"."""

    name = "PickPlace"
    max_steps = 90

    def __init__(self) -> None:
        self._kinematics = Kinematics()

    def sample(self, rng: np.random.Generator) -> Episode:
        count = int(rng.integers(2, 4))
        shapes = tuple(base.choose(rng, ("cube", "cylinder", "ball")) for _ in range(count))
        bowls = int(rng.integers(1, 3))
        scene = base.draw_until_it_fits(lambda: base.draw_scene(rng, shapes, bowls))
        start = base.draw_start(rng, self._kinematics)
        destination = next(item.name for item in scene.items if item.is_bowl)
        episode = Episode(
            scene, "", scene.items[0].name, destination=destination, joint_positions=start
        )
        return replace(episode, instruction=self.instruct(rng, episode))

    def instruct(self, rng: np.random.Generator, episode: Episode) -> str:
        return base.choose(rng, PHRASES).format(
            target=episode.target, destination=episode.destination
        )

    def success(self, world: Tabletop, episode: Episode) -> bool:
        assert episode.destination is not None
        return (
            checks.in_bowl(world, episode.target, episode.destination)
            and not world.is_held(episode.target)
            and world.item_speed(episode.target) < 0.1
        )

    def goal_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        assert episode.destination is not None
        return world.item_position(episode.destination)

    def expert(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        tool = world.ee_position
        bowl = self.goal_position(world, episode)
        if world.is_held(episode.target):
            spot, radius = self._spot(world, episode, bowl)
            distance = float(np.linalg.norm(spot - tool[:2]))
            if distance < radius:
                gripper = base.OPEN if tool[2] < RELEASE_HEIGHT_M else base.CLOSED
                return base.servo(world, np.array([*spot, SINK_HEIGHT_M]), gripper)
            if tool[2] < RIM_CLEARANCE_M:
                return base.servo(world, np.array([*tool[:2], CARRY_HEIGHT_M]), base.CLOSED)
            return base.servo(world, np.array([*spot, CARRY_HEIGHT_M]), base.CLOSED)
        assert episode.destination is not None
        if checks.in_bowl(world, episode.target, episode.destination):
            return base.servo(world, np.array([*tool[:2], CARRY_HEIGHT_M]), base.OPEN)
        return base.grasp(world, episode.target)

    def _spot(
        self, world: Tabletop, episode: Episode, bowl: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], float]:
        """(2,) where to let go, and how near: the bowl's middle, or beside what lies there."""
        assert episode.destination is not None
        others = [
            world.item_position(item.name)[:2]
            for item in world.scene.items
            if item.name not in (episode.target, episode.destination)
            and checks.in_bowl(world, item.name, episode.destination)
        ]
        if not others:
            return bowl[:2], RELEASE_RADIUS_M
        angles = np.linspace(0.0, 2.0 * np.pi, SPOTS, endpoint=False)
        spots = bowl[:2] + BESIDE_M * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        apart = np.linalg.norm(spots[:, None] - np.array(others), axis=2).min(axis=1)
        return spots[int(apart.argmax())], BESIDE_RADIUS_M
