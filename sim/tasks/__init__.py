"""Language-conditioned tabletop tasks, one file each: scene, instruction, success, expert."""

from sim.tasks.base import Episode, Task
from sim.tasks.lift import Lift
from sim.tasks.pick_place import PickPlace
from sim.tasks.push import Push

# What the shipped policy is trained on; its labelled views, its golden scenes and the demo.
CORE_TASKS: dict[str, type[Task]] = {"Lift": Lift, "PickPlace": PickPlace, "Push": Push}
TASKS: dict[str, type[Task]] = {**CORE_TASKS}

__all__ = ["CORE_TASKS", "TASKS", "Episode", "Lift", "PickPlace", "Push", "Task"]
