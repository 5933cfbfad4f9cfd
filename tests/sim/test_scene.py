"""What a scene may hold, and that the episodes drawn respect it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.compile import compile_scene
from sim.furniture import grain_positions
from sim.scene import (
    BOWL_RADIUS_M,
    BUTTON_TRAVEL_M,
    COLORS,
    CUP_RADIUS_M,
    DRAWER_TRAVEL_M,
    GRAIN_RADIUS_M,
    Button,
    Drawer,
    Grains,
    Item,
    Mat,
    Scene,
    SceneError,
)
from sim.tabletop import Tabletop
from sim.tasks import CORE_TASKS, TASKS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"shape": "cone"},
            "shape: expected one of cube, cylinder, ball, bowl, cup, brush, got 'cone'",
        ),
        ({"color": "pink"}, "color: expected one of red, green, blue, yellow, purple, got 'pink'"),
        ({"position": (np.nan, 0.0)}, r"position: expected two finite numbers, got \(nan, 0.0\)"),
        ({"position": (0.1,)}, "position: expected two finite numbers"),
        ({"size_m": 0.2}, "size_m: expected 0.01 to 0.035 m, got 0.2"),
    ],
)
def test_items_are_validated(changes, message):
    values = {"shape": "cube", "color": "red", "position": (0.4, 0.0)} | changes
    with pytest.raises(SceneError, match=message):
        Item(**values)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Drawer("pink", (0.4, 0.0)), "color: expected one of red, .* got 'pink'"),
        (lambda: Drawer("red", (0.4, 0.0), 0.2), "opening_m: expected 0.0 to 0.1 m, got 0.2"),
        (lambda: Button("red", (0.4,)), "position: expected two finite numbers, got"),
        (lambda: Mat("red", (0.4, 0.0), (0.0, 0.1)), "half_size: expected 0.01 to 0.3 m, got 0.0"),
        (lambda: Grains("sand", "red", (0.4, 0.0)), "kind: expected one of beads, crumbs, got"),
        (lambda: Grains("beads", "red", (0.4, 0.0), 0), "count: expected 1 to 50, got 0"),
        (lambda: Item("cube", "red", (0.4, 0), elevation_m=-1), "elevation_m: expected 0.0 to 0.3"),
    ],
)
def test_furniture_and_grains_are_validated(build, message):
    with pytest.raises(SceneError, match=message):
        build()


def test_furniture_and_grains_have_names_of_their_own():
    mat = Mat("red", (0.4, 0.0))
    scene = Scene((Item("cup", "red", (0.4, 0.2)),), furniture=(mat,))
    assert scene.names == ["red cup", "red mat"] and scene.fixture("red mat") is mat
    with pytest.raises(SceneError, match=r"furniture 'red cup' is not in this scene.*red mat"):
        scene.fixture("red cup")
    with pytest.raises(SceneError, match="grains 'red beads' is not in this scene"):
        scene.heap("red beads")
    with pytest.raises(SceneError, match=r"unique, got \['red mat'\] twice"):
        Scene((), furniture=(mat, mat))


def test_names_are_unique():
    item = Item("cube", "red", (0.4, 0.0))
    with pytest.raises(SceneError, match=r"every name must be unique, got \['red cube'\] twice"):
        Scene(items=(item, item))


def test_unknown_item_names_those_there_are():
    scene = Scene(items=(Item("cube", "red", (0.4, 0.0)),))
    with pytest.raises(SceneError, match=r"'blue ball' is not in this scene.*red cube"):
        scene.item("blue ball")


def test_every_shape_and_color_compiles_and_stands_still():
    shapes = ("cube", "cylinder", "ball", "bowl", "cube")
    items = tuple(
        Item(shape, color, (0.40, 0.16 * (index - 2)))
        for index, (shape, color) in enumerate(zip(shapes, COLORS, strict=True))
    )
    world = Tabletop(Scene(items=items))
    world.advance(0.5)
    for item in items:
        np.testing.assert_allclose(world.item_position(item.name)[:2], item.position, atol=3e-3)
        assert world.item_speed(item.name) < 0.02
    assert world.first_touched is None


def test_furniture_stands_still_and_grains_stay_where_they_are():
    cup = Item("cup", "red", (0.5, 0.0))
    drawer, button = Drawer("red", (0.39, -0.12), 0.08), Button("purple", (0.55, -0.2))
    beads = Grains("beads", "yellow", cup.position, 10, 0.02, elevation_m=0.005)
    crumbs = Grains("crumbs", "blue", (0.5, 0.2), 12, 0.04)
    brush = Item("brush", "green", (0.6, 0.1))
    world = Tabletop(Scene((cup, brush), furniture=(drawer, button), grains=(beads, crumbs)))
    world.advance(1.0)
    assert world.travel(drawer.name) == pytest.approx(0.08, abs=1e-3)
    assert abs(world.travel(button.name)) < 1e-3
    for item in (cup, brush):
        np.testing.assert_allclose(
            world.item_position(item.name), [*item.position, item.height_m], atol=2e-3
        )
    offsets = world.grain_positions(beads.name) - world.item_position(cup.name)
    assert np.all(np.linalg.norm(offsets[:, :2], axis=1) < CUP_RADIUS_M)
    np.testing.assert_allclose(world.item_position(crumbs.name)[:2], crumbs.position, atol=0.01)
    world.reset(world.joint_positions)
    assert world.travel(drawer.name) == 0.08


def test_joints_end_where_they_are_said_to():
    model = Tabletop(Scene((), furniture=(Drawer("red", (0.4, 0)), Button("red", (0.6, 0))))).model
    assert model.joint("red drawer").range[1] == DRAWER_TRAVEL_M
    assert model.joint("red button").range[1] == BUTTON_TRAVEL_M


@pytest.mark.parametrize("kind", ["beads", "crumbs"])
@pytest.mark.parametrize("count", [1, 8, 50])
def test_grains_do_not_begin_inside_each_other(kind, count):
    heap = Grains(kind, "red", (0.5, 0.0), count, yaw_rad=1.0)
    places = grain_positions(heap)
    assert places.shape == (count, 3) and np.all(places[:, 2] >= GRAIN_RADIUS_M[kind])
    gaps = np.linalg.norm(places[:, None] - places, axis=-1) + np.eye(count)
    assert gaps.min() > 2 * GRAIN_RADIUS_M[kind]


def test_compiling_twice_gives_the_same_model():
    scene = Scene(items=(Item("ball", "red", (0.4, 0.0)),))
    first, second = compile_scene(scene), compile_scene(scene)
    np.testing.assert_array_equal(first.body_pos, second.body_pos)
    np.testing.assert_array_equal(first.geom_rgba, second.geom_rgba)


_TASKS = {name: task() for name, task in TASKS.items()}


@settings(deadline=None, max_examples=150)
@given(name=st.sampled_from(sorted(TASKS)), seed=st.integers(0, 2**32))
def test_drawn_items_never_overlap_and_names_are_in_the_scene(name, seed):
    episode = _TASKS[name].sample(np.random.default_rng(seed))
    scene = episode.scene
    for index, first in enumerate(scene.items):
        for second in scene.items[index + 1 :]:
            if first.elevation_m != second.elevation_m and first.position == second.position:
                continue  # one on top of the other
            distance = np.linalg.norm(np.subtract(first.position, second.position))
            assert distance > _reach(first) + _reach(second)
    assert episode.target in scene.names
    assert episode.destination is None or episode.destination in scene.names
    if _TASKS[name].swappable:
        assert episode.target in episode.instruction
        assert episode.destination is None or episode.destination in episode.instruction
    if name in CORE_TASKS:
        assert not scene.item(episode.target).is_bowl


def _reach(item):
    """The widest an item can be from its centre: of a cube that is half its diagonal."""
    wide = {"bowl": BOWL_RADIUS_M + 0.01, "cup": CUP_RADIUS_M + 0.004, "brush": 0.065}
    return wide.get(item.shape, np.sqrt(2) * item.size_m)
