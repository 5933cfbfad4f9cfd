"""The monitor catches a violation of every limit, and lets a real motion of the executor pass."""

from dataclasses import replace

import numpy as np
import pytest

from sim import robot
from sim.kinematics import Kinematics
from vla_ros.body import Body
from vla_ros.faults.monitor import CommandMonitor, JointCommand, worst
from vla_ros.limits import FR3_LIMITS, Box
from vla_ros.planning import Begin, PoseChunk, plan
from vla_ros.points import arm_points
from vla_ros.robots import FR3
from vla_ros.trajectory import Phase

MS = 1_000_000
HOME = robot.HOME_RAD
NOW = 10**12


def command(rows, speeds=None, step_ms=20, names=FR3.joint_names, efforts=(), times=None):
    rows = np.asarray(rows, float)
    speeds = np.zeros_like(rows) if speeds is None else speeds
    times = np.arange(1, len(rows) + 1) * step_ms * MS if times is None else np.array(times)
    return JointCommand(names, times, rows, speeds, efforts, NOW)


@pytest.fixture
def monitor():
    return CommandMonitor(FR3, Kinematics().forward, FR3_LIMITS)


def judge(monitor, given, measured=(HOME,)):
    found = worst(monitor.arm(given, measured))
    return found.limit if found else None


def moved(joint, values):
    """Rows of joints, of which one has `values`."""
    rows = np.tile(HOME, (len(values), 1))
    rows[:, joint] += values
    return rows


def test_a_motion_of_the_executor_passes_and_uses_some_of_the_limits(monitor):
    body = Body()
    tool, rotation = body.forward(HOME)
    chunk = PoseChunk(
        NOW,
        np.arange(1, 5) * 100 * MS,
        tool + np.outer(np.arange(1, 5), [0.0, 0.03, 0.0]),
        np.tile(rotation.as_quat(scalar_first=True), (4, 1)),
        np.ones(4),
    )
    motion = plan(chunk, Begin(NOW + 30 * MS, Phase.at_rest(HOME), now_ns=NOW), FR3_LIMITS, body)
    points = arm_points(motion.trajectory, NOW)
    given = JointCommand(
        FR3.joint_names, points.times_ns, points.positions, points.velocities, (), NOW
    )
    measures = monitor.arm(given, [HOME])
    assert worst(measures) is None
    used = {each.limit: each.found / each.allowed for each in measures if each.allowed > 0}
    assert 0.3 < used["joint jerk"] <= 1.0
    assert 0.05 < used["tool speed"] <= 1.0
    assert 0.005 < used["tool turning acceleration"] <= 1.0


def test_standing_still_passes(monitor):
    assert judge(monitor, command([HOME])) is None
    assert judge(monitor, command([HOME, HOME])) is None


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        (command([]), "malformed command: no points"),
        (command([HOME], names=("a",) * 7), "malformed command: joint names"),
        (command([HOME[:6]]), "malformed command: numbers per point"),
        (command([HOME * np.nan]), "malformed command: numbers that are not finite"),
        (command([HOME], speeds=np.full((1, 7), np.inf)),
         "malformed command: numbers that are not finite"),
        (command([HOME, HOME], times=[MS, MS]), "malformed command: times that do not rise"),
        (command([HOME], times=[0]), "malformed command: times that do not rise"),
        (command([HOME], speeds=moved(0, [0.1]) - HOME), "speed at the end"),
        (command(moved(3, [5.0]), step_ms=60_000), "joint beyond its range"),
        (command(moved(0, np.linspace(0, 1, 11)), step_ms=20), "joint jerk"),
        (command(moved(0, [0.0, 0.5]), step_ms=500), "joint acceleration"),
        (command(moved(0, [0.0, 2.8]), step_ms=1500), "joint velocity"),
        (command(moved(3, np.linspace(-0.45, -0.53, 5)), step_ms=100),
         "joint faster than allowed near the end of its range"),
        (command(moved(0, [0.3])), "jump at the start"),
        (command(moved(0, [0.0, 2.0]), step_ms=3000), "out of the workspace"),
    ],
)  # fmt: skip
def test_what_passes_a_limit_is_caught(monitor, given, limit):
    found = {each.limit for each in monitor.arm(given, [HOME]) if each.excess > 0}
    assert limit in found


def test_the_tools_limits_are_caught(monitor):
    limits = FR3_LIMITS.scaled(0.05)
    slow = CommandMonitor(FR3, Kinematics().forward, limits)
    way = moved(0, [0.0, 0.3])
    found = {m.limit for m in slow.arm(command(way, step_ms=1000), [HOME]) if m.excess > 0}
    assert "tool speed" in found


def whirl(directions, step_ms):
    """From home by 0.2 rad of each joint, from rest to rest, by one cubic polynomial."""
    return command(np.stack([HOME, HOME + 0.2 * np.array(directions)]), step_ms=step_ms)


