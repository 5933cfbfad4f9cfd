"""Chunk alignment and action statistics, over generated numbers."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from policies.alignment import aligned, end_times_ns, first_remaining
from policies.chunks import absolute_poses
from policies.interface import ActionChunk, Observation
from policies.openvla.statistics import ActionStatistics, action_norm_stats

STAMP_NS = 5_000_000_000
steps = st.floats(-0.05, 0.05)


@given(st.lists(st.integers(1, 10**10), min_size=1, max_size=10), st.integers(-(10**10), 10**11))
def test_the_first_that_remains_is_the_first_in_the_future(gaps, now_ns):
    ends_ns = np.cumsum(np.array(gaps, np.int64))
    first = first_remaining(ends_ns, now_ns)
    future = [index for index, end in enumerate(ends_ns) if end > now_ns]
    assert first == (future[0] if future else len(ends_ns) - 1)


@given(st.integers(1, 50), st.floats(1e-3, 1.0))
def test_actions_end_one_after_the_other(count, dt_s):
    ends_ns = end_times_ns(count, dt_s)
    assert ends_ns.shape == (count,)
    assert np.all(np.diff(ends_ns) > 0)
    assert abs(ends_ns[-1] - count * dt_s * 1e9) <= 1


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 8).flatmap(lambda count: arrays(float, (count, 7), elements=steps)),
    st.integers(-(10**9), 3 * 10**9),
)
def test_alignment_keeps_every_pose_that_is_still_wanted_where_and_when_it_was(actions, late_ns):
    """Whatever is dropped, what is left leads to the same places at the same times."""
    observation = Observation(
        images={},
        joint_positions=np.zeros(7),
        gripper_opening=1.0,
        ee_position=np.array([0.5, 0.1, 0.2]),
        ee_quaternion=np.array([0.0, 1.0, 0.0, 0.0]),
        instruction="wait",
        stamp_ns=STAMP_NS,
    )
    chunk = ActionChunk(actions, STAMP_NS, 0.1)
    left = aligned(chunk, observation, STAMP_NS + late_ns)
    dropped = len(actions) - len(left.actions)
    positions, rotations, gripper = absolute_poses(chunk, observation)
    np.testing.assert_allclose(left.actions[:, :3], positions[dropped:])
    np.testing.assert_array_equal(left.actions[:, 6], gripper[dropped:])
    turned = Rotation.from_euler("xyz", left.actions[:, 3:6]) * rotations[dropped:].inv()
    assert np.all(turned.magnitude() < 1e-6)
    ends = STAMP_NS + end_times_ns(len(actions), 0.1)[dropped:]
    left_ends = left.stamp_ns + end_times_ns(len(left.actions), 0.1)
    assert np.all(np.abs(ends - left_ends) <= 1)
    assert len(left.actions) == 1 or np.all(ends > STAMP_NS + late_ns)


@st.composite
def data(draw):
    rows = draw(st.integers(2, 40))
    return draw(arrays(float, (rows, 7), elements=st.floats(-10, 10, width=32)))


@settings(max_examples=100, deadline=None)
@given(data())
def test_statistics_of_any_actions_can_be_read_back_and_bound_what_comes_out(actions):
    entry = action_norm_stats(actions, len(actions), 1)
    statistics = ActionStatistics.from_norm_stats({"any": entry}, None)
    assert np.all(statistics.q01 <= statistics.q99)
    for value in (-1.0, -0.3, 0.0, 1.0):
        out = statistics.unnormalize(np.full(7, value))
        assert np.all(out[:6] >= statistics.q01[:6] - 1e-6)
        assert np.all(out[:6] <= statistics.q99[:6] + 1e-6)
        assert out[6] == value  # the gripper passes as it is
    assert np.all(np.isfinite(statistics.normalize(actions)))


@settings(max_examples=100, deadline=None)
@given(data(), arrays(float, 7, elements=st.floats(0, 1)))
def test_normalizing_is_undone_inside_the_quantiles(actions, share):
    entry = action_norm_stats(actions, len(actions), 1)
    statistics = ActionStatistics.from_norm_stats({"any": entry}, None)
    inside = statistics.q01 + share * (statistics.q99 - statistics.q01)
    back = statistics.unnormalize(statistics.normalize(inside))
    wide = statistics.q99 - statistics.q01 > 1e-3
    np.testing.assert_allclose(back[wide], inside[wide], rtol=1e-6, atol=1e-5)
