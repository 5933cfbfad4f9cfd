"""PlaceRelative: put one named item beside, before or behind another, as the robot sees it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim.kinematics import Kinematics
from sim.scene import Scene
from sim.tabletop import Tabletop
from sim.tasks import base, checks, skills
from sim.tasks.base import Episode, Task

DISTANCE_M = 0.095  # of the two centres: the open fingers (0.104 m wide) still fit beside the other
MIN_DISTANCE_M, MAX_DISTANCE_M = 0.05, 0.16  # along the direction, for success
MAX_ASIDE_M = 0.04  # across it

# As seen from the robot's base, which looks along +x: what is in front of a thing is nearer to it.
RELATIONS: dict[str, tuple[float, float]] = {
    "left": (0.0, 1.0),
    "right": (0.0, -1.0),
    "front": (-1.0, 0.0),
    "behind": (1.0, 0.0),
}
WORDS = {
    "left": ("to the left of", "on the left of"),
    "right": ("to the right of", "on the right of"),
    "front": ("in front of",),
    "behind": ("behind",),
}
PHRASES = (
    "put the {target} {relation} the {destination}",
    "place the {target} {relation} the {destination}",
    "move the {target} {relation} the {destination}",
    "set the {target} down {relation} the {destination}",
)
GOAL_AREA = (0.37, 0.62, -0.22, 0.22)  # x low, x high, y low, y high [m]


class PlaceRelative(Task):
    """ "put the red cube to the left of the blue cylinder"."""

    name = "PlaceRelative"
    max_steps = 90

    def __init__(
        self,
        wanted_m: float = DISTANCE_M,
        range_m: tuple[float, float] = (MIN_DISTANCE_M, MAX_DISTANCE_M),
        max_aside_m: float = MAX_ASIDE_M,
    ) -> None:
        """Distances of the two centres: where the expert puts it, what is a success."""
        self._kinematics = Kinematics()
        self._wanted_m = wanted_m
        self._range_m = range_m
        self._max_aside_m = max_aside_m

    def sample(self, rng: np.random.Generator) -> Episode:
        direction = base.choose(rng, tuple(RELATIONS))

        def draw() -> Scene:
            shapes = tuple(base.choose(rng, ("cube", "cylinder")) for _ in range(3))
            scene = base.draw_scene(rng, shapes, bowls=0)
            if not _is_posed(scene, direction):
                raise base.CrowdedError
            return scene

        scene = base.draw_until_it_fits(draw)
        start = base.draw_start(rng, self._kinematics)
        target, destination = (item.name for item in scene.items[:2])
        episode = Episode(
            scene, "", target, destination, direction=direction, joint_positions=start
        )
        return replace(episode, instruction=self.instruct(rng, episode))

    def instruct(self, rng: np.random.Generator, episode: Episode) -> str:
        assert episode.direction is not None
        relation = base.choose(rng, WORDS[episode.direction])
        return base.choose(rng, PHRASES).format(
            target=episode.target, relation=relation, destination=episode.destination
        )

    def targets(self, episode: Episode) -> tuple[str, ...]:
        return tuple(name for name in super().targets(episode) if name != episode.destination)

    def success(self, world: Tabletop, episode: Episode) -> bool:
        assert episode.destination is not None
        offset = world.item_position(episode.target) - world.item_position(episode.destination)
        return (
            self._is_related(offset[:2], episode.direction)
            and checks.stands_on_table(world, episode.target)
            and checks.let_go(world, episode.target)
        )

    def goal_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        assert episode.destination is not None and episode.direction is not None
        reference = world.item_position(episode.destination)[:2]
        spot = reference + self._wanted_m * np.array(RELATIONS[episode.direction])
        return np.array([*spot, world.scene.item(episode.target).size_m])

    def expert(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        goal = self.goal_position(world, episode)
        if world.is_held(episode.target):
            return skills.set_down(world, episode.target, goal[:2], goal[2])
        item = world.item_position(episode.target)
        if np.linalg.norm(item[:2] - goal[:2]) < 0.03 and item[2] < goal[2] + 0.01:
            return skills.withdraw(world)
        return base.grasp(world, episode.target)

    def _is_related(self, offset: NDArray, direction: str | None) -> bool:
        """Whether an offset (2,) [m] from the other item lies in the direction named."""
        if direction not in RELATIONS:
            raise ValueError(
                f"direction: expected one of {', '.join(RELATIONS)}, got {direction!r}"
            )
        along = np.array(RELATIONS[direction])
        aside = abs(offset @ np.array([-along[1], along[0]]))
        low, high = self._range_m
        return bool(low < offset @ along < high and aside < self._max_aside_m)


def _is_posed(scene: Scene, direction: str) -> bool:
    """Whether either of the other two items could be put there, and is not there yet."""
    first, reference, second = (np.array(item.position) for item in scene.items)
    goal = reference + DISTANCE_M * np.array(RELATIONS[direction])
    in_area = GOAL_AREA[0] < goal[0] < GOAL_AREA[1] and GOAL_AREA[2] < goal[1] < GOAL_AREA[3]
    is_free = all(np.linalg.norm(goal - other) > 0.09 for other in (first, second))
    return in_area and is_free
