"""TwoStage: two of the other tasks in one instruction, "open the drawer, then put ... into it".

`sim.tasks.staged` says what success is and how the expert goes about it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sim.kinematics import Kinematics
from sim.scene import Scene
from sim.tasks import base, push, put_in_drawer, skills
from sim.tasks.base import Episode, Stage, Task
from sim.tasks.close_drawer import CloseDrawer
from sim.tasks.open_drawer import OpenDrawer
from sim.tasks.pick_place import PickPlace
from sim.tasks.push import Push
from sim.tasks.put_in_drawer import PutInDrawer
from sim.tasks.stack import Stack
from sim.tasks.staged import StagedTask

CONNECTIVES = (", then ", " and then ", ", and after that ")


class TwoStage(StagedTask):
    """ "open the red drawer, then put the blue cube into the red drawer"."""

    name = "TwoStage"
    max_steps = 180

    def __init__(self) -> None:
        self._kinematics = Kinematics()
        parts = (CloseDrawer, OpenDrawer, PickPlace, Push, PutInDrawer, Stack)
        self._tasks: dict[str, Task] = {part.name: part() for part in parts}

    def sample(self, rng: np.random.Generator) -> Episode:
        draw = base.choose(rng, (_open_and_put, _put_and_close, _put_and_push, _stack_and_put))
        scene, stages = draw(rng)
        start = base.draw_start(rng, self._kinematics)
        first = stages[0]
        episode = Episode(
            scene,
            "",
            first.target,
            first.destination,
            first.direction,
            joint_positions=start,
            stages=stages,
        )
        return replace(episode, instruction=self.instruct(rng, episode))

    def instruct(self, rng: np.random.Generator, episode: Episode) -> str:
        first, second = (
            self._tasks[stage.task].instruct(rng, episode.at(stage)) for stage in episode.stages
        )
        return first + base.choose(rng, CONNECTIVES) + second

    def parts(self, episode: Episode) -> list[tuple[Task, Episode]]:
        return [(self._tasks[stage.task], episode.at(stage)) for stage in episode.stages]


Draw = tuple[Scene, tuple[Stage, Stage]]


def _open_and_put(rng: np.random.Generator) -> Draw:
    scene = put_in_drawer.draw_chest_and_items(rng, (0.0, 0.0))
    drawer = scene.furniture[0].name
    return scene, (Stage("OpenDrawer", drawer), Stage("PutInDrawer", scene.items[0].name, drawer))


def _put_and_close(rng: np.random.Generator) -> Draw:
    scene = put_in_drawer.draw_chest_and_items(rng, put_in_drawer.OPENING_M)
    drawer = scene.furniture[0].name
    return scene, (Stage("PutInDrawer", scene.items[0].name, drawer), Stage("CloseDrawer", drawer))


def _put_and_push(rng: np.random.Generator) -> Draw:
    direction = base.choose(rng, tuple(push.DIRECTIONS))

    def draw() -> Scene:
        shapes = tuple(base.choose(rng, ("cube", "cylinder")) for _ in range(2))
        scene = base.draw_scene(rng, shapes, 1, push.AREA)
        if not push.way_is_free(scene, scene.items[1].name, direction):
            raise base.CrowdedError
        return scene

    scene = base.draw_until_it_fits(draw)
    put, pushed, bowl = (item.name for item in scene.items)
    return scene, (Stage("PickPlace", put, bowl), Stage("Push", pushed, direction=direction))


def _stack_and_put(rng: np.random.Generator) -> Draw:
    def draw() -> Scene:
        shapes = tuple(base.choose(rng, ("cube", "cylinder")) for _ in range(3))
        scene = base.draw_scene(rng, shapes, bowls=1)
        offset = np.subtract(scene.items[1].position, scene.items[2].position)
        if np.all(np.abs(offset) < skills.PALM_REACH):  # grasping one it would press the stack
            raise base.CrowdedError
        return scene

    scene = base.draw_until_it_fits(draw)
    upper, lower, other, bowl = (item.name for item in scene.items)
    return scene, (Stage("Stack", upper, lower), Stage("PickPlace", other, bowl))
