"""Language-conditioned tabletop tasks, one file each: scene, instruction, success, expert."""

from sim.tasks.base import Episode, Stage, Task
from sim.tasks.close_drawer import CloseDrawer
from sim.tasks.count import Count
from sim.tasks.lift import Lift
from sim.tasks.open_drawer import OpenDrawer
from sim.tasks.pick_place import PickPlace
from sim.tasks.place_relative import PlaceRelative
from sim.tasks.pour import Pour
from sim.tasks.press_button import PressButton
from sim.tasks.push import Push
from sim.tasks.put_in_drawer import PutInDrawer
from sim.tasks.sort import Sort
from sim.tasks.stack import Stack
from sim.tasks.sweep import Sweep
from sim.tasks.two_stage import TwoStage
from sim.tasks.unstack import Unstack

# What the shipped policy is trained on; its labelled views, its golden scenes and the demo.
CORE_TASKS: dict[str, type[Task]] = {task.name: task for task in (Lift, PickPlace, Push)}
_NEW_TASKS = (
    Stack,
    Unstack,
    PlaceRelative,
    Sort,
    Count,
    OpenDrawer,
    CloseDrawer,
    PressButton,
    Pour,
    Sweep,
    PutInDrawer,
    TwoStage,
)
TASKS: dict[str, type[Task]] = {**CORE_TASKS, **{task.name: task for task in _NEW_TASKS}}

__all__ = ["CORE_TASKS", "TASKS", "Episode", "Stage", "Task"]
