"""A camera that hangs is told from a scene in which nothing moves."""

import numpy as np
import pytest

from sim import robot
from sim.scene import Item, Scene
from sim.tabletop import Tabletop
from vla_ros.still_pictures import MOVED_RAD, StillPictures
from vla_ros.synchronizer import Snapshot

MS = 1_000_000
START_NS = 10**15
PICTURE = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
HOME = np.array([*robot.HOME_RAD, 0.04, 0.04])


def other(picture):
    changed = picture.copy()
    changed[3, 4, 1] ^= 1  # a sensor's noise
    return changed


def seen(stills, at_ms, turned_rad=0.0, front=PICTURE, **others):
    joints = HOME.copy()
    joints[1] += turned_rad
    return stills.problem(Snapshot(START_NS + at_ms * MS, {"front": front, **others}, joints))


def test_one_picture_while_the_arm_moves_is_a_problem_until_it_changes():
    stills = StillPictures(500 * MS)
    said = [seen(stills, at_ms, at_ms * 0.0002) for at_ms in range(0, 1000, 100)]
    assert [bool(each) for each in said] == 5 * [False] + 5 * [True]
    assert said[5] == (
        "camera 'front': the same picture for 0.5 s, in every pixel, while a joint moved by "
        "0.10 rad: does its driver hang? (still_picture_s)"
    )
    assert seen(stills, 1000, 0.2)
    assert seen(stills, 1100, 0.2, other(PICTURE)) == ""
    assert seen(stills, 1200, 0.3, other(PICTURE)) == ""


def test_an_encoder_that_leapt_and_came_back_is_forgotten():
    stills = StillPictures(500 * MS)
    assert seen(stills, 0) == ""
    assert seen(stills, 600, 0.5)
    assert seen(stills, 700) == ""


def test_an_arm_at_rest_may_look_the_same_for_ever():
    stills = StillPictures(500 * MS)
    trembling = np.random.default_rng(0).normal(scale=0.003, size=1200)
    said = [seen(stills, 50 * index, turned) for index, turned in enumerate(trembling)]
    assert not any(said)


def test_a_picture_that_is_sent_twice_is_no_problem():
    stills = StillPictures(500 * MS)
    picture = PICTURE
    for at_ms in range(0, 3000, 33):
        picture = other(picture) if at_ms % 66 == 0 else picture
        assert seen(stills, at_ms, at_ms * 0.001, picture) == ""


def test_every_camera_counts_and_is_named():
    stills = StillPictures(500 * MS)
    front = PICTURE
    for at_ms in range(0, 700, 100):
        front = np.roll(front, 1)
        said = seen(stills, at_ms, at_ms * 0.001, front, wrist=PICTURE)
    assert said.startswith("camera 'wrist': the same picture for 0.6 s")


def test_zero_seconds_switch_it_off_and_a_clock_set_back_begins_anew():
    off = StillPictures(0)
    assert not any(seen(off, at_ms, at_ms * 0.001) for at_ms in range(0, 2000, 100))
    stills = StillPictures(500 * MS)
    seen(stills, 0)
    assert seen(stills, 600, 0.1)
    assert seen(stills, -3_600_000, 0.1) == ""
    assert seen(stills, -3_599_500, 0.1) == ""


@pytest.mark.parametrize("camera", ["front", "wrist"])
def test_a_simulated_camera_without_noise_shows_so_much_motion(camera):
    world = Tabletop(Scene((Item("cube", "red", (0.5, 0.0)),)))
    world.reset(HOME[:7])
    before = world.render(camera)
    for joint in range(7):
        turned = HOME[:7].copy()
        turned[joint] += MOVED_RAD
        world.reset(turned)
        assert np.count_nonzero(world.render(camera) != before) > 300
    world.close()
