"""Materials of a scene file: how they are read, and what they make of what was drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sim.scene import GLOSS, TABLE, Item, SceneError, Surface
from sim.scenes import fields
from sim.scenes.values import NAME, read_mapping
from sim.surfaces import volume_m3
from sim.yaml_file import expected_one_of, shortened

if TYPE_CHECKING:
    from sim.scenes.description import Description
    from sim.scenes.layout import Layout

Materials = Mapping[str, Mapping[str, Any]]  # name -> the values of `fields.MATERIAL`
OWN = ("friction", "mass_kg")  # that an object can say itself
LOOK = ("pattern", "contrast", "repeat", *GLOSS)


def read_materials(value: Any) -> Materials:
    """Of the whole section. Raises `SceneError` naming the field."""
    if not isinstance(value, dict) or not value:
        raise SceneError(f"materials: expected names and their fields, got {shortened(value)}")
    for name in value:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise SceneError(
                f"materials: expected names in small letters, at most 31, got {shortened(name)}"
            )
    return {
        name: read_mapping(f"materials.{name}.", each, fields.MATERIAL)
        for name, each in value.items()
    }


def check_material(path: str, name: str, kinds: tuple[str, ...], materials: Materials) -> None:
    """Raises `SceneError` if there is no such material, or not all kinds can be of it."""
    if not materials:
        raise SceneError(f"{path}: expected one of `materials`, there are none; got {name!r}")
    if name not in materials:
        raise SceneError(f"{path}: {expected_one_of(materials, name)}")
    for key, field in fields.MATERIAL.items():
        given = materials[name][key] != field.default
        if given and kinds != (TABLE,) and not set(kinds) <= set(field.kinds):
            raise SceneError(
                f"{path}: {name} has {key}, which only {', '.join(field.kinds)} can have "
                f"({field.about}); got {', '.join(kinds)}"
            )


def surfaces_of(description: Description, layout: Layout) -> tuple[Surface, ...]:
    """Of the table and of the drawn things, where the file says anything of them."""
    surfaces = []
    if description.table_material is not None:
        surfaces.append(_surface(TABLE, description.materials[description.table_material], {}))
    for name, thing in layout.things.items():
        drawn = layout.drawn[name]
        own: dict[str, float] = {key: drawn[key] for key in OWN if key in drawn}
        material = description.materials.get(drawn.get("material", ""), {})
        if isinstance(thing, Item) and material.get("density_kg_m3") is not None:
            own = {"mass_kg": material["density_kg_m3"] * volume_m3(thing)} | own
        if own or material:
            surfaces.append(_surface(thing.name, material, own))
    return tuple(surfaces)


def _surface(of: str, material: Mapping[str, Any], own: Mapping[str, float]) -> Surface:
    """What is its own goes before what is the material's."""
    values = {key: material[key] for key in (*LOOK, "friction") if material}
    return Surface(of, **values | dict(own))
