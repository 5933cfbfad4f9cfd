"""Push: slide one named item across the table in a named direction, with the fingers closed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim.kinematics import Kinematics
from sim.tabletop import Tabletop
from sim.tasks import base
from sim.tasks.base import Episode, Task

PUSH_DISTANCE_M = 0.08
MAX_DRIFT_M = 0.05  # sideways
PUSH_HEIGHT_M = 0.022  # tool height while pushing
STEP_M = 0.03

# As seen from the robot's base, which looks along +x.
DIRECTIONS: dict[str, tuple[float, float]] = {
    "left": (0.0, 1.0),
    "right": (0.0, -1.0),
    "forward": (1.0, 0.0),
}
PHRASES = (
    "push the {target} {direction}",
    "slide the {target} {direction}",
    "nudge the {target} {direction}",
    "shove the {target} {direction}",
)
WORDS = {
    "left": ("left", "to the left"),
    "right": ("right", "to the right"),
    "forward": ("forward", "away from you"),
}
AREA = (0.38, 0.56, -0.15, 0.15)  # room to push in every direction


class Push(Task):
    """ "push the yellow cube to the left"."""

    name = "Push"
    max_steps = 60

    def __init__(
        self, distance_m: float = PUSH_DISTANCE_M, max_drift_m: float = MAX_DRIFT_M
    ) -> None:
        self._kinematics = Kinematics()
        self._distance_m = distance_m
        self._max_drift_m = max_drift_m

    def sample(self, rng: np.random.Generator) -> Episode:
        direction = base.choose(rng, tuple(DIRECTIONS))

        def draw():
            shapes = tuple(base.choose(rng, ("cube", "cylinder")) for _ in range(2))
            bowls = int(rng.integers(0, 2))
            scene = base.draw_scene(rng, shapes, bowls, AREA)
            if not all(way_is_free(scene, item.name, direction) for item in scene.items[:2]):
                raise base.CrowdedError
            return scene

        scene = base.draw_until_it_fits(draw)
        start = base.draw_start(rng, self._kinematics)
        episode = Episode(
            scene, "", scene.items[0].name, direction=direction, joint_positions=start
        )
        return replace(episode, instruction=self.instruct(rng, episode))

    def instruct(self, rng: np.random.Generator, episode: Episode) -> str:
        assert episode.direction is not None
        words = base.choose(rng, WORDS[episode.direction])
        return base.choose(rng, PHRASES).format(target=episode.target, direction=words)

    def success(self, world: Tabletop, episode: Episode) -> bool:
        along, across = _axes(episode)
        moved = world.item_position(episode.target)[:2] - np.array(
            episode.scene.item(episode.target).position
        )
        return bool(moved @ along > self._distance_m and abs(moved @ across) < self._max_drift_m)

    def goal_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        along, _ = _axes(episode)
        item = world.item_position(episode.target)
        return np.array([*(item[:2] + 0.1 * along), item[2]])

    def distance_left(self, world: Tabletop, episode: Episode) -> float:
        """[m]: what is left to push, what it drifted, and the closed fingers' way behind it."""
        along, across = _axes(episode)
        start = episode.scene.item(episode.target)
        item = world.item_position(episode.target)
        moved = item[:2] - np.array(start.position)
        behind = np.array([*(item[:2] - (start.size_m + 0.015) * along), PUSH_HEIGHT_M])
        left = max(0.0, self._distance_m + 0.005 - float(moved @ along))
        drift = abs(float(moved @ across))
        opening_m = 0.04 * world.gripper_opening
        return left + drift + opening_m + base.way_from_above(world.ee_position, behind)

    def expert(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        along, across = _axes(episode)
        item = world.item_position(episode.target)[:2]
        tool = world.ee_position
        # Half the fingers' extent along the push: they are wider in y than in x.
        reach = episode.scene.item(episode.target).size_m + (0.012 if along[1] else 0.011)
        ahead, aside = (tool[:2] - item) @ along, (tool[:2] - item) @ across
        behind = item - (reach + 0.03) * along
        # The corridor behind the item, in which the tool may be low. Coming down it keeps clear of
        # the item, or it would tip it over; once down it touches the item.
        clearance = 0.008 if tool[2] > PUSH_HEIGHT_M + 0.025 else -0.008
        overshoot = max(0.0, ahead + reach + clearance, -ahead - reach - 0.07)
        distance = float(np.hypot(overshoot, max(0.0, abs(aside) - 0.012)))
        height = base.funnel(distance, PUSH_HEIGHT_M, radius=0.003)
        if distance > 0.003:
            if tool[2] < height - 0.03:
                return base.servo(world, np.array([*tool[:2], height]), base.CLOSED)
            return base.servo(world, np.array([*behind, height]), base.CLOSED)
        if tool[2] > PUSH_HEIGHT_M + 0.02:
            spot = behind if ahead < -reach else tool[:2]
            return base.servo(world, np.array([*spot, PUSH_HEIGHT_M]), base.CLOSED)
        forward = tool[:2] + STEP_M * along - 0.8 * aside * across
        return base.servo(world, np.array([*forward, PUSH_HEIGHT_M]), base.CLOSED)


def _axes(episode: Episode) -> tuple[NDArray, NDArray]:
    if episode.direction not in DIRECTIONS:
        raise ValueError(
            f"direction: expected one of {', '.join(DIRECTIONS)}, got {episode.direction!r}"
        )
    along = np.array(DIRECTIONS[episode.direction])
    return along, np.array([-along[1], along[0]])


def way_is_free(scene, target: str, direction: str) -> bool:
    """Whether nothing stands where the item will slide or where the fingers will come down."""
    along = np.array(DIRECTIONS[direction])
    across = np.array([-along[1], along[0]])
    origin = np.array(scene.item(target).position)
    for item in scene.items:
        if item.name == target:
            continue
        offset = np.array(item.position) - origin
        radius = 0.07 if item.is_bowl else 0.03
        in_corridor = -0.09 - radius < offset @ along < 0.14 + radius
        if in_corridor and abs(offset @ across) < 0.035 + radius:
            return False
    return True
