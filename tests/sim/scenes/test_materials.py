"""Materials of scene files: what is wrong is named, what is right is in the compiled model."""

import copy
import re
from dataclasses import replace

import numpy as np
import pytest

from sim.compile import compile_scene
from sim.scene import SceneError, Surface
from sim.scenes import DescribedTask
from sim.scenes.parse import parse

MATERIALS = {
    "oak": {"rgb": [0.5, 0.4, 0.3], "pattern": "stripes", "repeat": 6, "reflectance": 0.1},
    "dice": {"pattern": "checker", "contrast": 0.6, "friction": 0.6, "density_kg_m3": 1000},
    "glazed": {"shininess": 0.9, "specular": 1.0},
}


@pytest.fixture
def furnished(content):
    """A file's content with materials that nothing is of yet."""
    return copy.deepcopy(content | {"materials": MATERIALS})


def sampled(content, seed=0):
    return DescribedTask(parse(content, "f")).sample(np.random.default_rng(seed)).scene


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"materials": []}, "materials: expected names and their fields, got []"),
        ({"materials": {}}, "materials: expected names and their fields, got {}"),
        ({"materials": {"Oak": {}}}, "materials: expected names in small letters, at most 31, got"),
        ({"materials": {3: {}}}, "materials: expected names in small letters, at most 31, got 3"),
        ({"materials": {"oak": 3}}, "materials.oak: expected fields, some of rgb, pattern"),
        ({"materials": {"oak": {"patern": 1}}}, "got 'patern'; do you mean pattern?"),
        (
            {"materials": {"oak": {"pattern": "chequer"}}},
            "materials.oak.pattern: expected one of plain, checker, stripes, noise, gradient, got "
            "'chequer'; do you mean checker?",
        ),
        (
            {"materials": {"oak": {"rgb": [0, 1, 2]}}},
            "materials.oak.rgb[2]: expected 0 to 1, got 2",
        ),
        (
            {"materials": {"oak": {"contrast": -1}}},
            "materials.oak.contrast: expected 0 to 1, got -1",
        ),
        ({"materials": {"oak": {"friction": 0}}}, "oak.friction: expected 0.01 to 3, got 0"),
        (
            {"materials": {"oak": {"friction": float("nan")}}},
            "oak.friction: expected a number, got",
        ),
        (
            {"materials": {"oak": {"density_kg_m3": 1}}},
            "density_kg_m3: expected 100 to 20000, got 1",
        ),
        (
            {"table_material": "dise"},
            "table_material: expected one of oak, dice, glazed, got 'dise'",
        ),
        ({"table_material": "dise"}, "do you mean dice?"),
        ({"table_material": 3}, "table_material: expected a material's name, got 3"),
        (
            {"table_material": "oak", "table_rgb": [0, 0, 0]},
            "table_rgb: not together with table_material, oak has rgb",
        ),
        ({"camera": {"fov_deg": 5}}, "camera.fov_deg: expected 20 to 120, got 5"),
    ],
)
def test_a_wrong_material_is_named_with_its_field(furnished, change, message):
    with pytest.raises(SceneError, match=re.escape(message)):
        parse(furnished | change, "f")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"material": "Dice"},
            "objects[0].material: expected one of oak, dice, glazed, got 'Dice'",
        ),
        ({"material": ["dice"]}, "objects[0].material: expected a material's name, got ['dice']"),
        (
            {"material": "oak"},
            "objects[0].material: oak has rgb, which only table can have (objects have the color "
            "that names them); got bowl",
        ),
        ({"friction": 9}, "objects[0].friction: expected 0.01 to 3, got 9"),
        ({"mass_kg": [0.2, 0.1]}, "objects[0].mass_kg: expected [low, high], got low 0.2 above"),
        ({"kind": "mat", "friction": 1.0}, "objects[0].friction: only cube, cylinder, ball, bowl"),
        ({"kind": "mat", "material": "dice"}, "objects[0].material: dice has friction, which only"),
        ({"kind": "drawer", "mass_kg": 1.0}, "objects[0].mass_kg: only cube, cylinder, ball, bowl"),
        (
            {"kind": "button", "material": "dice"},
            "dice has density_kg_m3, which only cube, cylinder",
        ),
    ],
)
def test_what_an_object_cannot_be_of_is_refused(furnished, change, message):
    furnished["objects"][0].update(change, name="thing")
    with pytest.raises(SceneError, match=re.escape(message)):
        parse(furnished, "f")


