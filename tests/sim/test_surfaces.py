"""What a scene says of surfaces is in the compiled model, in its physics and in its pictures."""

import mujoco
import numpy as np
import pytest

from sim.compile import compile_scene
from sim.scene import (
    CUP_HEIGHT_M,
    CUP_RADIUS_M,
    Button,
    Drawer,
    Grains,
    Item,
    Mat,
    Scene,
    SceneError,
    Surface,
)
from sim.surfaces import volume_m3
from sim.tabletop import Tabletop

CUBE = Item("cube", "red", (0.5, 0.0))


def scene(*surfaces, **more):
    return Scene((CUBE,), surfaces=surfaces, **more)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: Surface("table", "dots"),
            "pattern: expected one of plain, checker, .* got 'dots'",
        ),
        (lambda: Surface("table", contrast=1.5), "contrast: expected 0 to 1, got 1.5"),
        (lambda: Surface("table", friction=np.nan), "friction: expected 0.01 to 3, got nan"),
        (lambda: Surface("red cube", mass_kg=0.0), "mass_kg: expected 0.0001 to 10, got 0"),
        (lambda: scene(Surface("red ball")), "surfaces: expected one of table, red cube, got"),
        (lambda: scene(Surface("table"), Surface("table")), "one of each thing, got 'table' twice"),
        (lambda: scene(Surface("table", mass_kg=1.0)), "mass_kg: only items have it, got 'table'"),
        (lambda: scene(front_fov_deg=0.0), "front_fov_deg: expected 0 to 180, got 0"),
    ],
)
def test_surfaces_are_validated(build, message):
    with pytest.raises(SceneError, match=message):
        build()


def test_a_scene_that_says_nothing_of_surfaces_is_as_it_was():
    assert "surfaces" not in repr(scene()) and "fov" not in repr(scene())  # the stand-in's noise
    assert scene().surface("table") == Surface("table")
    usual, told = compile_scene(scene()), compile_scene(scene(Surface("red cube")))
    assert usual.nmat == told.nmat == 0
    for name in ("geom_friction", "geom_priority", "geom_condim", "geom_solref", "body_mass"):
        np.testing.assert_array_equal(getattr(usual, name), getattr(told, name))
    assert usual.camera("front").fovy[0] == 41.0


def test_what_has_the_color_is_painted_and_all_of_it_has_the_friction():
    things = Scene(
        (Item("brush", "green", (0.5, 0.2)),),
        furniture=(Drawer("red", (0.4, 0.0)), Button("blue", (0.6, -0.2)), Mat("red", (0.6, 0.1))),
        grains=(Grains("beads", "yellow", (0.6, 0.25), 3),),
    )
    names = things.names
    surfaces = [Surface(name, "checker", 0.5, friction=0.25) for name in names[:-2] + names[-1:]]
    model = compile_scene(
        Scene(things.items, furniture=things.furniture, grains=things.grains,
              surfaces=(*surfaces, Surface("red mat", "stripes", 0.5)))
    )  # fmt: skip
    for geom in range(model.ngeom):
        body = model.body(model.geom_bodyid[geom]).name
        name = next((name for name in names if body == name or body.startswith(f"{name} ")), None)
        material = model.geom_matid[geom]
        if name is None:
            assert material == -1 and model.geom_friction[geom, 0] != 0.25
            continue
        assert (model.geom_friction[geom, 0] == 0.25) == (name != "red mat")
        has_color = np.ptp(model.geom_rgba[geom, :3]) > 0.4  # wood and black have less
        assert (material >= 0) == has_color
        assert material == -1 or model.mat(material).name == f"{name} surface"


def test_gloss_and_a_repeated_pattern_reach_the_material():
    gloss = {"shininess": 0.9, "specular": 0.8, "reflectance": 0.25}
    told = scene(Surface("table", "stripes", 0.5, 6.0, **gloss), Surface("red cube", "checker", 1))
    model = compile_scene(told)
    table = model.mat("table surface")
    assert model.geom_matid[model.geom("table").id] == table.id
    assert list(table.texrepeat) == [6.0, 6.0]
    for name, value in gloss.items():
        assert getattr(table, name)[0] == pytest.approx(value)
    sides = model.tex_data[int(model.tex("red cube surface").adr[0]) :].reshape(6, 64, 64, 3)
    assert set(np.unique(sides)) == {0, 255}
    np.testing.assert_array_equal(sides, np.broadcast_to(sides[0], sides.shape))


def test_grey_stays_grey_under_a_gloss():
    """MuJoCo takes a material's color where a geom's is its own default, half grey."""
    model = compile_scene(scene(Surface("table", shininess=0.9), table_rgb=(0.5, 0.5, 0.5)))
    np.testing.assert_allclose(model.mat("table surface").rgba, (0.5, 0.5, 0.5, 1.0))


