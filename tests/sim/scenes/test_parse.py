"""What a wrong file is told, and that a right one is understood."""

import re
from pathlib import Path

import pytest
import yaml

from sim.randomization.domain import Range
from sim.scene import SceneError
from sim.scenes import read_description
from sim.scenes.fields import COLORS, OBJECT, PREDICATES
from sim.scenes.parse import parse

EXAMPLES = sorted(Path(__file__).resolve().parents[3].glob("config/scenes/*.yaml"))


def put(content, path, value):
    """Set what stands at a path like ("objects", 1, "color"); None removes it."""
    *way, last = path
    for step in way:
        content = content[step]
    if value is None:
        del content[last]
    else:
        content[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("objects", 1, "color"), "pink", "objects[1].color: expected one of red, green, blue"),
        (("objects", 1, "color"), "gren", "got 'gren'; do you mean green?"),
        (("objects", 1, "color"), [], "objects[1].color: expected a list of 1 to 40, got []"),
        (("objects", 1, "color"), None, "objects[1].color: required"),
        (("objects", 1, "kind"), ["cube", "drawer"], "objects[1].kind: expected kinds of one sort"),
        (("objects", 1, "kind"), ["cube", "ball"], "objects[1].name: required where kind or color"),
        (("objects", 1, "colour"), "red", "objects[1]: unknown field, expected one of kind, color"),
        (("objects", 1, "colour"), "red", "got 'colour'; do you mean color?"),
        (("objects", 1, "x_m"), 3, "objects[1].x_m: expected -0.2 to 1.1, got 3"),
        (("objects", 1, "x_m"), [0.5, 0.4], "objects[1].x_m: expected [low, high], got low 0.5"),
        (("objects", 1, "x_m"), "far", "objects[1].x_m: expected a number or [low, high], got"),
        (("objects", 1, "x_m"), True, "objects[1].x_m: expected a number or [low, high], got True"),
        (("objects", 1, "x_m"), float("nan"), "objects[1].x_m: expected a number or [low, high]"),
        (("objects", 1, "opening_m"), 0.1, "objects[1].opening_m: only drawer have it, got cube"),
        (("objects", 1, "name"), "Big", "objects[1].name: expected a word in small letters"),
        (("objects", 1, "name"), "blue bowl", "objects[1].name: expected each once"),
        (("objects", 1, "place"), {"on": "blue bowl"}, "objects[1].x_m: not together with place"),
        (("objects", 1), "cube", "objects[1]: expected fields, some of kind, color, name"),
        (("objects",), {}, "objects: expected a list of 1 to 40, got {}"),
        (("objects",), None, "objects: required"),
        (("success",), [], "success: expected a list of 1 to 40, got []"),
        (("success", 0), {"eaten": {}}, "success[0]: expected one of lifted, inside, on, left_of"),
        (("success", 0), "lifted", "success[0]: expected one of lifted, inside"),
        (("success", 0, "inside", "item"), "cube", "success[0].inside.item: expected one of blue"),
        (("success", 0, "inside", "item"), 3, "success[0].inside.item: expected an object's name"),
        (
            ("success", 0, "inside", "container"),
            "red cube",
            "success[0].inside.container: expected a bowl or drawer, got 'red cube', a cube",
        ),
        (("success", 0, "inside", "container"), None, "success[0].inside.container: required"),
        (("success", 0, "inside", "item"), "blue bowl", "expected a cube or cylinder or ball, got"),
        (("instruction",), "take the {cub}", "instruction[0]: {cub}: expected one of blue bowl"),
        (("instruction",), "nimm den Würfel", "instruction[0]: expected letters, digits and"),
        (("instruction",), "a" * 201, "instruction[0]: expected at most 200 letters, got 201"),
        (("instruction",), "take {it", "instruction[0]: expected letters, digits and"),
        (("instruction",), ["do it", " "], "instruction[1]: expected some words, got none"),
        (("instruction",), None, "instruction: required, one wording"),
        (("max_steps",), 0, "max_steps: expected 1 to 1000, got 0"),
        (("max_steps",), 1.5, "max_steps: expected a whole number, got 1.5"),
        (("camera",), {"position_m": [0, 0]}, "camera.position_m: expected 3 numbers in a list"),
        (("camera",), {"position_m": [0, 0, 9]}, "camera.position_m[2]: expected -0.5 to 0.5"),
        (("camera",), {"zoom": 2}, "camera: unknown field, expected one of position_m"),
        (("light",), {"direction": [0, 0, 0]}, "light.direction: expected a direction, got zeros"),
        (("light",), {"shadows": "no"}, "light.shadows: expected true or false, got 'no'"),
        (("table_rgb",), [1, 2, 0], "table_rgb[1]: expected 0 to 1, got 2"),
        (("about",), 3, "about: expected text, got 3"),
        (("robot",), "spot", "file: unknown field, expected one of about, instruction, objects"),
    ],
)
def test_a_wrong_value_is_named_with_its_field(content, path, value, message):
    put(content, path, value)
    with pytest.raises(SceneError, match=re.escape(message)):
        parse(content, "file")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({}, "place: expected just one of left_of, right_of, front_of, behind, near, on, inside"),
        ({"near": "a", "on": "a"}, "place: expected just one of"),
        ({"near": "b"}, "objects[1].place.near: expected one of a, got 'b'"),
        ({"over": "a"}, "objects[1].place: unknown field, expected one of left_of"),
        ({"on": "a"}, "place.on: expected a cube or cylinder or mat, got 'a', a bowl"),
        ({"inside": "a", "distance_m": 0.1}, "place.distance_m: not together with inside"),
        ({"near": "a", "distance_m": -1}, "objects[1].place.distance_m: expected 0 to 0.5, got -1"),
        (3, "objects[1].place: expected fields, some of left_of"),
    ],
)
def test_a_wrong_relation_is_named(described, place, message):
    objects = [{"kind": "bowl", "color": "blue", "name": "a"}]
    objects.append({"kind": "cube", "color": "red", "name": "b", "place": place})
    with pytest.raises(SceneError, match=re.escape(message)):
        described(objects)


