"""Pour: tilt a cup of beads over a bowl until they are in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from policies.openvla.state import DOWN
from sim.kinematics import Kinematics
from sim.scene import BOWL_HEIGHT_M, BOWL_RADIUS_M, COLORS, CUP_HEIGHT_M, Grains, Item, Scene
from sim.tabletop import Tabletop
from sim.tasks import base, skills
from sim.tasks.base import Episode, Task

BEADS = 10
SHARE = 0.8  # of the beads that must be in the bowl
CUP_FLOOR_M = 0.005
GRIP_ABOVE_CENTRE_M = 0.010  # the palm stays clear of the rim
LOWEST_GRIP_M = 0.0  # above the centre: the palm covers the mouth below this
LEANING_COSINE, LYING_COSINE = 0.9, 0.5  # of the cup's axis against the hand's
CARRY_TOOL_HEIGHT_M = 0.17
POUR_TOOL_HEIGHT_M = 0.15
# The hand turns by this about the vertical, then tips over so that the fingers point to the robot's
# left and the cup's mouth to its right: the arm reaches that everywhere over the table, smoothly.
POUR_YAW_RAD = np.pi / 2
POUR_TILT_RAD = 1.8
TIP_STEP_RAD = 0.12  # faster, and the arm's joints fall behind
MOUTH = -np.array([np.cos(POUR_YAW_RAD), np.sin(POUR_YAW_RAD)])  # (2,) where the mouth points
MOUTH_DISTANCE_M = 0.035  # from the tool to where the beads land, along MOUTH

PHRASES = (
    "pour the {target} into the {destination}",
    "empty the {target} into the {destination}",
    "pour the beads from the {target} into the {destination}",
    "tip the {target} out over the {destination}",
)


class Pour(Task):
    """ "pour the red cup into the blue bowl"."""

    name = "Pour"
    max_steps = 120

    def __init__(self) -> None:
        self._kinematics = Kinematics()

    def sample(self, rng: np.random.Generator) -> Episode:
        cups = [("cup", str(color)) for color in rng.permutation(list(COLORS))[:2]]
        beads = [str(color) for color in rng.permutation(list(COLORS))[:2]]
        count = 1 + int(rng.integers(0, 2))
        bowls = [("bowl", str(color)) for color in rng.permutation(list(COLORS))[:count]]
        items = base.draw_until_it_fits(lambda: base.draw_items(rng, [*cups, *bowls]))
        grains = tuple(
            Grains("beads", color, cup.position, BEADS, 0.02, elevation_m=CUP_FLOOR_M)
            for cup, color in zip(items, beads, strict=False)
        )
        start = base.draw_start(rng, self._kinematics)
        scene = Scene(items, grains=grains)
        episode = Episode(scene, "", items[0].name, items[2].name, joint_positions=start)
        return replace(episode, instruction=self.instruct(rng, episode))

    def instruct(self, rng: np.random.Generator, episode: Episode) -> str:
        return base.choose(rng, PHRASES).format(
            target=episode.target, destination=episode.destination
        )

    def success(self, world: Tabletop, episode: Episode) -> bool:
        cup, bowl = world.item_position(episode.target), self.goal_position(world, episode)
        offsets = world.grain_positions(_beads(episode)) - bowl  # (beads, 3)
        inside = (np.linalg.norm(offsets[:, :2], axis=1) < BOWL_RADIUS_M) & (
            np.abs(offsets[:, 2] - BOWL_HEIGHT_M / 2) < BOWL_HEIGHT_M / 2
        )
        # Putting the cup into the bowl, beads and all, is not pouring.
        cup_is_out = cup[2] > 0.08 or np.linalg.norm((cup - bowl)[:2]) > BOWL_RADIUS_M + 0.03
        return bool(inside.mean() >= SHARE and cup_is_out)

    def goal_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        assert episode.destination is not None
        return world.item_position(episode.destination)

    def expert(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        tool, rotation = world.ee_position, world.ee_rotation
        upright = (rotation * DOWN.inv()).apply((0, 0, 1))[2]  # cosine of the tilt
        if not world.is_held(episode.target):
            if upright < 0.8:  # dropped while pouring: turn back before going on
                return skills.servo_pose(world, tool + (0, 0, 0.03), DOWN, base.OPEN)
            return base.grasp(world, episode.target, GRIP_ABOVE_CENTRE_M)
        if upright > 0.9 and _sits_badly(world, episode.target):
            return _put_back(world, episode)
        turned = Rotation.from_euler("z", POUR_YAW_RAD) * DOWN
        # The hand tips about this axis of its own, from finger to finger: first that must be right.
        aligned = rotation.apply((0, 1, 0)) @ turned.apply((0, 1, 0))
        spot = self.goal_position(world, episode)[:2] - MOUTH_DISTANCE_M * MOUTH
        distance = float(np.linalg.norm(spot - tool[:2]))
        if aligned > 0.97 and distance < (0.02 if upright > 0.9 else 0.06):
            tipped = turned * Rotation.from_euler("y", POUR_TILT_RAD)
            goal = np.array([*spot, POUR_TOOL_HEIGHT_M])
            return skills.servo_pose(world, goal, tipped, base.CLOSED, TIP_STEP_RAD)
        if tool[2] < CARRY_TOOL_HEIGHT_M - 0.04:
            goal = np.array([*tool[:2], CARRY_TOOL_HEIGHT_M])
            return skills.servo_pose(world, goal, DOWN, base.CLOSED)
        goal = np.array([*spot, CARRY_TOOL_HEIGHT_M])
        return skills.servo_pose(world, goal, turned, base.CLOSED)


def _sits_badly(world: Tabletop, cup: str) -> bool:
    """Whether the held cup would not pour: it leans in the fingers, or the palm covers its mouth.

    One that lies on its side stays so wherever it is put down, and is used as it is.
    """
    axis = world.item_rotation(cup).apply((0, 0, 1))
    lean = float(axis @ (world.ee_rotation * DOWN.inv()).apply((0, 0, 1)))  # cosine
    grip_m = float(axis @ (world.ee_position - world.item_position(cup)))
    return LYING_COSINE < lean < LEANING_COSINE or (
        lean >= LEANING_COSINE and grip_m < LOWEST_GRIP_M
    )


def _put_back(world: Tabletop, episode: Episode) -> NDArray[np.float64]:
    """The action (7,) that stands the held cup on the table, to be gripped anew."""
    cup = world.item_position(episode.target)[:2]
    others = [item.name for item in episode.scene.items if item.name != episode.target]
    spot = skills.free_spot(cup, [world.item_position(name)[:2] for name in others])
    return skills.set_down(world, episode.target, spot, CUP_HEIGHT_M / 2)


def _beads(episode: Episode) -> str:
    """The name of the beads that are in the target when the episode begins."""
    cup: Item = episode.scene.item(episode.target)
    return next(heap.name for heap in episode.scene.grains if heap.position == cup.position)