@pytest.mark.parametrize(
    ("surfaces", "slides"),
    [
        ((), False),  # the rougher of 0.9 and 0.8
        ((Surface("red cube", friction=0.3),), True),
        ((Surface("table", friction=0.3),), True),
        ((Surface("red cube", friction=0.7), Surface("table", friction=0.3)), False),
        ((Surface("red cube", friction=0.3), Surface("table", friction=0.7)), True),
    ],
)
def test_a_slope_of_one_half_holds_what_is_rougher_than_that(surfaces, slides):
    world = Tabletop(scene(*surfaces))
    world.model.opt.gravity[:] = 9.81 / np.hypot(1.0, 0.5) * np.array([0.0, 0.5, -1.0])
    world.advance(0.3)
    moved_m = world.item_position("red cube")[1] - CUBE.position[1]
    if slides:  # g cos (0.5 - 0.3) t^2 / 2
        assert moved_m == pytest.approx(9.81 / np.hypot(1, 0.5) * 0.2 * 0.3**2 / 2, rel=0.15)
    else:
        assert abs(moved_m) < 0.003


def test_friction_holds_between_the_fingers_too():
    held = Item("cube", "red", (0.5, 0.0), elevation_m=0.1)
    model = compile_scene(Scene((held,), surfaces=(Surface("red cube", friction=0.3),)))
    cube = int(model.body("red cube").geomadr[0])
    others = np.flatnonzero(model.geom_contype)
    assert all(
        model.geom_priority[cube] > model.geom_priority[geom] for geom in others if geom != cube
    )


@pytest.mark.parametrize("shape", ["cube", "bowl", "brush"])
def test_a_mass_is_that_of_the_whole_item(shape):
    item = Item(shape, "red", (0.5, 0.0))
    usual = compile_scene(Scene((item,))).body(item.name)
    heavy = compile_scene(Scene((item,), surfaces=(Surface(item.name, mass_kg=0.7),))).body(
        item.name
    )
    assert heavy.mass[0] == pytest.approx(0.7)
    factor = 0.7 / usual.mass[0]
    np.testing.assert_allclose(heavy.inertia, usual.inertia * factor, rtol=1e-9)
    np.testing.assert_allclose(heavy.ipos, usual.ipos, atol=1e-12)


def test_volumes_are_those_of_the_solids():
    def of(shape, size_m=0.022):
        return volume_m3(Item(shape, "red", (0.5, 0.0), size_m=size_m))

    assert of("cube", 0.03) == pytest.approx(0.06**3)
    assert of("cylinder", 0.03) == pytest.approx(2 * np.pi * 0.03**3)
    assert of("ball", 0.03) == pytest.approx(4 / 3 * np.pi * 0.03**3)
    wall = 0.004 * 2 * CUP_RADIUS_M * np.tan(np.pi / 8) * 1.05 * (CUP_HEIGHT_M - 0.002)
    assert of("cup") == pytest.approx(8 * wall + 0.004 * np.pi * CUP_RADIUS_M**2)


@pytest.mark.parametrize(
    "surface",
    [
        Surface("red cube", "checker", 0.6, 2.0),
        Surface("red cube", shininess=0.1, specular=1.0),
        Surface("table", "stripes", 0.5, 6.0),
    ],
    ids=["pattern", "gloss", "table"],
)
def test_a_picture_differs_where_the_surface_is_and_nowhere_else(surface):
    pictures = []
    for told in (scene(), scene(surface)):
        world = Tabletop(told)
        pictures.append(world.render("front").astype(int))
        world.close()
    differs = np.abs(pictures[0] - pictures[1]).max(axis=-1) > 2
    renderer = mujoco.Renderer(world.model, 224, 224)
    renderer.enable_segmentation_rendering()
    renderer.update_scene(world.data, "front")
    geom = "table" if surface.of == "table" else int(world.model.body("red cube").geomadr[0])
    on_it = renderer.render()[..., 0] == world.model.geom(geom).id
    renderer.close()
    assert on_it.sum() > 200 and not np.any(differs & ~on_it)
    assert differs.sum() > 0.2 * on_it.sum()


def test_a_thin_thing_shows_the_pattern_whole_on_its_side():
    """Four fields on a mat, each of one shade from its middle to its corners."""
    mat = Mat("red", (0.5, 0.0), (0.1, 0.1))
    surface = Surface("red mat", "checker", 0.8)
    world = Tabletop(Scene((), furniture=(mat,), surfaces=(surface,), light_brightness=0.3))
    picture = world.render("front", 448, 448)[..., 0]
    camera = world.model.camera("front").id
    axes = world.data.cam_xmat[camera].reshape(3, 3)
    focal_px = 224 / np.tan(np.radians(world.model.cam_fovy[camera]) / 2)

    def red(x, y):
        x, y, z = axes.T @ (np.array([0.5 + x, y, 0.001]) - world.data.cam_xpos[camera])
        return int(picture[round(224 + focal_px * y / z), round(224 - focal_px * x / z)])

    inside = [(x, y) for x in (0.01, 0.05, 0.09) for y in (0.01, 0.05, 0.09)]
    fields = [{red(i * x, j * y) for x, y in inside} for i in (-1, 1) for j in (-1, 1)]
    shades = [min(field) for field in fields]
    assert all(max(field) - min(field) < 8 for field in fields)
    assert shades[0] == pytest.approx(shades[3], abs=8)
    assert shades[1] == pytest.approx(shades[2], abs=8)
    assert abs(shades[0] - shades[1]) > 60
