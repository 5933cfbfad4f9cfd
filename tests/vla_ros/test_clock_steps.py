"""The executor's clock is set while the arm moves: it is braked, whatever the joint states' clock.

The controller follows what it was sent in real time, on another machine; its clock is not set.
"""

from dataclasses import replace

import numpy as np
import pytest

from vla_ros.body import Body
from vla_ros.execution import Execution, Hold, Pace
from vla_ros.executor_state import State
from vla_ros.limits import FR3_LIMITS
from vla_ros.planning import PoseChunk
from vla_ros.robots import FR3

MS = 1_000_000
SECOND = 1000 * MS
START = 10**15
TICK = 10 * MS
SLOW = replace(FR3_LIMITS, velocity_fraction=0.1, speed_m_s=0.05)
BODY = Body(FR3.arm, (), SLOW.clearance_m)
HOME = FR3.arm.home_rad
TOOL, ROTATION = BODY.forward(HOME)


class Cell:
    """An arm in a slow motion of seconds, the executor with a clock that can be set."""

    def __init__(self, steady):
        self.real, self.set_ns = START, 0
        self.sent, self.sent_at = [], []  # and the real times
        clocks = (self.now, self.real_now) if steady else ()
        self.execution = Execution(BODY, SLOW, self.send, None, Pace(), *clocks)
        self.execution.on_instruction("go", self.now())

    def now(self):
        return self.real + self.set_ns

    def real_now(self):
        return self.real

    def send(self, command):
        self.sent.append(command)
        offset = self.real - self.now()  # the controller counts from when it arrives
        self.sent_at.append(
            replace(command.trajectory, start_ns=command.trajectory.start_ns + offset)
        )

    def arm(self):
        """What the controller has now."""
        for trajectory in reversed(self.sent_at):
            if trajectory.start_ns <= self.real:
                return trajectory.at(self.real)
        return self.sent_at[0].at(self.real) if self.sent_at else None

    def run(self, duration_s, chunks=False):
        for count in range(round(duration_s * SECOND / TICK)):
            self.real += TICK
            arm = self.arm()
            self.execution.on_joints(HOME if arm is None else arm.positions, self.now(), self.real)
            self.execution.tick(self.now())
            if chunks and count % 10 == 0:
                self.chunk()

    def chunk(self):
        arm = self.arm()
        tool = TOOL if arm is None else BODY.forward(arm.positions)[0]
        steps = np.arange(1, 9)
        self.execution.on_chunk(
            PoseChunk(
                self.now() - 20 * MS,
                steps * 100 * MS,
                tool + np.outer(steps, [0.02, 0.0, -0.01]),
                np.tile(ROTATION.as_quat(scalar_first=True), (8, 1)),
                np.ones(8),
            ),
            self.now(),
        )

    @property
    def speed(self):
        return float(np.abs(self.arm().velocities).max())


STEPS = [
    (False, -SECOND),
    (True, -SECOND),
    (True, -3600 * SECOND),
    (True, 2 * SECOND),
    (True, 10**14),
]


@pytest.fixture(params=STEPS, ids=lambda given: f"{given[1] / 1e9:g} s, steady clock {given[0]}")
def cell(request):
    """In motion; its clock is about to be set by `step_ns`."""
    steady, step_ns = request.param
    it = Cell(steady)
    it.run(2.5, chunks=True)
    assert it.execution.state is State.MOVING
    assert it.speed > 0.01
    assert it.execution.command.end_ns > it.now() + SECOND  # much of the motion is to come
    it.step_ns = step_ns
    return it


def test_a_clock_that_was_set_brakes_the_arm_at_once(cell):
    count, before = len(cell.sent), cell.arm()
    cell.set_ns += cell.step_ns
    cell.run(0.02)
    assert cell.execution.state is State.HOLDING
    assert "the clock went" in cell.execution.reason
    brake = cell.sent[count]
    assert isinstance(brake, Hold)
    # It goes on from what the controller has: no jump in position or speed.
    np.testing.assert_allclose(brake.trajectory.positions[0], before.positions, atol=2e-3)
    np.testing.assert_allclose(brake.trajectory.velocities[0], before.velocities, atol=2e-2)
    cell.run(0.5)
    assert cell.speed == 0.0


def test_an_emergency_stop_is_the_first_that_hears_of_it(cell):
    """Nothing else arrives: neither joint states nor the watchdog's turn."""
    count = len(cell.sent)
    cell.set_ns += cell.step_ns
    cell.real += TICK
    cell.execution.on_emergency_stop(cell.now())
    assert cell.execution.state is State.STOPPED
    assert len(cell.sent) > count
    cell.real += SECOND // 2
    assert cell.speed == 0.0


def test_it_stays_stopped_and_still_though_no_joint_state_is_believed_any_more(cell):
    cell.set_ns += cell.step_ns
    cell.run(0.5)
    cell.execution.on_emergency_stop(cell.now())
    rest = cell.arm().positions
    cell.run(2.0, chunks=True)
    assert cell.execution.state is State.STOPPED
    np.testing.assert_array_equal(cell.arm().positions, rest)


def test_a_stop_before_the_motion_begins_without_joint_states():
    """The controller has the motion already; it begins a moment later."""
    cell = Cell(False)
    cell.run(0.5)
    cell.chunk()
    assert cell.execution.state is State.MOVING
    assert cell.sent[-1].trajectory.start_ns > cell.now()
    cell.set_ns -= SECOND  # so that joint states are not believed
    cell.run(3.0)
    np.testing.assert_allclose(cell.arm().positions, HOME, atol=1e-6)
