"""A scene file as a task: draws its episodes, judges them, and knows how to act where it can."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim.kinematics import Kinematics
from sim.scene import SceneError
from sim.scenes.description import Description
from sim.scenes.layout import (
    Layout,
    Misfit,
    check_overlaps,
    check_room,
    draw_layout,
    names_in,
    to_scene,
)
from sim.scenes.parse import PLACEHOLDER
from sim.scenes.predicates import WITHOUT_EXPERT, OnMat, stage_of, task_of
from sim.scenes.reach import check_reach
from sim.tabletop import Tabletop
from sim.tasks import base
from sim.tasks.base import Episode, Task
from sim.tasks.place_relative import PlaceRelative
from sim.tasks.push import Push, way_is_free
from sim.tasks.staged import StagedTask

ATTEMPTS = 50  # of a layout, before the file is refused
LOWEST_TOOL_M = 0.016  # as in `sim.tasks.base.grasp`


class DescribedTask(StagedTask):
    """What a scene file describes. Its name is the file's path."""

    def __init__(self, description: Description) -> None:
        self.description = description
        self.name = description.source
        self._kinematics = Kinematics()
        self._tasks = [task_of(goal, description) for goal in description.goals]
        self.max_steps = description.max_steps or sum(task.max_steps for task in self._tasks)

    def sample(self, rng: np.random.Generator) -> Episode:
        """Draw an episode. Raises `SceneError` with the reason when none fits."""
        why = ""
        before = None
        for _ in range(ATTEMPTS):
            try:
                layout = draw_layout(self.description, rng)
                if layout.things == before:  # nothing varies that could mend it
                    break
                before = layout.things
                return self._begin(layout, rng)
            except Misfit as misfit:
                why = str(misfit)
        raise SceneError(f"{self.name}: {why}")

    def instruct(self, rng: np.random.Generator, episode: Episode) -> str:
        names = names_in(self.description, episode.scene)
        words = base.choose(rng, self.description.instructions)
        return PLACEHOLDER.sub(lambda match: names[match[1]], words)

    def parts(self, episode: Episode) -> list[tuple[Task, Episode]]:
        return [
            (task, episode.at(stage))
            for task, stage in zip(self._tasks, episode.stages, strict=True)
        ]

    def _begin(self, layout: Layout, rng: np.random.Generator) -> Episode:
        """The episode of a layout. Raises `Misfit`."""
        scene = to_scene(self.description, layout)
        names = names_in(self.description, scene)
        stages = tuple(
            stage_of(goal, task, names)
            for goal, task in zip(self.description.goals, self._tasks, strict=True)
        )
        first = stages[0]
        episode = Episode(
            scene, "", first.target, first.destination, first.direction, stages=stages
        )
        self._check(layout, Tabletop(scene), episode, names)
        start = base.draw_start(rng, self._kinematics)
        return replace(episode, joint_positions=start, instruction=self.instruct(rng, episode))

    def _check(
        self, layout: Layout, world: Tabletop, episode: Episode, names: dict[str, str]
    ) -> None:
        """Raises `Misfit` where something overlaps, is out of reach, or is done already."""
        check_overlaps(layout, world)
        if self.success(world, episode):
            raise Misfit("success: it is done before anything has happened")
        own = {name: key for key, name in names.items()}
        for task, part in self.parts(episode):
            target = own[part.target]
            if isinstance(task, Push):
                assert part.direction is not None
                if not way_is_free(part.scene, part.target, part.direction):
                    raise Misfit(f"{layout.called(target)}: its way is not free")
            if isinstance(task, OnMat | PlaceRelative | Push):
                besides = () if part.destination is None else (own[part.destination],)
                check_room(layout, target, task.goal_position(world, part)[:2], besides)
        for words, name, position in self.places(world, episode):
            check_reach(self._kinematics, words + layout.called(own[name]), position)

    def places(
        self, world: Tabletop, episode: Episode
    ) -> Iterator[tuple[str, str, NDArray[np.float64]]]:
        """Where the tool has to get: words, the name of what is handled, position (3,) [m]."""
        for task, part in self.parts(episode):
            for position in _heights(task.target_position(world, part)):
                yield "", part.target, position
            for position in _heights(task.goal_position(world, part)):
                yield "the goal of ", part.target, position

    @property
    def without_expert(self) -> list[str]:
        """The goals' paths for which nobody has written an expert."""
        return [goal.path for goal in self.description.goals if goal.predicate in WITHOUT_EXPERT]


def _heights(position: NDArray) -> list[NDArray[np.float64]]:
    """Of the tool at a place (3,) [m]: where it grasps or lets go, and where it arrives."""
    low = max(LOWEST_TOOL_M, float(position[2]))
    return [np.array([*position[:2], height]) for height in (low, max(low, base.TRAVEL_HEIGHT_M))]
