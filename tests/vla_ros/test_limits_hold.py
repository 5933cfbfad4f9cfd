"""Whatever comes in, nothing that goes out passes a limit: generated chunks, states and times."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.interpolate import CubicHermiteSpline
from scipy.spatial.transform import Rotation

from sim import robot
from vla_ros.body import Body
from vla_ros.checks import violations
from vla_ros.execution import Execution, Pace
from vla_ros.limits import FR3_LIMITS, Box
from vla_ros.planning import Motion, PoseChunk
from vla_ros.trajectory import SAMPLE_NS

MS = 1_000_000
LIMITS = replace(FR3_LIMITS, keep_out=(Box((0.3, 0.2, 0.0), (0.7, 0.35, 0.3)),))
BODY = Body(keep_out=LIMITS.keep_out, clearance_m=LIMITS.clearance_m)
HOME = robot.HOME_RAD
POSITION, ROTATION = BODY.forward(HOME)

wild = st.floats(allow_nan=True, allow_infinity=True, width=64)
sane = st.floats(-0.3, 0.3)
openings = st.one_of(st.floats(0, 1), st.floats(0, 1), wild)


@st.composite
def chunks(draw):
    """A walk of the tool, mostly possible, sometimes absurd."""
    count = draw(st.integers(1, 8))
    reach = draw(st.sampled_from([0.01, 0.03, 0.08, 0.3]))
    steps = draw(arrays(float, (count, 3), elements=st.floats(-reach, reach)))
    turns = draw(arrays(float, (count, 3), elements=st.floats(-0.3, 0.3)))
    positions = np.cumsum(steps, axis=0)
    quaternions = (Rotation.from_rotvec(np.cumsum(turns, axis=0)) * ROTATION).as_quat(
        scalar_first=True
    )
    gripper = draw(arrays(float, count, elements=st.floats(0, 1)))
    if draw(st.integers(0, 4)) == 0:
        which = draw(st.sampled_from([positions, quaternions, gripper]))
        which.flat[draw(st.integers(0, which.size - 1))] = draw(wild)
    step_ms = draw(st.integers(1, 200))
    return {
        "age_ms": draw(st.integers(-50, 1200)),
        "times_ns": np.arange(1, count + 1) * step_ms * MS,
        "positions": positions,
        "quaternions": quaternions,
        "gripper": gripper,
        "wait_ms": draw(st.sampled_from([20, 60, 100, 300, 900])),
        "event": draw(st.sampled_from(["", "", "", "", "stop", "empty", "stray"])),
    }


class Robot:
    """An arm that follows its commands perfectly, unless it is told to stray."""

    def __init__(self):
        self.now, self.sent = 10**12, []
        self.execution = Execution(BODY, LIMITS, self.sent.append, pace=Pace(soft_start_s=0.5))
        self.offset = 0.0
        self.wait(40)
        self.execution.on_instruction("go", self.now)
        self.wait(100)

    @property
    def joints(self):
        running = self.execution.command.running
        where = HOME if running is None else self.execution.command.at(self.now).positions
        return where + self.offset

    def wait(self, ms):
        for _ in range(ms // 20):
            self.now += 20 * MS
            self.execution.on_joints(self.joints, self.now)
            self.execution.tick(self.now)

    def live(self, chunk):
        tool, _ = BODY.forward(self.joints)
        self.execution.on_chunk(
            PoseChunk(
                self.now - chunk["age_ms"] * MS,
                chunk["times_ns"],
                tool + chunk["positions"],
                chunk["quaternions"],
                chunk["gripper"],
            ),
            self.now,
        )
        if chunk["event"] == "stop":
            self.execution.on_emergency_stop(self.now)
            self.wait(500)
            self.execution.reset(self.now)
            self.execution.on_instruction("go on", self.now + 1)
        elif chunk["event"] == "empty":
            self.execution.on_instruction("", self.now)
            self.execution.on_instruction("go on", self.now)
        elif chunk["event"] == "stray":
            step = 0.075 if self.offset == 0.0 else -0.075
            for _ in range(4):  # as fast as an arm can be pushed
                self.offset = round(self.offset + step, 3)
                self.wait(20)
        self.wait(chunk["wait_ms"])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(chunks(), min_size=1, max_size=6))
def test_no_command_passes_a_limit(story):
    robot_ = Robot()
    for chunk in story:
        robot_.live(chunk)
    previous = None
    for command in robot_.sent:
        trajectory = command.trajectory
        found = violations(trajectory, LIMITS, BODY)
        if isinstance(command, Motion):
            assert found == []
            assert_smooth(trajectory)
            assert np.all((command.gripper >= 0) & (command.gripper <= 1))
            assert np.all(np.diff(command.gripper_ns) >= 0)
        else:  # coming to rest: its way is not refused for a box
            assert [each for each in found if each.limit.startswith("joint")] == []
        assert not trajectory.velocities[-1].any()
        if previous is not None and not any(chunk["event"] == "stray" for chunk in story):
            assert_goes_on(previous, trajectory)
        previous = trajectory


def assert_smooth(trajectory):
    """By other means than the executor's own check: a spline as the controller has it, every ms."""
    times_s = trajectory.times_ns / 1e9
    spline = CubicHermiteSpline(times_s, trajectory.positions, trajectory.velocities)
    instants_s = np.arange(0.0, times_s[-1], 1e-3)
    for order, limit in (
        (1, LIMITS.allowed_velocity_rad_s),
        (2, LIMITS.acceleration_rad_s2),
        (3, LIMITS.jerk_rad_s3),
    ):
        assert np.all(np.abs(spline(instants_s, order)) <= limit * 1.0001)
    assert np.all(spline(instants_s) >= LIMITS.position_lower_rad - 1e-3)
    assert np.all(spline(instants_s) <= LIMITS.position_upper_rad + 1e-3)
    poses = [BODY.forward(joints) for joints in spline(instants_s[::5])]
    tool, turns = np.stack([place for place, _ in poses]), [turn for _, turn in poses]
    turned = [
        (after * before.inv()).as_rotvec()
        for before, after in zip(turns[:-1], turns[1:], strict=True)
    ]
    for way, most in (
        (np.diff(tool, axis=0), (LIMITS.speed_m_s, LIMITS.acceleration_m_s2, LIMITS.jerk_m_s3)),
        (
            np.reshape(turned, (-1, 3)),
            (LIMITS.turn_rad_s, LIMITS.turn_rad_s2, LIMITS.turn_rad_s3),
        ),
    ):
        for order, limit in enumerate(most):
            rate = np.linalg.norm(np.diff(way, order, axis=0), axis=1) / 5e-3 ** (order + 1)
            assert rate.max(initial=0.0) <= limit * 1.02
    assert LIMITS.workspace.excess_m(tool).max() <= LIMITS.overshoot_m + 2e-3


