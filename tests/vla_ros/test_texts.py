"""However much was sent, an error says little of it."""

import numpy as np
import pytest

from policies.interface import ActionError
from vla_ros import messages
from vla_ros.body import Body
from vla_ros.execution import Execution
from vla_ros.joints import JointsError, positions_by_name
from vla_ros.limits import FR3_LIMITS
from vla_ros.planning import MOST_POSES, PoseChunk, validate
from vla_ros.texts import shortened


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([], "[]"),
        (["a", "x"], "['a', 'x']"),
        ((1.5, 2), "[1.5, 2]"),
        (list(range(9)), "[0, 1, 2, 3, 4, 5, 6, 7, ...] (9 in all)"),
        ("camera", "'camera'"),
        ("y" * 1000, repr("y" * 60 + "...")),
        (None, "None"),
    ],
)
def test_the_beginning_and_how_many(value, text):
    assert shortened(value) == text


def test_joint_names_of_any_number_and_length_make_a_short_error():
    names = [f"{index}" + "x" * 10_000 for index in range(20_000)]
    with pytest.raises(JointsError, match="20000 in all") as caught:
        positions_by_name(names, np.zeros(20_000), [f"joint{index}" for index in range(7)])
    assert len(str(caught.value)) < 1000


def chunk(count, **changes):
    values = {
        "times_ns": np.arange(1, count + 1) * 10**8,
        "positions": np.zeros((count, 3)),
        "quaternions": np.tile([1.0, 0.0, 0.0, 0.0], (count, 1)),
        "gripper": np.ones(count),
    }
    return PoseChunk(0, **(values | changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"times_ns": np.zeros(MOST_POSES, np.int64)}, "rising times"),
        ({"positions": np.full((MOST_POSES, 3), np.nan)}, r"got \[nan, nan, nan\]$"),
        ({"quaternions": np.ones((MOST_POSES, 4))}, "unit length"),
        ({"gripper": np.full(MOST_POSES, 7.0)}, "opening from 0 to 1"),
        ({"gripper": np.full(MOST_POSES, np.inf)}, r"finite numbers, got \[inf\]$"),
    ],
)
def test_numbers_of_a_long_chunk_make_a_short_error(changes, reason):
    with pytest.raises(ActionError, match=reason) as caught:
        validate(chunk(MOST_POSES, **changes))
    assert len(str(caught.value)) < 300


def test_names_in_a_chunk_make_a_short_error():
    poses, gripper = messages.chunk_to_messages(chunk(2))
    poses.joint_names = ["x" * 10_000] * 5000
    with pytest.raises(ActionError, match="5000 in all") as caught:
        messages.chunk_from_messages(poses, gripper)
    assert len(str(caught.value)) < 1000
    poses.header.frame_id = "f" * 100_000
    with pytest.raises(ActionError, match="frame_id") as caught:
        messages.chunk_from_messages(poses, gripper)
    assert len(str(caught.value)) < 200


def test_what_a_library_says_is_cut():
    execution = Execution(Body(), FR3_LIMITS, lambda command: None)
    execution.on_invalid("internal error: " + "z" * 100_000, 10**12)
    assert execution.reason.startswith("action refused: internal error: z")
    assert len(execution.reason) < 600
