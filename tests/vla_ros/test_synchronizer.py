"""Streams are matched by their stamps; what is missing, stale or apart is named."""

import numpy as np
import pytest

from vla_ros.synchronizer import StreamError, Synchronizer

MS = 1_000_000
START = 1_000_000_000_000
IMAGE = np.zeros((2, 2, 3), np.uint8)


def make(cameras=("front",)):
    return Synchronizer(cameras, tolerance_ns=50 * MS, max_age_ns=500 * MS)


def test_the_joints_nearest_to_the_image_count():
    synchronizer = make()
    for offset in range(0, 100, 16):
        synchronizer.add_joints(START + offset * MS, np.array([float(offset)]))
    synchronizer.add_image("front", START + 50 * MS, IMAGE)
    snapshot = synchronizer.newest(START + 100 * MS)
    assert snapshot.joints[0] == 48
    assert snapshot.stamp_ns == START + 48 * MS  # the oldest stream used


def test_a_second_camera_is_matched_to_the_first():
    synchronizer = make(("front", "wrist"))
    synchronizer.add_joints(START, np.zeros(1))
    synchronizer.add_image("front", START, IMAGE)
    synchronizer.add_image("wrist", START - 33 * MS, IMAGE + 1)
    synchronizer.add_image("wrist", START + 10 * MS, IMAGE + 2)
    snapshot = synchronizer.newest(START + 20 * MS)
    assert snapshot.images["wrist"][0, 0, 0] == 2


def test_missing_streams_are_named():
    synchronizer = make(("front", "wrist"))
    with pytest.raises(StreamError, match="camera 'front': nothing has arrived yet"):
        synchronizer.newest(START)
    synchronizer.add_image("front", START, IMAGE)
    with pytest.raises(StreamError, match="camera 'wrist': nothing has arrived yet"):
        synchronizer.newest(START)
    synchronizer.add_image("wrist", START, IMAGE)
    with pytest.raises(StreamError, match="joint states: nothing has arrived yet"):
        synchronizer.newest(START)


@pytest.mark.parametrize("late", ["front", "joints"])
def test_a_stale_stream_is_named_with_its_age(late):
    synchronizer = make()
    synchronizer.add_image("front", START + (0 if late == "front" else 600 * MS), IMAGE)
    synchronizer.add_joints(START + (600 * MS if late == "front" else 0), np.zeros(1))
    name = {"front": "camera 'front'", "joints": "joint states"}[late]
    with pytest.raises(StreamError, match=f"{name}: stale, the newest is 600 ms old; at most 500"):
        synchronizer.newest(START + 600 * MS)


def test_streams_too_far_apart_do_not_match():
    synchronizer = make()
    synchronizer.add_joints(START, np.zeros(1))
    synchronizer.add_image("front", START + 51 * MS, IMAGE)
    with pytest.raises(StreamError, match="joint states: -51 ms from camera 'front'"):
        synchronizer.newest(START + 60 * MS)


def test_a_stamp_from_the_future_is_refused():
    synchronizer = make()
    synchronizer.add_joints(START, np.zeros(1))
    synchronizer.add_image("front", START + 200 * MS, IMAGE)
    with pytest.raises(StreamError, match="200 ms in the future"):
        synchronizer.newest(START)


def test_samples_out_of_order_are_dropped_but_a_clock_set_back_starts_anew():
    synchronizer = make()
    synchronizer.add_joints(START, np.array([1.0]))
    synchronizer.add_joints(START - 20 * MS, np.array([2.0]))
    synchronizer.add_image("front", START, IMAGE)
    assert synchronizer.newest(START).joints[0] == 1
    past = START - 5_000 * MS
    synchronizer.add_joints(past, np.array([3.0]))
    synchronizer.add_image("front", past, IMAGE)
    assert synchronizer.newest(past).joints[0] == 3


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="at least one"):
        make(())
    with pytest.raises(ValueError, match="positive"):
        Synchronizer(("front",), 0, 1)
    with pytest.raises(ValueError, match="expected one of"):
        make().add_image("rear", START, IMAGE)