def assert_goes_on(previous, trajectory):
    """Joined, two motions keep acceleration and jerk as one would."""
    if trajectory.start_ns <= previous.start_ns:
        return  # the one before never came into force
    before = previous.at(trajectory.start_ns)
    np.testing.assert_allclose(trajectory.positions[0], before.positions, atol=1e-9)
    np.testing.assert_allclose(trajectory.velocities[0], before.velocities, atol=1e-9)
    change = np.abs(trajectory.velocities[1] - before.velocities)
    assert np.all(change <= LIMITS.acceleration_rad_s2 * SAMPLE_NS / 1e9 * 1.001)


def test_the_stories_do_move_the_robot():
    """The property above would hold of an executor that refuses everything."""
    robot_ = Robot()
    for _ in range(6):
        robot_.live(
            {
                "age_ms": 75,
                "times_ns": np.arange(1, 9) * 100 * MS,
                "positions": np.outer(np.arange(1, 9), [0.0, -0.01, -0.005]),
                "quaternions": np.tile(ROTATION.as_quat(scalar_first=True), (8, 1)),
                "gripper": np.ones(8),
                "wait_ms": 100,
                "event": "",
            }
        )
    assert robot_.execution.accepted == 6, robot_.execution.reason
    tool, _ = BODY.forward(robot_.joints)
    assert tool[1] < POSITION[1] - 0.03


@pytest.mark.parametrize("field", ["positions", "quaternions", "gripper"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -1e300])
def test_numbers_that_are_none_are_refused(field, value):
    robot_ = Robot()
    chunk = {
        "age_ms": 20,
        "times_ns": np.array([100 * MS]),
        "positions": np.zeros((1, 3)),
        "quaternions": ROTATION.as_quat(scalar_first=True)[None],
        "gripper": np.ones(1),
        "wait_ms": 100,
        "event": "",
    }
    chunk[field] = np.full_like(chunk[field], value)
    robot_.live(chunk)
    assert robot_.execution.accepted == 0
    assert robot_.execution.refused == 1
