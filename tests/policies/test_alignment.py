"""What is left of a late chunk: counted by hand, and the same for deltas and absolute poses."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from policies.alignment import aligned, end_times_ns, first_remaining
from policies.interface import ActionChunk, Observation

STAMP_NS = 5_000_000_000


def observation():
    return Observation(
        images={},
        joint_positions=np.zeros(7),
        gripper_opening=1.0,
        ee_position=np.array([0.5, 0.1, 0.2]),
        ee_quaternion=np.array([0.0, 1.0, 0.0, 0.0]),
        instruction="wait",
        stamp_ns=STAMP_NS,
    )


def chunk(rows=4):
    """Every action 1 cm along x; the gripper column counts the rows."""
    actions = np.zeros((rows, 7))
    actions[:, 0] = 0.01
    actions[:, 6] = np.arange(rows) / 10
    return ActionChunk(actions, STAMP_NS, 0.1)


def test_end_times():
    assert end_times_ns(3, 0.1).tolist() == [100_000_000, 200_000_000, 300_000_000]
    # Rounded each by itself: thirds of a second do not drift.
    assert end_times_ns(3, 1 / 3).tolist() == [333_333_333, 666_666_667, 1_000_000_000]


@pytest.mark.parametrize(
    ("now", "first"), [(0, 0), (99, 0), (100, 1), (250, 2), (299, 2), (300, 2), (5000, 2)]
)
def test_first_remaining(now, first):
    assert first_remaining(np.array([100, 200, 300]), now) == first


def test_actions_whose_time_has_passed_are_dropped():
    left = aligned(chunk(), observation(), STAMP_NS + 250_000_000)
    assert left.mode == "absolute"
    np.testing.assert_allclose(left.actions[:, 0], [0.53, 0.54])  # rows 2 and 3 from 0.5
    np.testing.assert_allclose(left.actions[:, 1:3], [[0.1, 0.2]] * 2)
    np.testing.assert_allclose(left.actions[:, 6], [0.2, 0.3])
    # Row 0 of what is left is meant for stamp + dt, as row 2 of the chunk was.
    assert left.stamp_ns + 100_000_000 == STAMP_NS + 300_000_000


def test_in_time_nothing_is_dropped():
    left = aligned(chunk(), observation(), STAMP_NS)
    np.testing.assert_allclose(left.actions[:, 0], [0.51, 0.52, 0.53, 0.54])
    assert left.stamp_ns == STAMP_NS


@pytest.mark.parametrize("rows", [1, 4])
def test_when_all_is_over_the_last_pose_stays(rows):
    left = aligned(chunk(rows), observation(), STAMP_NS + 2_000_000_000)
    np.testing.assert_allclose(left.actions[:, 0], [0.5 + 0.01 * rows])


def test_turns_add_up_about_the_bases_axes():
    actions = np.zeros((3, 7))
    actions[:, 3:6] = [[0.1, 0, 0], [0, 0.2, 0], [0, 0, 0.3]]
    seen = observation()
    left = aligned(ActionChunk(actions, STAMP_NS, 0.1), seen, STAMP_NS + 250_000_000)
    turns = [Rotation.from_euler("xyz", row) for row in actions[:, 3:6]]
    start = Rotation.from_quat(seen.ee_quaternion, scalar_first=True)
    expected = turns[2] * turns[1] * turns[0] * start
    got = Rotation.from_euler("xyz", left.actions[0, 3:6])
    assert (got * expected.inv()).magnitude() == pytest.approx(0.0, abs=1e-9)


def test_aligning_twice_is_aligning_late():
    """What is left at 150 ms, looked at again at 250 ms, is what is left at 250 ms."""
    once = aligned(chunk(), observation(), STAMP_NS + 150_000_000)
    first = first_remaining(
        once.stamp_ns + end_times_ns(len(once.actions), once.dt_s), STAMP_NS + 250_000_000
    )
    late = aligned(chunk(), observation(), STAMP_NS + 250_000_000)
    np.testing.assert_allclose(once.actions[first:], late.actions)