def test_only_beads_fit_into_a_cup(described):
    objects = [{"kind": "cup", "color": "blue"}]
    objects.append({"kind": "cube", "color": "red", "place": {"inside": "blue cup"}})
    with pytest.raises(SceneError, match="place.inside: only beads fit into a cup, got cube"):
        described(objects)


def test_only_a_full_cup_is_poured(described):
    objects = [{"kind": "cup", "color": "red"}, {"kind": "bowl", "color": "blue"}]
    success = [{"poured": {"cup": "red cup", "container": "blue bowl"}}]
    with pytest.raises(SceneError, match=r"success\[0\].poured.cup: expected a cup with beads"):
        described(objects, success)


def test_the_first_object_cannot_be_placed_by_another(described):
    with pytest.raises(SceneError, match="expected an object above it, there is none"):
        described([{"kind": "cube", "color": "red", "place": {"near": "blue bowl"}}])


def test_what_is_lifted_comes_last(content):
    content["success"].insert(0, {"lifted": {"item": "red cube"}})
    with pytest.raises(SceneError, match=r"success\[0\].lifted: it must be the last"):
        parse(content, "file")


def test_a_file_that_cannot_be_read_or_says_a_thing_twice(tmp_path):
    with pytest.raises(SceneError, match="scene: cannot read .*none.yaml: No such file"):
        read_description(tmp_path / "none.yaml")
    file = tmp_path / "scene.yaml"
    for text, message in (
        ("a: [", "not YAML"),
        ("about: x\nabout: y", "the key 'about' stands twice"),
        ("!!python/object/apply:os.system [ls]", "not YAML"),
        ("just words", "file: expected fields, some of about, instruction"),
        ("", "file: expected fields"),
        ("about: &a [*a]", "about: expected text"),
    ):
        file.write_text(text)
        with pytest.raises(SceneError, match=f"scene.yaml: .*{message}"):
            read_description(file)


def test_aliases_in_aliases_do_not_fill_the_memory(tmp_path):
    lines = ["a0: &a0 [x, x]"] + [
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)
    ]
    (tmp_path / "bomb.yaml").write_text("\n".join([*lines, "about: *a29"]))
    with pytest.raises(SceneError, match="unknown field"):
        read_description(tmp_path / "bomb.yaml")
    (tmp_path / "bomb.yaml").write_text(
        "about:\n  " + "\n  ".join(f"- {line.split(': ', 1)[1]}" for line in lines)
    )
    with pytest.raises(SceneError, match="about: expected text, got") as caught:
        read_description(tmp_path / "bomb.yaml")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_what_was_understood_says_the_same_when_read_again(file):
    description = read_description(file)
    text = yaml.safe_dump(dict(description.plain), sort_keys=False)
    assert parse(yaml.safe_load(text), str(file)) == description


def test_defaults_are_filled_in_and_json_is_yaml(content, tmp_path):
    import json

    (tmp_path / "scene.json").write_text(json.dumps(content))
    description = read_description(tmp_path / "scene.json")
    assert [part.name for part in description.parts] == ["blue bowl", "red cube"]
    assert description.parts[1].values == {"yaw_deg": Range(0, 0), "size_m": Range(0.022, 0.022)}
    assert description.parts[1].is_fixed
    assert description.look["table_rgb"] == (0.56, 0.48, 0.40)
    assert description.instructions == ("put the {red cube} into the {blue bowl}",)


def test_beside_a_bowl_there_is_more_room(described):
    def distance(kind):
        objects = [{"kind": kind, "color": "blue", "name": "other"}]
        objects.append({"kind": "cube", "color": "red"})
        success = [{"left_of": {"item": "red cube", "other": "other"}}]
        return described(objects, success).goals[0].values["distance_m"]

    assert distance("cylinder") == Range(0.05, 0.16)
    assert distance("bowl") == Range(0.10, 0.20)


def test_tables_are_whole():
    assert OBJECT["color"].choices == tuple(COLORS)
    assert len(PREDICATES) >= 9
