"""Layouts: relations hold, and what overlaps or has no room is refused with the reason."""

import numpy as np
import pytest

from sim.scene import DRAWER_DEPTH_M, SceneError
from sim.scenes import DescribedTask
from sim.scenes.layout import Misfit, draw_layout
from sim.tabletop import Tabletop


def bowl(**more):
    return {"kind": "bowl", "color": "blue", **more}


def cube(color="red", **more):
    return {"kind": "cube", "color": color, **more}


def sampled(description, seed=0):
    return DescribedTask(description).sample(np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("relation", "along"),
    [("left_of", (0, 1)), ("right_of", (0, -1)), ("front_of", (-1, 0)), ("behind", (1, 0))],
)
def test_sides_are_the_robots(described, relation, along):
    place = {relation: "blue bowl", "distance_m": [0.12, 0.13]}
    description = described([bowl(x_m=0.5, y_m=0.0), cube(place=place)])
    for seed in range(5):
        things = draw_layout(description, np.random.default_rng(seed)).things
        offset = np.subtract(things["red cube"].position, things["blue bowl"].position)
        assert 0.12 <= offset @ along <= 0.13
        assert abs(offset @ np.flip(along)) < 1e-12


def test_near_is_in_any_direction_within_the_distance(described):
    place = {"near": "blue bowl", "distance_m": [0.12, 0.14]}
    description = described([bowl(x_m=0.5, y_m=0.0), cube(place=place)])
    offsets = []
    for seed in range(20):
        things = draw_layout(description, np.random.default_rng(seed)).things
        offsets.append(np.subtract(things["red cube"].position, (0.5, 0.0)))
    distances = np.linalg.norm(offsets, axis=1)
    assert np.all((distances >= 0.12) & (distances <= 0.14))
    assert len({(x > 0, y > 0) for x, y in offsets}) == 4


def test_what_stands_on_or_in_something_stays_there(described):
    objects = [
        cube("blue", x_m=0.5, y_m=0.1, size_m=0.024),
        cube("red", name="upper", place={"on": "blue cube"}),
        cube("green", name="top", place={"on": "upper"}),
        {"kind": "cup", "color": "red", "x_m": 0.5, "y_m": -0.1},
        {"kind": "beads", "color": "yellow", "place": {"inside": "red cup"}},
        {"kind": "drawer", "color": "red", "x_m": 0.40, "y_m": 0.35, "opening_m": 0.1},
        {"kind": "ball", "color": "blue", "place": {"inside": "red drawer"}},
    ]
    world = Tabletop(sampled(described(objects, [{"lifted": {"item": "top"}}])).scene)
    world.advance(1.0)
    assert world.item_position("red cube")[2] == pytest.approx(0.048 + 0.022, abs=0.002)
    assert world.item_position("green cube")[2] == pytest.approx(0.048 + 0.066, abs=0.002)
    beads = world.grain_positions("yellow beads") - world.item_position("red cup")
    assert np.all(np.linalg.norm(beads[:, :2], axis=1) < 0.03)
    ball = world.item_position("blue ball")
    assert 0.40 + 0.1 - DRAWER_DEPTH_M < ball[0] < 0.50 and ball[2] < 0.05


def test_what_is_drawn_over_an_area_leaves_room_for_the_gripper(described):
    description = described([bowl(), cube(), cube("green", name="other")])
    for seed in range(10):
        scene = sampled(description, seed).scene
        spots = [np.array(item.position) for item in scene.items]
        assert np.linalg.norm(spots[1] - spots[2]) >= 0.10
        assert np.linalg.norm(spots[0] - spots[1]) >= 0.127


def test_kinds_and_colors_are_drawn_and_no_name_is_drawn_twice(described):
    colors = ["red", "green"]
    objects = [cube(colors, name="one"), cube(colors, name="two")]
    description = described(objects)
    names = [sampled(description, seed).scene.names for seed in range(10)]
    assert {tuple(each) for each in names} == {
        ("red cube", "green cube"),
        ("green cube", "red cube"),
    }
    objects.append(cube(colors, name="three"))
    with pytest.raises(
        SceneError, match=r"objects\[2\]: the scene has red cube, green cube already"
    ):
        sampled(described(objects))


