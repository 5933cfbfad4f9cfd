"""ROS messages to and from plain types: nothing is lost, what is malformed is refused."""

from array import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from policies.interface import ActionError, ObservationError
from vla_ros import messages
from vla_ros.planning import PoseChunk

STAMP_NS = 1_700_000_000_123_456_789


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)


@pytest.fixture
def chunk():
    return PoseChunk(
        stamp_ns=STAMP_NS,
        times_ns=np.array([100_000_000, 1_200_000_000]),
        positions=np.array([[0.4, 0.1, 0.2], [0.5, 0.2, 0.3]]),
        quaternions=np.array([[0.0, 1.0, 0.0, 0.0], [0.6, 0.0, 0.8, 0.0]]),
        gripper=np.array([1.0, 0.25]),
    )


def test_an_image_comes_back_as_it_was_sent(image):
    message = messages.image_to_message(image, STAMP_NS, "front_optical_frame")
    assert isinstance(message.data, array)
    assert message.encoding == "rgb8"
    assert messages.to_ns(message.header.stamp) == STAMP_NS
    np.testing.assert_array_equal(messages.image_from_message(message), image)


def test_bgr_images_and_padded_rows_are_understood(image):
    message = messages.image_to_message(image[..., ::-1], STAMP_NS, "")
    message.encoding = "bgr8"
    np.testing.assert_array_equal(messages.image_from_message(message), image)
    padded = np.zeros((4, 20), np.uint8)
    padded[:, :18] = image.reshape(4, 18)
    message = messages.image_to_message(image, STAMP_NS, "")
    message.step, message.data = 20, array("B", padded.tobytes())
    np.testing.assert_array_equal(messages.image_from_message(message), image)


@pytest.mark.parametrize(
    ("changes", "expected_px", "reason"),
    [
        ({"encoding": "mono8"}, 0, "encoding: expected one of rgb8, bgr8, got 'mono8'"),
        ({}, 224, "size: expected 224 x 224, got 6 x 4"),
        ({"step": 6}, 0, "at least 18 bytes a row"),
        ({"height": 5}, 0, "data: expected 90 bytes, got 72"),
        ({"height": 0}, 0, "some pixels"),
    ],
)
def test_images_a_policy_cannot_use_are_refused(image, changes, expected_px, reason):
    message = messages.image_to_message(image, STAMP_NS, "")
    for name, value in changes.items():
        setattr(message, name, value)
    with pytest.raises(ObservationError, match=reason):
        messages.image_from_message(message, expected_px)


def test_the_camera_matrix_follows_from_the_field_of_view():
    # 90 degrees: half the height is seen under 45 degrees, so the focal length is half the height.
    info = messages.camera_info(90.0, 480, 640, STAMP_NS, "front")
    np.testing.assert_allclose(info.k, [240, 0, 320, 0, 240, 240, 0, 0, 1])
    np.testing.assert_allclose(info.p, [240, 0, 320, 0, 0, 240, 240, 0, 0, 0, 1, 0])


def test_a_chunk_comes_back_as_it_was_sent(chunk):
    result = messages.chunk_from_messages(*messages.chunk_to_messages(chunk))
    assert result.stamp_ns == chunk.stamp_ns
    np.testing.assert_array_equal(result.times_ns, chunk.times_ns)
    np.testing.assert_array_equal(result.positions, chunk.positions)
    np.testing.assert_array_equal(result.quaternions, chunk.quaternions)
    np.testing.assert_array_equal(result.gripper, chunk.gripper)


def test_halves_that_do_not_fit_are_refused(chunk):
    poses, gripper = messages.chunk_to_messages(chunk)
    gripper.points = gripper.points[:1]
    with pytest.raises(ActionError, match="got 1 and 2"):
        messages.chunk_from_messages(poses, gripper)
    poses, gripper = messages.chunk_to_messages(chunk)
    poses.header.frame_id = "camera"
    with pytest.raises(ActionError, match="frame_id: expected 'base', got 'camera'"):
        messages.chunk_from_messages(poses, gripper)
    poses, gripper = messages.chunk_to_messages(chunk)
    poses.points[0].transforms = []
    with pytest.raises(ActionError, match="one transform"):
        messages.chunk_from_messages(poses, gripper)
    poses, gripper = messages.chunk_to_messages(chunk)
    gripper.joint_names = ["finger"]
    with pytest.raises(ActionError, match="joint_names"):
        messages.chunk_from_messages(poses, gripper)


@pytest.mark.parametrize(("low", "high", "fits"), [(0, 255, True), (0, 3, False), (120, 130, True)])
def test_a_picture_needs_contrast(low, high, fits):
    image = np.random.default_rng(0).integers(low, high + 1, (64, 64, 3), dtype=np.uint8)
    image[0, 0] = 255  # a hot pixel is no contrast
    if fits:
        messages.check_contrast(image, 8.0)
        return
    with pytest.raises(ObservationError, match="is the lens covered"):
        messages.check_contrast(image, 8.0)
    messages.check_contrast(image, 0.0)


times = st.integers(-(2**31) * 10**9, 2**31 * 10**9 - 1)


@given(times)
def test_any_time_comes_back_to_the_nanosecond(time_ns):
    assert messages.to_ns(messages.to_stamp(time_ns)) == time_ns
    assert messages.to_ns(messages.to_duration(time_ns)) == time_ns


@settings(max_examples=50)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)).flatmap(
        lambda shape: arrays(np.uint8, shape)
    ),
    st.integers(0, 7),
)
def test_any_image_comes_back_also_in_bgr_and_with_padded_rows(pixels, padding):
    message = messages.image_to_message(pixels, 0, "")
    np.testing.assert_array_equal(messages.image_from_message(message), pixels)
    message.encoding = "bgr8"
    message.step += padding
    rows = np.pad(pixels[..., ::-1].reshape(len(pixels), -1), ((0, 0), (0, padding)))
    message.data = array("B", rows.tobytes())
    np.testing.assert_array_equal(messages.image_from_message(message), pixels)


@settings(max_examples=50)
@given(
    times,
    st.integers(1, 4).flatmap(
        lambda k: st.tuples(
            st.lists(st.integers(0, 2**31 * 10**9 - 1), min_size=k, max_size=k),
            arrays(float, (k, 3)),
            arrays(float, (k, 3)),
        )
    ),
)
def test_any_trajectory_holds_its_numbers(stamp_ns, columns):
    times_ns, positions, velocities = columns
    message = messages.joint_trajectory(
        ["a", "b", "c"], times_ns, positions, stamp_ns, velocities, effort=5.0
    )
    assert messages.to_ns(message.header.stamp) == stamp_ns
    assert [messages.to_ns(point.time_from_start) for point in message.points] == times_ns
    np.testing.assert_array_equal([point.positions for point in message.points], positions)
    np.testing.assert_array_equal([point.velocities for point in message.points], velocities)
    assert all(list(point.effort) == [5.0] * 3 for point in message.points)


@given(st.text(), st.dictionaries(st.text(), st.one_of(st.text(), st.floats(), st.none())))
def test_any_words_can_be_diagnostics(words, values):
    """Half a surrogate pair, which no ROS string carries, is a question mark."""
    from rclpy.serialization import deserialize_message, serialize_message

    message = messages.diagnostics("node", "OK", words, values, 0)
    assert message.status[0].message == words.encode(errors="replace").decode()
    back = deserialize_message(serialize_message(message), type(message))
    assert len(back.status[0].values) == len(values)
