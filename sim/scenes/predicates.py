"""What a scene file's predicates are made of: each is one of the existing tasks, or is here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.scene import Mat
from sim.scenes.description import Description, Goal
from sim.scenes.fields import PREDICATES, SIDES
from sim.tabletop import Tabletop
from sim.tasks import base, checks, skills
from sim.tasks.base import Episode, Stage, Task
from sim.tasks.close_drawer import CloseDrawer
from sim.tasks.lift import Lift
from sim.tasks.open_drawer import OpenDrawer
from sim.tasks.pick_place import PickPlace
from sim.tasks.place_relative import PlaceRelative
from sim.tasks.pour import Pour
from sim.tasks.press_button import PressButton
from sim.tasks.push import Push
from sim.tasks.put_in_drawer import PutInDrawer
from sim.tasks.stack import Stack

WITHOUT_EXPERT = ("near",)
# The fields that name what a predicate is about, and where that belongs.
TARGETS = ("item", "name", "button", "cup")
DESTINATIONS = ("container", "below", "other")


class NoExpertError(ValueError):
    """Nobody has written how to achieve this; the message names what somebody has."""


class Part(Task):
    """A task that is only ever part of a described one: it neither draws nor words anything."""

    swappable = False

    def sample(self, rng: np.random.Generator) -> Episode:
        raise NotImplementedError("a part of a described task has no episodes of its own")

    def instruct(self, rng: np.random.Generator, episode: Episode) -> str:
        raise NotImplementedError("a part of a described task has no words of its own")

    def goal_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        assert episode.destination is not None
        return world.item_position(episode.destination)


class OnMat(Part):
    """An item stands on a mat, let go."""

    name = "OnMat"
    max_steps = 90

    def success(self, world: Tabletop, episode: Episode) -> bool:
        mat = world.scene.fixture(episode.destination or "")
        assert isinstance(mat, Mat)
        offset = world.item_position(episode.target)[:2] - mat.position
        return (
            bool(np.all(np.abs(offset) < mat.half_size))
            and checks.stands_on_table(world, episode.target)
            and checks.let_go(world, episode.target)
        )

    def goal_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        mat = world.scene.fixture(episode.destination or "")
        return np.array([*mat.position, world.scene.item(episode.target).size_m])

    def expert(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        if world.is_held(episode.target):
            goal = self.goal_position(world, episode)
            return skills.set_down(world, episode.target, goal[:2], goal[2])
        if self.success(world, episode):
            return skills.withdraw(world)
        return base.grasp(world, episode.target)


class Near(Part):
    """An item rests near something, let go, wherever around it."""

    name = "Near"
    max_steps = 90

    def __init__(self, goal: Goal) -> None:
        self._path = goal.path
        self._distance_m = goal.values["distance_m"]

    def success(self, world: Tabletop, episode: Episode) -> bool:
        offset = world.item_position(episode.target) - self.goal_position(world, episode)
        near = bool(np.linalg.norm(offset[:2]) < self._distance_m)
        return near and checks.let_go(world, episode.target)

    def expert(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        known = [name for name in PREDICATES if name not in WITHOUT_EXPERT]
        raise NoExpertError(
            f"{self._path}: this predicate has no expert; those that have: {', '.join(known)}"
        )


def task_of(goal: Goal, description: Description) -> Task:
    """What judges a goal and knows how to achieve it."""
    values = goal.values
    match goal.predicate:
        case "lifted":
            return Lift(values["height_m"])
        case "inside":
            in_drawer = "drawer" in description.part(values["container"]).kinds
            return PutInDrawer() if in_drawer else PickPlace()
        case "on":
            return OnMat() if "mat" in description.part(values["below"]).kinds else Stack()
        case "moved":
            return Push(values["distance_m"], values["aside_m"])
        case "drawer":
            return OpenDrawer() if values["open"] else CloseDrawer()
        case "pressed":
            return PressButton()
        case "poured":
            return Pour()
        case "near":
            return Near(goal)
    span = values["distance_m"]  # one of `SIDES`
    return PlaceRelative((span.low + span.high) / 2, (span.low, span.high), values["aside_m"])


def stage_of(goal: Goal, task: Task, names: dict[str, str]) -> Stage:
    """A goal in a drawn scene, in which things have these names."""
    named = {key: names[value] for key, value in goal.values.items() if value in names}
    return Stage(
        task.name,
        target=next(named[key] for key in TARGETS if key in named),
        destination=next((named[key] for key in DESTINATIONS if key in named), None),
        direction=SIDES.get(goal.predicate, goal.values.get("direction")),
    )
