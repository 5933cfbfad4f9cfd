"""Scenes from files: a description of objects, where they are and what is to be done is a task."""

from collections.abc import Iterable
from typing import Any

from sim.scenes.fields import FILE_SUFFIXES
from sim.scenes.parse import read_description
from sim.scenes.task import DescribedTask
from sim.tasks import TASKS, Task


def is_scene_file(name: str) -> bool:
    """Whether a task's name is a scene file's path."""
    return str(name).endswith(FILE_SUFFIXES)


def find_task(name: str) -> Task:
    """The task of that name, or of a scene file. Raises `ValueError` with the choices."""
    if is_scene_file(name):
        return DescribedTask(read_description(name))
    if name not in TASKS:
        raise ValueError(
            f"task: expected one of {', '.join(TASKS)}, or a .yaml file of a scene; got {name!r}"
        )
    return TASKS[name]()


def descriptions(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What the scene files among `names` say, defaults filled in: results are kept with it."""
    return {name: dict(read_description(name).plain) for name in names if is_scene_file(name)}


__all__ = ["DescribedTask", "descriptions", "find_task", "is_scene_file", "read_description"]
