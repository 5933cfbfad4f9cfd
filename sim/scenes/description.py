"""A scene file as it was understood. Names in it are the file's; drawn objects have their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sim.randomization.domain import Range


@dataclass(frozen=True)
class Place:
    """Where an object is, seen from another one."""

    relation: str  # one of `fields.RELATIONS`
    other: str  # an object's name in the file
    distance_m: Range


@dataclass(frozen=True)
class Part:
    """One object; what is a range or a list is drawn for every episode."""

    path: str  # where it stands in the file: "objects[2]"
    name: str
    kinds: tuple[str, ...]
    colors: tuple[str, ...]
    x_m: Range
    y_m: Range
    place: Place | None
    values: Mapping[str, Any]  # its other fields; numbers, pairs, `Range`s, a material's name

    @property
    def is_fixed(self) -> bool:
        """Whether the file says where exactly it is."""
        return (
            self.place is None and self.x_m.low == self.x_m.high and self.y_m.low == self.y_m.high
        )


@dataclass(frozen=True)
class Goal:
    """One part of success."""

    path: str  # "success[0].on"
    predicate: str  # a key of `fields.PREDICATES`
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Description:
    """The whole file."""

    source: str  # its path
    parts: tuple[Part, ...]
    goals: tuple[Goal, ...]
    instructions: tuple[str, ...]
    max_steps: int | None
    look: Mapping[str, Any]  # of `sim.scene.Scene`: camera, light, table
    materials: Mapping[str, Mapping[str, Any]]  # name -> the values of `fields.MATERIAL`
    table_material: str | None
    plain: Mapping[str, Any]  # the file's content with every default filled in

    def part(self, name: str) -> Part:
        return next(part for part in self.parts if part.name == name)


def plain(value: Any) -> Any:
    """A value that was read as the file would have it."""
    if isinstance(value, Range):
        return value.low if value.low == value.high else [value.low, value.high]
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items() if each is not None}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    return value
