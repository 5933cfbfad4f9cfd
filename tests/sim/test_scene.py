"""What a scene may hold, and that the episodes drawn respect it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.compile import compile_scene
from sim.scene import BOWL_RADIUS_M, COLORS, Item, Scene, SceneError
from sim.tabletop import Tabletop
from sim.tasks import TASKS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": "cone"}, "shape: expected one of cube, cylinder, ball, bowl, got 'cone'"),
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


def test_compiling_twice_gives_the_same_model():
    scene = Scene(items=(Item("ball", "red", (0.4, 0.0)),))
    first, second = compile_scene(scene), compile_scene(scene)
    np.testing.assert_array_equal(first.body_pos, second.body_pos)
    np.testing.assert_array_equal(first.geom_rgba, second.geom_rgba)


_TASKS = {name: task() for name, task in TASKS.items()}


@settings(deadline=None, max_examples=100)
@given(name=st.sampled_from(sorted(TASKS)), seed=st.integers(0, 2**32))
def test_drawn_items_never_overlap_and_the_instruction_names_the_target(name, seed):
    episode = _TASKS[name].sample(np.random.default_rng(seed))
    items = episode.scene.items
    for index, first in enumerate(items):
        for second in items[index + 1 :]:
            # Half the diagonal of a cube is the widest an item can be from its centre.
            reach = sum(
                BOWL_RADIUS_M + 0.01 if item.is_bowl else np.sqrt(2) * item.size_m
                for item in (first, second)
            )
            assert np.linalg.norm(np.subtract(first.position, second.position)) > reach
    assert episode.target in episode.instruction
    assert not episode.scene.item(episode.target).is_bowl
    assert episode.destination is None or episode.destination in episode.instruction
