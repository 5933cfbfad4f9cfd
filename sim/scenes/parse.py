"""From a scene file to a `Description`. An error names the field: `objects[2].color: expected ...`.

What single values may be is in `sim.scenes.fields`, how they are read in `sim.scenes.values`; here
is how they fit together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policies.spaces import CHARACTERS, MAX_LENGTH
from sim.randomization.domain import Range
from sim.scene import TABLE, CameraOffset, SceneError
from sim.scenes import fields
from sim.scenes.description import Description, Goal, Part, Place, plain
from sim.scenes.fields import Field
from sim.scenes.materials import Materials, check_material, read_materials
from sim.scenes.values import keyed, read_mapping
from sim.yaml_file import YamlError, expected_one_of, read_yaml, shortened

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
LONGEST_NAME = "purple cylinder"  # that can stand for a placeholder


def read_description(path: str | Path) -> Description:
    """The description in a YAML or JSON file. Raises `SceneError` naming file and field."""
    try:
        return parse(read_yaml(Path(path), "scene"), str(path))
    except YamlError as error:
        raise SceneError(str(error)) from error
    except SceneError as error:
        raise SceneError(f"{path}: {error}") from error


def parse(content: Any, source: str) -> Description:
    """The description of a file's content. Raises `SceneError` naming the field."""
    values = read_mapping("", content, fields.FILE)
    camera = read_mapping("camera.", values["camera"], fields.CAMERA)
    light = read_mapping("light.", values["light"], fields.LIGHT)
    if not any(light["direction"]):
        raise SceneError("light.direction: expected a direction, got zeros")
    materials = {} if values["materials"] is None else read_materials(values["materials"])
    if values["table_material"] is not None:
        _check_table(values["table_material"], "table_rgb" in keyed(content), materials)
    table_rgb = materials.get(values["table_material"], {}).get("rgb")
    parts: list[Part] = []
    for index, each in enumerate(values["objects"]):
        parts.append(_part(f"objects[{index}]", each, parts, materials))
    known = {part.name: part for part in parts}
    goals = tuple(
        _goal(f"success[{index}]", each, known) for index, each in enumerate(values["success"])
    )
    _check_order(goals)
    for index, words in enumerate(values["instruction"]):
        _check_instruction(f"instruction[{index}]", words, known)
    return Description(
        source=source,
        parts=tuple(parts),
        goals=goals,
        instructions=values["instruction"],
        max_steps=values["max_steps"],
        look={
            "camera_offset": CameraOffset(camera["position_m"], camera["rotation_deg"]),
            "light_direction": light["direction"],
            "light_brightness": light["brightness"],
            "shadows": light["shadows"],
            "table_rgb": table_rgb or values["table_rgb"],
            "front_fov_deg": camera["fov_deg"],
        },
        materials=materials,
        table_material=values["table_material"],
        plain=plain(
            values
            | {"camera": camera, "light": light, "materials": materials or None}
            | ({"table_rgb": None} if table_rgb else {})
            | {"objects": [_plain_part(part) for part in parts]}
            | {"success": [{goal.predicate: goal.values} for goal in goals]}
        ),
    )


def _check_table(name: str, has_rgb: bool, materials: Materials) -> None:
    check_material("table_material", name, (TABLE,), materials)
    if has_rgb and materials[name]["rgb"] is not None:
        raise SceneError(f"table_rgb: not together with table_material, {name} has rgb")


def _part(path: str, value: Any, before: list[Part], materials: Materials) -> Part:
    given = read_mapping(f"{path}.", value, fields.OBJECT)
    kinds, colors = given.pop("kind"), given.pop("color")
    for group in (fields.SHAPES, fields.FIXTURES, fields.GRAINS):
        if 0 < len(set(kinds) & set(group)) < len(set(kinds)):
            raise SceneError(
                f"{path}.kind: expected kinds of one sort, some of {', '.join(group)}; "
                f"got {', '.join(kinds)}"
            )
    for name, field in fields.OBJECT.items():
        if set(kinds) <= set(field.kinds):
            continue
        if isinstance(value, Mapping) and name in value:
            raise SceneError(
                f"{path}.{name}: only {', '.join(field.kinds)} have it, got {', '.join(kinds)}"
            )
        given.pop(name, None)
    name, place = given.pop("name"), given.pop("place")
    if name is None:
        if len(kinds) > 1 or len(colors) > 1:
            raise SceneError(f"{path}.name: required where kind or color is drawn from a list")
        name = f"{colors[0]} {kinds[0]}"
    if name in (part.name for part in before):
        raise SceneError(f"{path}.name: expected each once, got {name!r} again; give it a name")
    if place is not None:
        for taken in ("x_m", "y_m"):
            if taken in value:
                raise SceneError(f"{path}.{taken}: not together with place")
        place = _place(f"{path}.place", place, kinds, {part.name: part for part in before})
    x_m, y_m = given.pop("x_m"), given.pop("y_m")
    given = {key: each for key, each in given.items() if each is not None}
    if "material" in given:
        check_material(f"{path}.material", given["material"], kinds, materials)
    return Part(path, name, kinds, colors, x_m, y_m, place, given)


