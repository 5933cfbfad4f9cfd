"""When the robot moves and when it holds; above all, in which order it stops."""

import numpy as np
import pytest

from sim import robot
from sim.kinematics import Kinematics
from vla_ros.execution import Execution, Hold, State
from vla_ros.planning import FR3_LIMITS, Motion, PoseChunk

MS = 1_000_000
START = 1_000_000 * MS
KINEMATICS = Kinematics()
HOME = robot.HOME_RAD
HOME_POSITION, _rotation = KINEMATICS.forward(HOME)
DOWN = _rotation.as_quat(scalar_first=True)


class Robot:
    """An execution with its clock, recording what it sends and in which state."""

    def __init__(self):
        self.now = START
        self.sent = []
        self.execution = Execution(KINEMATICS, FR3_LIMITS, self.send)

    def send(self, command):
        self.sent.append((command, self.execution.state))

    def wait(self, ms, joints=HOME):
        """Time passes, with joint states (none if `joints` is None) and the watchdog at 50 Hz."""
        for _ in range(round(ms / 20)):
            self.now += 20 * MS
            if joints is not None:
                self.execution.on_joints(np.asarray(joints), self.now)
            self.execution.tick(self.now)

    def chunk(self, age_ms=80, offset=(0.02, 0, 0), **changes):
        values = {
            "stamp_ns": self.now - age_ms * MS,
            "times_ns": np.array([100 * MS]),
            "positions": (HOME_POSITION + offset)[None],
            "quaternions": DOWN[None],
            "gripper": np.ones(1),
        }
        self.execution.on_chunk(PoseChunk(**(values | changes)), self.now)

    @property
    def state(self):
        return self.execution.state

    @property
    def last(self):
        return self.sent[-1][0]


@pytest.fixture
def moving():
    it = Robot()
    it.wait(40)
    it.execution.on_instruction("pick up the red cube", it.now)
    it.wait(100)
    it.chunk()
    assert it.state is State.MOVING
    assert isinstance(it.last, Motion)
    return it


def test_without_input_nothing_is_ever_sent():
    it = Robot()
    it.wait(2000)
    assert it.sent == []
    assert it.state is State.WAITING


def test_chunks_without_an_instruction_move_nothing():
    it = Robot()
    it.wait(100)
    it.chunk()
    assert it.sent == []


def test_stale_input_holds_the_measured_joints_once(moving):
    measured = HOME + 0.05
    moving.wait(480, measured)
    assert moving.state is State.MOVING
    moving.wait(60, measured)
    assert moving.state is State.HOLDING
    assert isinstance(moving.last, Hold)
    np.testing.assert_array_equal(moving.last.joints, measured)
    assert "no usable action chunk for more than 500 ms" in moving.execution.reason
    count = len(moving.sent)
    moving.wait(3000, measured)
    assert len(moving.sent) == count


def test_it_goes_on_when_chunks_come_again(moving):
    moving.wait(600)
    moving.chunk()
    assert moving.state is State.MOVING


def test_an_empty_instruction_holds_and_later_chunks_are_ignored(moving):
    moving.execution.on_instruction("", moving.now)
    assert isinstance(moving.last, Hold)
    assert moving.state is State.HOLDING
    count = len(moving.sent)
    moving.chunk()
    assert len(moving.sent) == count


def test_chunks_seen_before_a_new_instruction_are_not_its_answer(moving):
    moving.execution.on_instruction("pick up the blue ball", moving.now)
    count = len(moving.sent)
    moving.chunk(age_ms=80)
    assert len(moving.sent) == count
    moving.wait(100)
    moving.chunk(age_ms=80)
    assert len(moving.sent) == count + 1


def test_stale_joints_end_all_sending_and_their_return_holds(moving):
    moving.wait(300, joints=None)
    assert moving.state is State.WAITING
    assert "joint states" in moving.execution.reason
    count = len(moving.sent)
    moving.chunk(age_ms=10)
    assert len(moving.sent) == count
    back = HOME - 0.03
    moving.wait(20, back)
    assert isinstance(moving.last, Hold)
    np.testing.assert_array_equal(moving.last.joints, back)
    moving.chunk()
    assert moving.state is State.MOVING


def test_emergency_stop_first_ends_the_work_then_holds(moving):
    seen = []

    def send(command):
        seen.append((type(command).__name__, moving.execution.state))
        # Whatever arrives at this very moment must find the work already ended.
        moving.chunk(age_ms=10)

    moving.execution._send = send
    moving.execution.on_emergency_stop(moving.now)
    assert seen == [("Hold", State.STOPPED)]


def test_emergency_stop_lasts_until_reset(moving):
    moving.execution.on_emergency_stop(moving.now)
    count = len(moving.sent)
    moving.wait(1000)
    moving.chunk()
    moving.execution.on_instruction("", moving.now)
    moving.execution.on_instruction("lift the green ball", moving.now)
    moving.wait(200)
    moving.chunk()
    assert len(moving.sent) == count
    assert moving.state is State.STOPPED
    assert moving.execution.reset()
    assert moving.state is State.HOLDING
    assert len(moving.sent) == count
    moving.chunk()
    assert moving.state is State.MOVING


def test_reset_without_a_stop_says_so(moving):
    assert not moving.execution.reset()
    assert moving.state is State.MOVING


def test_an_emergency_stop_while_blind_holds_when_the_joints_are_back(moving):
    moving.wait(300, joints=None)
    count = len(moving.sent)
    moving.execution.on_emergency_stop(moving.now)
    assert len(moving.sent) == count
    moving.wait(20, HOME + 0.01)
    assert isinstance(moving.last, Hold)
    assert moving.state is State.STOPPED


def test_an_emergency_stop_while_holding_holds_again(moving):
    moving.execution.on_instruction("", moving.now)
    moving.wait(40, HOME + 0.02)
    moving.execution.on_emergency_stop(moving.now)
    np.testing.assert_array_equal(moving.last.joints, HOME + 0.02)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"positions": np.full((1, 3), np.nan)}, "finite"),
        ({"gripper": np.array([7.0])}, "opening from 0 to 1"),
        ({"offset": (0.0, 0.4, 0.0)}, "from the one before"),
        ({"age_ms": 1500}, "1500 ms old; 0 to 1000 ms expected"),
    ],
)
def test_a_refused_chunk_holds_with_the_reason(moving, changes, reason):
    moving.wait(2000)
    moving.chunk()
    moving.chunk(**changes)
    assert moving.state is State.HOLDING
    assert isinstance(moving.last, Hold)
    assert reason in moving.execution.reason
    assert moving.execution.refused == 1


def test_holding_never_commands_the_gripper():
    assert set(Hold.__dataclass_fields__) == {"joints", "reason"}


def test_names_of_the_arm_are_the_limits_order():
    assert len(robot.JOINT_NAMES) == len(FR3_LIMITS.velocity_rad_s)
