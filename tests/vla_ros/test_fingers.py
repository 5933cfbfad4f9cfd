"""When the arm holds the fingers stay as they are told then: no opening that is to come comes."""

import numpy as np
import pytest

from vla_ros.body import Body
from vla_ros.execution import Execution, Hold
from vla_ros.fingers import Fingers
from vla_ros.limits import FR3_LIMITS
from vla_ros.planning import Motion, PoseChunk
from vla_ros.robots import FR3
from vla_ros.trajectory import Trajectory

MS = 1_000_000
START = 10**12
STILL = np.zeros((2, 7))
BODY = Body()
HOME = FR3.arm.home_rad
TOOL, ROTATION = BODY.forward(HOME)


def motion(times_ms, openings):
    """From `times_ms` on each of the openings is wanted."""
    times = START + np.array(times_ms) * MS
    return Motion(
        0, Trajectory(START, STILL, STILL, STILL), times, times, times, np.array(openings)
    )


def test_nothing_is_held_that_was_never_told():
    fingers = Fingers()
    assert not fingers.told
    assert fingers.hold(START) is None


def test_they_are_held_where_they_are_told_to_be_at_that_moment_and_once():
    fingers = Fingers()
    fingers.follow(motion([0, 480, 980], [1.0, 1.0, 0.0]), START)
    assert fingers.told
    assert fingers.hold(START + 750 * MS) == pytest.approx(0.5)  # halfway from 500 to 1000 ms
    assert fingers.at(START + 5000 * MS) == pytest.approx(0.5)
    assert fingers.hold(START + 760 * MS) is None


def test_what_is_gripped_stays_gripped():
    fingers = Fingers()
    fingers.follow(motion([0, 480, 980], [0.0, 0.0, 1.0]), START)
    assert fingers.hold(START + 300 * MS) == 0.0
    assert fingers.at(START + 2000 * MS) == 0.0


def test_who_has_nothing_more_to_do_is_told_nothing():
    fingers = Fingers()
    fingers.follow(motion([0, 480], [1.0, 0.0]), START)
    assert fingers.hold(START + 800 * MS) is None
    same = Fingers()
    same.follow(motion([0, 480], [0.0, 0.0]), START)
    assert same.hold(START + 100 * MS) is None


def test_a_controller_that_is_a_little_behind_is_told_too():
    fingers = Fingers()
    fingers.follow(motion([0, 480], [1.0, 0.0]), START)
    assert fingers.hold(START + 510 * MS) == 0.0


@pytest.mark.parametrize(("measured", "held"), [(None, 0.5), (0.8, 0.4)])
def test_the_first_that_is_told_begins_where_they_are_measured(measured, held):
    """Its first row is past; the next comes only in a second."""
    fingers = Fingers()
    if measured is not None:
        fingers.on_measured(measured)
    fingers.follow(motion([-100, 980], [1.0, 0.0]), START)
    assert fingers.hold(START + 500 * MS) == pytest.approx(held)


def test_a_clock_that_was_set_changes_nothing():
    fingers = Fingers()
    fingers.follow(motion([0, 480, 980], [1.0, 1.0, 0.0]), START)
    fingers.shift(-3600 * 1000 * MS)
    assert fingers.hold(START - 3600 * 1000 * MS + 750 * MS) == pytest.approx(0.5)


@pytest.fixture
def working():
    """An execution in motion; the fingers close late in it."""
    sent: list = []
    execution = Execution(BODY, FR3_LIMITS, sent.append)
    execution.on_joints(HOME, START)
    execution.on_instruction("go", START)
    chunk = PoseChunk(
        START,
        np.arange(1, 9) * 100 * MS,
        TOOL + np.outer(np.arange(1, 9), [0.0, 0.01, 0.0]),
        np.tile(ROTATION.as_quat(scalar_first=True), (8, 1)),
        np.where(np.arange(1, 9) < 7, 1.0, 0.0),
    )
    execution.on_chunk(chunk, START)
    assert isinstance(sent[-1], Motion)
    return execution, sent


ENDS = {
    "emergency stop": lambda it, now: it.on_emergency_stop(now),
    "withdrawn": lambda it, now: it.on_instruction("", now),
    "refused": lambda it, now: it.on_invalid("not a chunk", now),
    "the executor ends": lambda it, now: it.on_end(now),
    "another executor": lambda it, now: it.forbid("there are two", now),
    "silent": lambda it, now: it.tick(now + 700 * MS),  # and without joint states
}


@pytest.mark.parametrize("end", ENDS)
def test_whatever_ends_the_work_ends_the_fingers_motion(working, end):
    execution, sent = working
    now_ns = START + 300 * MS
    if end != "silent":
        execution.on_joints(execution.command.at(now_ns).positions, now_ns)
    ENDS[end](execution, now_ns if end != "silent" else START - 400 * MS)
    holds = [each for each in sent if isinstance(each, Hold)]
    assert [each.opening for each in holds] == [1.0]
    execution.on_joints(HOME, now_ns + 20 * MS)
    execution.tick(now_ns + 20 * MS)
    assert [each.opening for each in sent if isinstance(each, Hold)][1:] in ([], [None])