def _place(path: str, value: Any, kinds: tuple[str, ...], before: Mapping[str, Part]) -> Place:
    given = read_mapping(f"{path}.", value, fields.PLACE)
    relations = [name for name in fields.RELATIONS if given[name] is not None]
    if len(relations) != 1:
        choices = ", ".join(fields.RELATIONS)
        raise SceneError(f"{path}: expected just one of {choices}; got {len(relations)} of them")
    relation = relations[0]
    other = given[relation]
    _check_reference(f"{path}.{relation}", other, fields.PLACE[relation], before, " above it")
    if relation in ("on", "inside"):
        if "distance_m" in value:
            raise SceneError(f"{path}.distance_m: not together with {relation}")
        movable = (*fields.CARRIED, *fields.GRAINS)
        if not set(kinds) <= set(movable):
            raise SceneError(
                f"{path}.{relation}: only {', '.join(movable)} can be there, got {', '.join(kinds)}"
            )
        if "cup" in before[other].kinds and not set(kinds) <= {"beads"}:
            raise SceneError(f"{path}.inside: only beads fit into a cup, got {', '.join(kinds)}")
    return Place(relation, other, given["distance_m"])


def _plain_part(part: Part) -> dict[str, Any]:
    place = part.place
    spot: dict[str, Any] = {"x_m": part.x_m, "y_m": part.y_m}
    if place is not None:
        spot = {"place": {place.relation: place.other}}
        if place.relation not in ("on", "inside"):
            spot["place"]["distance_m"] = place.distance_m
    return {"kind": part.kinds, "color": part.colors, "name": part.name} | spot | dict(part.values)


def _goal(path: str, value: Any, known: Mapping[str, Part]) -> Goal:
    value = keyed(value)
    if not isinstance(value, dict) or len(value) != 1:
        choices = ", ".join(fields.PREDICATES)
        raise SceneError(
            f"{path}: expected one of {choices} and its fields, got {shortened(value)}"
        )
    ((predicate, given),) = value.items()
    if predicate not in fields.PREDICATES:
        raise SceneError(f"{path}: {expected_one_of(fields.PREDICATES, predicate)}")
    table = fields.PREDICATES[predicate]
    path = f"{path}.{predicate}"
    values = read_mapping(f"{path}.", given, table)
    named = []
    for name, field in table.items():
        if field.type == "object":
            _check_reference(f"{path}.{name}", values[name], field, known)
            named.append(values[name])
    if len(set(named)) < len(named):
        raise SceneError(f"{path}: expected two objects, got {named[0]!r} twice")
    if predicate == "poured":
        _check_filled(f"{path}.cup", values["cup"], known)
    if predicate in fields.SIDES and values["distance_m"] is None:
        is_bowl = "bowl" in known[values["other"]].kinds
        values["distance_m"] = Range(0.10, 0.20) if is_bowl else Range(0.05, 0.16)
    return Goal(path, predicate, values)


def _check_order(goals: tuple[Goal, ...]) -> None:
    for goal in goals[:-1]:
        if goal.predicate == "lifted":
            raise SceneError(f"{goal.path}: it must be the last; what follows needs the hand free")


def _check_filled(path: str, cup: str, known: Mapping[str, Part]) -> None:
    places = [part.place for part in known.values() if "beads" in part.kinds]
    if not any(place and place.other == cup for place in places):
        raise SceneError(f"{path}: expected a cup with beads, none have `place: {{inside: {cup}}}`")


def _check_reference(
    path: str, name: str, field: Field, known: Mapping[str, Part], where: str = ""
) -> None:
    if name not in known:
        if not known:
            raise SceneError(f"{path}: expected an object{where}, there is none; got {name!r}")
        raise SceneError(f"{path}: {expected_one_of(known, name)}")
    if not set(known[name].kinds) <= set(field.kinds):
        raise SceneError(
            f"{path}: expected a {' or '.join(field.kinds)}, "
            f"got {name!r}, a {' or '.join(known[name].kinds)}"
        )


def _check_instruction(path: str, words: str, known: Mapping[str, Part]) -> None:
    for name in PLACEHOLDER.findall(words):
        if name not in known:
            raise SceneError(f"{path}: {{{name}}}: {expected_one_of(known, name)}")
    filled = PLACEHOLDER.sub(LONGEST_NAME, words)
    wrong = sorted(set(filled) - set(CHARACTERS))
    if wrong:
        raise SceneError(
            f"{path}: expected letters, digits and ,.'-?! only, got {' '.join(wrong)} in {words!r}"
        )
    if len(filled) > MAX_LENGTH:
        raise SceneError(f"{path}: expected at most {MAX_LENGTH} letters, got {len(filled)}")