def test_without_any_materials_that_is_said(content):
    content["objects"][1]["material"] = "dice"
    message = "objects[1].material: expected one of `materials`, there are none; got 'dice'"
    with pytest.raises(SceneError, match=re.escape(message)):
        parse(content, "f")


def test_each_field_reaches_the_compiled_model(furnished):
    furnished |= {"table_material": "oak", "camera": {"fov_deg": 60}}
    furnished["objects"][0]["material"] = "glazed"
    furnished["objects"][1]["material"] = "dice"
    scene = sampled(furnished)
    assert scene.table_rgb == (0.5, 0.4, 0.3)
    *others, cube_surface = scene.surfaces
    assert others == [
        Surface("table", "stripes", 0.4, 6.0, reflectance=0.1),
        Surface("blue bowl", contrast=0.4, shininess=0.9, specular=1.0),
    ]
    weightless = replace(cube_surface, mass_kg=None)
    assert weightless == Surface("red cube", "checker", 0.6, friction=0.6)
    model = compile_scene(scene)
    assert model.camera("front").fovy[0] == 60.0
    np.testing.assert_allclose(model.geom("table").rgba, (0.5, 0.4, 0.3, 1.0), atol=1e-7)
    assert model.mat("table surface").reflectance[0] == pytest.approx(0.1)
    assert model.mat("blue bowl surface").specular[0] == 1.0
    cube = model.body("red cube")
    assert cube.mass[0] == pytest.approx(1000 * 0.044**3)
    assert model.geom_friction[cube.geomadr[0], 0] == 0.6
    assert model.mat(model.geom_matid[cube.geomadr[0]]).name == "red cube surface"


def test_what_an_object_says_itself_goes_before_its_material(furnished):
    own = {"material": "dice", "friction": 0.2, "mass_kg": [0.1, 0.3]}
    furnished["objects"][1].update(own)
    surfaces = [sampled(furnished, seed).surface("red cube") for seed in range(5)]
    assert {each.friction for each in surfaces} == {0.2}
    assert {each.pattern for each in surfaces} == {"checker"}
    masses = [each.mass_kg for each in surfaces]
    assert len(set(masses)) == 5 and all(0.1 <= mass <= 0.3 for mass in masses)


def test_a_density_goes_by_the_size_that_was_drawn(furnished):
    furnished["objects"][1] |= {"material": "dice", "size_m": [0.015, 0.03]}
    for seed in range(3):
        scene = sampled(furnished, seed)
        edge_m = 2 * scene.item("red cube").size_m
        assert scene.surface("red cube").mass_kg == pytest.approx(1000 * edge_m**3)


def test_a_file_without_any_says_and_draws_what_it_did(content, furnished):
    description = parse(content, "f")
    assert not {"materials", "table_material"} & set(description.plain)
    assert description.plain["table_rgb"] == [0.56, 0.48, 0.40]
    for index, spot in enumerate(({"x_m": [0.4, 0.5]}, {"x_m": [0.4, 0.6]})):
        content["objects"][index] |= spot
        furnished["objects"][index] |= spot
    furnished["objects"][1]["friction"] = 0.5
    usual, rough = sampled(content), sampled(furnished)
    assert usual.surfaces == () and len(rough.surfaces) == 1
    assert usual.items[0] == rough.items[0]  # what is above it in the list is drawn as before


def test_what_was_understood_says_the_same_when_read_again(furnished):
    furnished |= {"table_material": "oak"}
    furnished["objects"][1] |= {"material": "dice", "mass_kg": [0.1, 0.2]}
    description = parse(furnished, "f")
    assert "table_rgb" not in description.plain  # the material's
    assert parse(dict(description.plain), "f") == description