ALONE = [0, 0, 0, 0, 0, 0, 1]
TOGETHER = [0, 1, 0, -1, 0, -1, 0]  # three about one axis


@pytest.mark.parametrize(
    ("given", "limit", "least"),
    [
        (whirl(TOGETHER, step_ms=300), "tool turning", 2.5),
        (whirl(TOGETHER, step_ms=400), "tool turning acceleration", 17.0),
        (whirl(TOGETHER, step_ms=80), "tool turning jerk", 8500.0),
    ],
)
def test_the_tools_turning_is_looked_at(monitor, given, limit, least):
    (found,) = (each for each in monitor.arm(given, [HOME]) if each.limit == limit)
    assert found.allowed == least
    assert found.excess > 0


def test_the_tools_turning_is_measured_as_it_is(monitor):
    """By hand: the last joint's axis is the tool's, and its cubic polynomial has 6 d / t^2."""
    measures = {each.limit: each for each in monitor.arm(whirl(ALONE, 400), [HOME])}
    assert measures["tool turning"].found == pytest.approx(1.5 * 0.2 / 0.4, rel=0.02)
    assert measures["tool turning acceleration"].found == pytest.approx(6 * 0.2 / 0.4**2, rel=0.03)
    assert measures["tool turning jerk"].found == pytest.approx(12 * 0.2 / 0.4**3, rel=0.01)


def test_the_robot_in_a_box_and_in_itself_is_caught():
    """The boxes are the limits'; what is in a box already may leave it."""
    tool, _ = Kinematics().forward(HOME)
    box = Box(tuple(tool + [-0.3, 0.15, -0.1]), tuple(tool + [0.3, 0.4, 0.1]))
    boxed = CommandMonitor(FR3, Kinematics().forward, replace(FR3_LIMITS, keep_out=(box,)))
    limit = "the robot in a box to keep out of"
    there = moved(0, [0.0, 0.3])  # 13 cm, and the hand is 10 cm wide to either side

    def beyond(given):
        return {each.limit for each in boxed.arm(given, [given.positions[0]]) if each.excess > 0}

    assert limit in beyond(command(there, step_ms=2000))
    assert limit not in beyond(command(moved(0, [0.0, -0.3]), step_ms=2000))
    assert limit not in beyond(command(there[::-1], step_ms=2000))
    assert limit not in beyond(command(there[1:]))  # held where it is
    folded = HOME.copy()
    folded[[1, 3, 5]] = -1.0, -3.04, 0.6
    assert "parts of the robot in each other" in beyond(
        command(np.stack([HOME, folded]), step_ms=9000)
    )


def test_a_command_begins_where_the_last_one_is_or_where_the_arm_is(monitor):
    way = moved(0, np.linspace(0, 0.2, 101))
    speeds = np.gradient(way, 0.02, axis=0)
    speeds[[0, -1]] = 0.0
    monitor.arm(command(way, speeds), [HOME])
    later = NOW + 1000 * MS
    half = moved(0, [0.1])
    on_its_way = JointCommand(FR3.joint_names, np.array([20 * MS]), half, half * 0, (), later)
    assert worst(monitor.arm(on_its_way, [HOME])) is None
    monitor.arm(command(way, speeds), [HOME])
    elsewhere = JointCommand(
        FR3.joint_names, np.array([20 * MS]), moved(0, [0.5]), half * 0, (), later
    )
    assert worst(monitor.arm(elsewhere, [HOME])).limit == "jump at the start"
    assert worst(monitor.arm(elsewhere, moved(0, [0.5]))) is None  # the arm is there


def test_a_far_target_with_time_to_get_there_is_no_jump(monitor):
    assert judge(monitor, command(moved(0, [0.5]), step_ms=1000)) is None


@pytest.mark.parametrize(
    ("opening", "effort", "limit"),
    [
        (0.02, 20.0, None),
        (0.2, 20.0, "gripper beyond its travel"),
        (0.02, 40.0, "gripper effort beyond"),
        (np.nan, 1.0, "malformed command: numbers that are not finite"),
    ],
)
def test_the_grippers_limits(monitor, opening, effort, limit):
    rows = np.full((2, 2), opening)
    given = command(rows, names=FR3.gripper.joints, efforts=[[effort] * 2] * 2)
    found = worst(monitor.gripper(given))
    assert (found.limit if found else None) == limit


def test_twists_are_limited_and_finite(monitor):
    assert worst(monitor.twist(np.array([0.5, 0, 0]), np.zeros(3))) is None
    assert worst(monitor.twist(np.array([1.5, 0, 0]), np.zeros(3))).limit == "tool speed"
    assert worst(monitor.twist(np.zeros(3), np.array([0, 9.0, 0]))).limit == "tool turning"
    assert worst(monitor.twist(np.full(3, np.nan), np.zeros(3))).excess == np.inf
