"""Several tasks in one instruction: success is that all parts are done in the end.

The expert does the first part that is not done, so that a part which comes undone is done again.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from sim.tabletop import Tabletop
from sim.tasks import skills
from sim.tasks.base import Episode, Task

HAND_REACH_M, HAND_CLEARANCE_M = 0.04, 0.06  # aside of a thing, above its centre


class StagedTask(Task):
    """A task made of parts that are tasks themselves."""

    swappable = False

    @abstractmethod
    def parts(self, episode: Episode) -> list[tuple[Task, Episode]]:
        """Each part, in order, and the episode as if it alone had been asked for."""

    def first_touches(self, world: Tabletop, episode: Episode) -> tuple[str, ...]:
        task, part = self.parts(episode)[0]
        return task.first_touches(world, part)

    def success(self, world: Tabletop, episode: Episode) -> bool:
        return all(task.success(world, part) for task, part in self.parts(episode))

    def target_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        task, part = self._now(world, episode)
        return task.target_position(world, part)

    def goal_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        task, part = self._now(world, episode)
        return task.goal_position(world, part)

    def distance_left(self, world: Tabletop, episode: Episode) -> float:
        """Of the part to do now, and a metre for every other that is not done."""
        parts = self.parts(episode)
        undone = sum(not task.success(world, part) for task, part in parts)
        task, now = self._now(world, episode)
        return task.distance_left(world, now) + max(0, undone - 1)

    def expert(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        task, now = self._now(world, episode)
        done = []  # what the parts before this one were about
        for _, part in self.parts(episode):
            if part == now:
                break
            done.append(part.target)
        around = any(_is_around(world, name) for name in done if name != now.target)
        if around and not world.is_held(now.target):
            return skills.withdraw(world)  # straight up, or it would undo what has been done
        return task.expert(world, now)

    def _now(self, world: Tabletop, episode: Episode) -> tuple[Task, Episode]:
        """The first part that is not done, or the last."""
        parts = self.parts(episode)
        return next((part for part in parts if not part[0].success(world, part[1])), parts[-1])


def _is_around(world: Tabletop, name: str) -> bool:
    """Whether the fingers are beside something, not yet above it."""
    offset = world.ee_position - world.item_position(name)
    return bool(np.linalg.norm(offset[:2]) < HAND_REACH_M and offset[2] < HAND_CLEARANCE_M)
