"""PressButton: press the button of the named color all the way down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim.kinematics import Kinematics
from sim.scene import BUTTON_HEIGHT_M, BUTTON_TRAVEL_M, COLORS, Button, Scene
from sim.tabletop import Tabletop
from sim.tasks import base
from sim.tasks.base import Episode, Task

PRESSED_M = 0.008  # of BUTTON_TRAVEL_M

PHRASES = (
    "press the {target}",
    "push the {target} down",
    "hit the {target}",
    "press down on the {target}",
)


class PressButton(Task):
    """ "press the red button"."""

    name = "PressButton"
    max_steps = 50

    def __init__(self) -> None:
        self._kinematics = Kinematics()

    def sample(self, rng: np.random.Generator) -> Episode:
        colors = rng.permutation(list(COLORS))[: 2 + int(rng.integers(0, 2))]
        shapes = ["button"] * len(colors)
        spots = base.draw_until_it_fits(lambda: base.draw_spots(rng, shapes))
        buttons = tuple(
            Button(str(color), (float(spot[0]), float(spot[1])))
            for color, spot in zip(colors, spots, strict=True)
        )
        start = base.draw_start(rng, self._kinematics)
        scene = Scene(items=(), furniture=buttons)
        episode = Episode(scene, "", buttons[0].name, joint_positions=start)
        return replace(episode, instruction=self.instruct(rng, episode))

    def instruct(self, rng: np.random.Generator, episode: Episode) -> str:
        return base.choose(rng, PHRASES).format(target=episode.target)

    def targets(self, episode: Episode) -> tuple[str, ...]:
        return tuple(fixture.name for fixture in episode.scene.furniture)

    def success(self, world: Tabletop, episode: Episode) -> bool:
        return world.travel(episode.target) > PRESSED_M and world.is_touched(episode.target)

    def goal_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        left = BUTTON_TRAVEL_M - world.travel(episode.target)
        return world.item_position(episode.target) - (0, 0, left)

    def expert(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        cap, tool = world.item_position(episode.target)[:2], world.ee_position
        distance = float(np.linalg.norm(cap - tool[:2]))
        height = base.funnel(distance, BUTTON_HEIGHT_M - BUTTON_TRAVEL_M)
        if world.gripper_opening > 0.2:  # open fingers would straddle the cap
            height = max(height, BUTTON_HEIGHT_M + 0.04)
        if tool[2] < height - 0.03:  # too low for where it is: rise before moving sideways
            return base.servo(world, np.array([*tool[:2], height]), base.CLOSED)
        return base.servo(world, np.array([*cap, height]), base.CLOSED)