def test_the_same_seed_draws_the_same_layout(described):
    description = described([bowl(), cube(yaw_deg=[-20, 20])])
    assert sampled(description, 3) == sampled(description, 3)
    assert sampled(description, 3) != sampled(description, 4)


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        (
            [bowl(x_m=0.5, y_m=0.0), cube(x_m=0.56, y_m=0.0)],
            r"objects\[1\] \(red cube\) and objects\[0\] \(blue bowl\) overlap by \d+ mm",
        ),
        (
            [cube("blue", x_m=0.5, y_m=0.0), cube(x_m=0.5, y_m=0.03, name="red cube")],
            r"overlap by 14 mm",  # two half edges of 22 mm, 30 mm apart
        ),
        (
            [
                {"kind": "drawer", "color": "red", "x_m": 0.4, "y_m": 0.0},
                {"kind": "button", "color": "red", "x_m": 0.36, "y_m": 0.05},
                cube(x_m=0.5, y_m=0.2),
            ],
            r"objects\[1\] \(red button\) and objects\[0\] \(red drawer\) overlap by \d+ mm",
        ),
        ([cube(x_m=0.0, y_m=0.0)], r"objects\[0\] \(red cube\) overlaps the robot by \d+ mm"),
        (
            [bowl(x_m=0.5, y_m=0.0), cube(x_m=[0.5, 0.52], y_m=[0.0, 0.02])],
            r"objects\[1\] \(red cube\): no room in 300 draws; the last was \d+ mm from "
            r"objects\[0\] \(blue bowl\), 127 are needed",
        ),
        (
            [cube(x_m=0.9, y_m=0.3)],
            r"objects\[0\] \(red cube\) is out of reach: at x 0.90 y 0.30 z 0.02 the fingers end "
            r"\d+ mm short and \d+ degrees tilted",
        ),
    ],
)
def test_a_layout_that_cannot_be_is_refused_with_the_reason(described, objects, message):
    with pytest.raises(SceneError, match=message):
        sampled(described(objects, [{"lifted": {"item": "red cube"}}]))


def test_a_goal_that_is_taken_or_out_of_reach_is_refused(described):
    objects = [
        {"kind": "cylinder", "color": "blue", "x_m": 0.5, "y_m": 0.0},
        {"kind": "cylinder", "color": "green", "x_m": 0.5, "y_m": 0.12},
        cube(x_m=0.5, y_m=-0.15),
    ]
    success = [{"left_of": {"item": "red cube", "other": "blue cylinder"}}]
    with pytest.raises(SceneError, match=r"objects\[1\] \(green cylinder\) stands where it shall"):
        sampled(described(objects, success))
    objects[1:2] = []
    objects[0]["x_m"] = 0.74
    success = [{"behind": {"item": "red cube", "other": "blue cylinder"}}]
    with pytest.raises(SceneError, match=r"the goal of objects\[1\] \(red cube\) is out of reach"):
        sampled(described(objects, success))


def test_a_way_that_is_not_free_is_refused(described):
    objects = [cube(x_m=0.5, y_m=0.0), cube("green", x_m=0.5, y_m=0.07)]
    success = [{"moved": {"item": "red cube", "direction": "left"}}]
    with pytest.raises(SceneError, match=r"objects\[0\] \(red cube\): its way is not free"):
        sampled(described(objects, success))


def test_what_is_done_at_the_start_is_refused(described):
    objects = [bowl(x_m=0.5, y_m=0.0), cube(place={"inside": "blue bowl"})]
    success = [{"inside": {"item": "red cube", "container": "blue bowl"}}]
    with pytest.raises(SceneError, match="success: it is done before anything has happened"):
        sampled(described(objects, success))


def test_a_fixed_layout_is_tried_once(described):
    description = described([bowl(x_m=0.5, y_m=0.0), cube(x_m=0.5, y_m=0.0)])
    rng = np.random.default_rng(0)
    with pytest.raises(SceneError):
        DescribedTask(description).sample(rng)
    with pytest.raises(Misfit, match="the scene has red cube already"):
        draw_layout(described([cube(name="a"), cube(name="b")]), rng)
