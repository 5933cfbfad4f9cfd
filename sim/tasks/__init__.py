"""Language-conditioned tabletop tasks, one file each: scene, instruction, success, expert."""

from sim.tasks.base import Episode, Task
from sim.tasks.lift import Lift
from sim.tasks.pick_place import PickPlace
from sim.tasks.push import Push

TASKS: dict[str, type[Task]] = {"Lift": Lift, "PickPlace": PickPlace, "Push": Push}

__all__ = ["TASKS", "Episode", "Lift", "PickPlace", "Push", "Task"]
