"""Chunks become joint motions in time, within limits, or are refused with the reason."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from policies.interface import ActionChunk, ActionError, Observation
from sim import robot
from sim.evaluation.timing import rows_on_arrival
from vla_ros import messages
from vla_ros.body import Body
from vla_ros.checks import violations
from vla_ros.limits import FR3_LIMITS, Box
from vla_ros.planning import MOST_POSES, Begin, PoseChunk, plan
from vla_ros.trajectory import Phase

MS = 1_000_000
NOW = 50_000_000_000
BODY = Body()
HOME = robot.HOME_RAD
HOME_POSITION, HOME_ROTATION = BODY.forward(HOME)
DOWN = HOME_ROTATION.as_quat(scalar_first=True)


def chunk(offsets, age_ms=0.0, step_ms=100, **changes):
    """Poses at `offsets` (k, 3) [m] from the home pose, observed `age_ms` before now."""
    offsets = np.atleast_2d(np.asarray(offsets, dtype=float))
    count = len(offsets)
    values = {
        "stamp_ns": NOW - round(age_ms * MS),
        "times_ns": np.arange(1, count + 1) * step_ms * MS,
        "positions": HOME_POSITION + offsets,
        "quaternions": np.tile(DOWN, (count, 1)),
        "gripper": np.ones(count),
    }
    return PoseChunk(**(values | changes))


def motion(what, limits=FR3_LIMITS, begin=None):
    return plan(what, begin or Begin(NOW, Phase.at_rest(HOME)), limits, BODY)


def end_of(result):
    return BODY.forward(result.trajectory.positions[-1])


def test_the_motion_ends_where_the_chunk_says_at_rest():
    result = motion(chunk([[0.02, -0.01, 0.03], [0.04, -0.02, 0.05]]))
    position, rotation = end_of(result)
    np.testing.assert_allclose(position, HOME_POSITION + [0.04, -0.02, 0.05], atol=2e-3)
    assert (rotation * HOME_ROTATION.inv()).magnitude() < 0.02
    assert result.trajectory.start_ns == NOW
    np.testing.assert_array_equal(result.trajectory.positions[0], HOME)
    assert not result.trajectory.velocities[[0, -1]].any()
    assert violations(result.trajectory, FR3_LIMITS, BODY) == []


def test_slow_poses_are_passed_at_their_times():
    offsets = [[0.005 * i, 0, 0] for i in range(1, 9)]
    trajectory = motion(chunk(offsets)).trajectory
    for time_ms, offset in zip((400, 500, 600), (0.020, 0.025, 0.030), strict=True):
        position, _ = BODY.forward(trajectory.at(NOW + time_ms * MS).positions)
        np.testing.assert_allclose(position, HOME_POSITION + [offset, 0, 0], atol=3e-3)


def test_poses_in_the_past_are_dropped():
    offsets = [[0.01 * i, 0, 0] for i in range(1, 6)]
    result = motion(chunk(offsets, age_ms=250))  # ends at -150, -50, 50, 150, 250 ms
    assert len(result.gripper) == 3
    np.testing.assert_array_equal(result.meant_ns, np.array([50, 150, 250]) * MS)


def test_the_fingers_keep_to_the_times_of_the_arm():
    result = motion(chunk([[0.0, 0.08 * i, 0] for i in range(1, 4)], step_ms=100))
    assert np.all(result.reached_ns > result.meant_ns + 50 * MS)  # the arm is late
    np.testing.assert_array_equal(result.gripper_ns - NOW, [0, *result.reached_ns[:-1]])


def test_time_in_which_the_arm_stood_still_does_not_count_as_passed():
    offsets = [[0.01 * i, 0, 0] for i in range(1, 6)]
    begin = Begin(NOW, Phase.at_rest(HOME), held_ns=200 * MS)
    result = motion(chunk(offsets, age_ms=250), begin=begin)
    assert len(result.gripper) == 5
    np.testing.assert_array_equal(result.meant_ns, np.array([50, 150, 250, 350, 450]) * MS)


def passing(at_m, gripper=None):
    """Of five poses 1 cm apart, seen 250 ms ago, with an arm that its plan has at the first one;
    but it is `at_m` [m] along them, at 10 cm/s."""
    joints, error_m = BODY.inverse(HOME, HOME_POSITION + [at_m, 0, 0], HOME_ROTATION)
    ahead, _ = BODY.inverse(joints, HOME_POSITION + [at_m + 0.001, 0, 0], HOME_ROTATION)
    assert error_m < 1e-3
    phase = Phase(joints, (ahead - joints) / 0.01, np.zeros(7))
    begin = Begin(NOW, phase, held_ns=200 * MS, seen=HOME)
    poses = chunk([[0.01 * i, 0, 0] for i in range(1, 6)], age_ms=250)
    return motion(poses if gripper is None else replace(poses, gripper=gripper), begin=begin)


def test_an_arm_does_not_go_back_to_poses_that_it_has_passed():
    result = passing(0.015)
    assert len(result.gripper) == 4  # the second is next, half way there
    np.testing.assert_allclose(result.meant_ns / MS, [50, 150, 250, 350], atol=10)
    along = [BODY.forward(each)[0][0] for each in result.trajectory.positions]
    assert np.diff(along).min() > -1e-4
    assert len(passing(0.005).gripper) == 5  # the first is still before it
    assert len(passing(-0.005).gripper) == 5


def test_poses_whose_time_has_not_come_are_not_passed():
    assert len(passing(0.045).gripper) == 3  # by the clock two are over


def test_a_pose_at_which_the_fingers_move_is_gone_back_to():
    assert len(passing(0.015, np.array([1.0, 0.0, 0.0, 0.0, 0.0])).gripper) == 5
    assert len(passing(0.025, np.array([1.0, 1.0, 0.0, 0.0, 0.0])).gripper) == 4


@pytest.mark.parametrize("late_ticks", [0, 5, 20, 26, 49, 75, 300])
@pytest.mark.parametrize("held_ticks", [0, 12, 30])
def test_what_is_dropped_is_what_the_evaluation_drops(late_ticks, held_ticks):
    """The same rule as `sim.evaluation.timing.rows_on_arrival`, with its ticks of 4 ms."""
    tick_ns, held_ticks = 4 * MS, min(held_ticks, late_ticks)
    offsets = np.array([[0.01 * i, 0, 0] for i in range(1, 6)])
    stamp_ns = NOW - late_ticks * tick_ns
    rows = np.zeros((5, 7))
    rows[:, :3], rows[:, 6] = [0.01, 0, 0], 1.0
    observation = Observation({}, HOME, 1.0, HOME_POSITION, DOWN, "go", stamp_ns)
    kept = rows_on_arrival(
        ActionChunk(rows, stamp_ns, 0.1), observation, late_ticks, held_ticks, tick_ns, "align"
    )
    begin = Begin(NOW, Phase.at_rest(HOME), held_ns=held_ticks * tick_ns)
    result = motion(chunk(offsets, age_ms=late_ticks * 4), begin=begin)
    assert len(result.gripper) == len(kept)


@pytest.mark.parametrize("age_ms", [20, 90, 150, 400])
def test_a_single_late_pose_is_still_the_newest_target(age_ms):
    result = motion(chunk([0.02, 0, 0], age_ms=age_ms))
    np.testing.assert_allclose(end_of(result)[0], HOME_POSITION + [0.02, 0, 0], atol=2e-3)
    assert result.stamp_ns == NOW - age_ms * MS


def test_a_fast_motion_is_slowed_and_says_by_how_much():
    result = motion(chunk([[0.08, 0.08, 0.0], [0.16, 0.16, 0.0]], step_ms=50))
    assert violations(result.trajectory, FR3_LIMITS, BODY) == []
    assert re.search(r"slowed by \d+ ms to keep speed limits", "; ".join(result.notes))


@pytest.mark.parametrize(
    ("field", "value", "note"),
    [
        ("speed_m_s", 0.1, "tool speed: "),
        ("acceleration_m_s2", 0.5, "tool acceleration: "),
        ("jerk_m_s3", 20.0, "tool jerk: "),
        ("turn_rad_s", 0.1, "tool turning: "),
        ("turn_rad_s2", 0.5, "tool turning acceleration: "),
        ("turn_rad_s3", 20.0, "tool turning jerk: "),
    ],
)
def test_the_tool_keeps_its_own_limits_and_the_note_names_them(field, value, note):
    limits = replace(FR3_LIMITS, **{field: value})
    turned = (Rotation.from_euler("z", 0.05) * HOME_ROTATION).as_quat(scalar_first=True)
    result = motion(chunk([0, 0.05, 0], quaternions=turned[None]), limits)
    assert violations(result.trajectory, limits, BODY) == []
    assert any(note in text and "% of the speed" in text for text in result.notes)


def test_a_pose_a_little_outside_the_workspace_is_moved_inside():
    top = float(HOME_POSITION[2]) + 0.01
    limits = replace(FR3_LIMITS, workspace=Box((0.2, -0.45, 0.004), (0.78, 0.45, top)))
    result = motion(chunk([0, 0, 0.05]), limits)
    assert end_of(result)[0][2] == pytest.approx(top, abs=2e-3)
    assert "moved 40 mm back into the workspace" in result.notes[0]


def test_a_motion_stops_before_a_box_to_keep_out_of():
    wall = Box((0.4, 0.25, 0.0), (0.6, 0.4, 0.6))
    body = Body(keep_out=(wall,))
    offsets = [[0, 0.04 * i, 0] for i in range(1, 8)]
    result = plan(chunk(offsets), Begin(NOW, Phase.at_rest(HOME)), FR3_LIMITS, body)
    tool, _ = body.forward(result.trajectory.positions[-1])
    assert HOME_POSITION[1] + 0.03 < tool[1] < 0.25
    assert any(re.match(r"stops \d poses early: .*keep-out box 0", text) for text in result.notes)
    assert len(result.gripper) < 7


def test_what_would_go_into_a_box_at_once_is_refused():
    body = Body(keep_out=(Box((0.4, 0.14, 0.0), (0.6, 0.4, 0.6)),))
    with pytest.raises(ActionError, match="keep-out box 0"):
        plan(chunk([0, 0.1, 0]), Begin(NOW, Phase.at_rest(HOME)), FR3_LIMITS, body)


def test_near_a_singularity_it_goes_slower_and_then_not_on():
    condition = BODY.condition(HOME)
    far = motion(chunk([0.05, 0, 0])).trajectory.end_ns
    slow = replace(FR3_LIMITS, slow_condition=condition / 4, stop_condition=condition * 1.5)
    result = motion(chunk([0.05, 0, 0]), slow)
    assert result.trajectory.end_ns > far + 100 * MS
    assert "near a singularity" in result.notes[0]
    closed = replace(FR3_LIMITS, slow_condition=condition / 4, stop_condition=condition * 1.001)
    with pytest.raises(ActionError, match="a singularity: condition"):
        motion(chunk([0.1, 0, 0]), closed)


def test_a_new_chunk_takes_over_smoothly_and_by_and_by():
    old = motion(chunk([[0, 0.01 * i, 0] for i in range(1, 9)])).trajectory
    now = NOW + 300 * MS
    begin = Begin(now, old.at(now), old, blend_ns=200 * MS)
    poses = [[0.01, 0.01 * i, 0] for i in range(1, 9)]  # 1 cm beside the old path
    blended = motion(chunk(poses), begin=begin).trajectory
    hard = motion(chunk(poses), begin=replace(begin, blend_ns=0)).trajectory
    np.testing.assert_allclose(blended.velocities[0], old.at(now).velocities)
    beside = [
        BODY.forward(each.at(now + 100 * MS).positions)[0][0] - HOME_POSITION[0]
        for each in (old, blended, hard)
    ]
    assert beside[0] < beside[1] < beside[2]
    np.testing.assert_allclose(blended.positions[-1], hard.positions[-1], atol=1e-3)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (chunk([0.02, 0, np.nan]), "positions: expected finite numbers"),
        (chunk([0.02, 0, 0], quaternions=np.full((1, 4), np.inf)), "quaternions: expected finite"),
        (chunk([0.02, 0, 0], gripper=np.array([np.nan])), "gripper: expected finite"),
        (chunk([0.02, 0, 0], gripper=np.array([3.0])), "opening from 0 to 1"),
        (chunk([0.02, 0, 0], quaternions=np.ones((1, 4))), "unit length"),
        (chunk([0.02, 0, 0], times_ns=np.array([0])), "rising times"),
        (chunk([[0.02, 0, 0]] * 2, times_ns=np.array([MS, MS])), "rising times"),
        (chunk([0.02, 0, 0], gripper=np.ones(2)), "gripper: expected shape"),
        (chunk([0, 0.3, 0]), "0.30 m from the one before; at most 0.20 m expected"),
        (chunk([0, 0, 0.9]), "outside the workspace"),
    ],
)
def test_what_no_robot_should_do_is_refused(what, reason):
    with pytest.raises(ActionError, match=reason):
        motion(what)


def test_a_pose_out_of_reach_is_refused():
    everywhere = Box((-2.0, -2.0, -2.0), (2.0, 2.0, 2.0))
    limits = replace(FR3_LIMITS, workspace=everywhere, step_m=2.0, joint_step_rad=9.0)
    with pytest.raises(ActionError, match="out of reach: inverse kinematics leaves"):
        motion(chunk([0.9, 0, 0.3]), limits)


def test_joints_stay_within_their_limits_at_the_edge():
    tight = replace(FR3_LIMITS, position_upper_rad=HOME + 0.001, reach_error_m=0.5)
    positions = motion(chunk([0.05, 0, 0]), tight).trajectory.positions
    assert np.all(positions <= HOME + 0.001 + 1e-6)


@pytest.mark.parametrize("age_ms", [50, 250, 550])
def test_however_many_poses_are_dropped_only_the_first_step_may_be_longer(age_ms):
    leap = [[0.0, 0.0, 0.0]] * 7 + [[0.0, 0.40, 0.0]]
    with pytest.raises(ActionError, match="0.40 m from the one before; at most 0.20 m expected"):
        motion(chunk(leap, age_ms))
    dropped = [[0.0, 0.15, 0.0], [0.0, 0.30, 0.0], [0.0, 0.32, 0.0]]
    motion(chunk(dropped, age_ms=150))


# --- motions that would take too long -------------------------------------------------------


@pytest.mark.parametrize(
    ("velocity_fraction", "speed_m_s"), [(0.02, 0.01), (0.18, 0.01), (0.9, 0.01), (0.002, 1.0)]
)
@pytest.mark.parametrize("step_m", [0.0004, 0.02, 0.12])
def test_however_low_the_limits_it_moves_and_ends_at_rest_in_time(
    velocity_fraction, speed_m_s, step_m
):
    limits = replace(FR3_LIMITS, velocity_fraction=velocity_fraction, speed_m_s=speed_m_s)
    what = chunk(np.outer(np.arange(1, 9), [0.0, 0.6 * step_m, 0.8 * step_m]))
    what = replace(what, positions=np.minimum(what.positions, HOME_POSITION + [0, 0.3, 0.1]))
    result = motion(what, limits)
    trajectory = result.trajectory
    assert violations(trajectory, limits, BODY) == []
    assert trajectory.end_ns - NOW < 6.1e9
    assert not trajectory.velocities[-1].any()
    moved_m = np.linalg.norm(end_of(result)[0] - HOME_POSITION)
    assert moved_m > 0.002
    count = len(result.gripper)
    assert count == len(result.reached_ns) == len(result.meant_ns) == len(result.gripper_ns)
    assert np.all(np.diff(result.reached_ns) > 0)
    if count < 8:
        assert re.search("ends .* of 8 poses|ends at pose . of 8", "; ".join(result.notes))


def test_a_cut_motion_ends_at_one_of_the_poses_or_on_the_way_to_the_first():
    limits = replace(FR3_LIMITS, speed_m_s=0.02)
    poses = chunk(np.outer(np.arange(1, 9), [0.0, 0.02, 0.0]))
    result = motion(poses, limits)
    assert 1 < len(result.gripper) < 8
    np.testing.assert_allclose(
        end_of(result)[0], poses.positions[len(result.gripper) - 1], atol=2e-3
    )
    far = chunk([[0.0, 0.15, 0.0]])
    result = motion(far, limits)
    way = (end_of(result)[0] - HOME_POSITION) / 0.15
    assert 0.2 < way[1] < 0.9
    assert np.linalg.norm(way[[0, 2]]) < 0.05
    assert "on the way to the first of 1 poses" in "; ".join(result.notes)
    assert 0.2 < result.meant_ns[0] / (100 * MS) < 0.9  # as much of its time has passed then


def test_poses_that_are_wanted_only_later_than_the_longest_motion_are_not_looked_at():
    asked = []

    class Counting:
        def __getattr__(self, name):
            return getattr(BODY, name)

        def inverse(self, *arguments):
            asked.append(arguments)
            return BODY.inverse(*arguments)

    offsets = np.outer(np.arange(1, 101), [0.0, 0.001, 0.0])
    result = plan(
        chunk(offsets, step_ms=500), Begin(NOW, Phase.at_rest(HOME)), FR3_LIMITS, Counting()
    )
    assert len(asked) <= 12
    assert result.trajectory.end_ns - NOW < 6.1e9
    single = motion(chunk([0.0, 0.05, 0.0], step_ms=100_000))  # in 100 s
    assert 0.001 < np.linalg.norm(end_of(single)[0] - HOME_POSITION) < 0.01


def test_a_chunk_of_too_many_poses_is_refused_before_any_is_looked_at():
    """In 5000 of them the inverse kinematics took nine seconds, and a stop had to wait."""
    what = chunk(np.zeros((MOST_POSES + 1, 3)))
    with pytest.raises(ActionError, match="chunk: expected at most 100 poses, got 101"):
        plan(what, Begin(NOW, Phase.at_rest(HOME)), FR3_LIMITS, None)
    poses, gripper = messages.chunk_to_messages(chunk(np.zeros((20_000, 3))))
    poses.joint_names = []  # not even this is looked at
    with pytest.raises(ActionError, match="chunk: expected at most 100 poses, got 20000"):
        messages.chunk_from_messages(poses, gripper)


@pytest.mark.parametrize("step_ms", [1, 10, 30])
def test_the_longest_chunk_needs_few_looks_at_the_body(step_ms):
    """What planning costs, without a clock: a stop waits for all of it (100 ms on one core)."""
    looks = {"inverse": 0, "follow": 0, "tool_frames": 0}

    class Counting:
        def __getattr__(self, name):
            if name in looks:
                return lambda *given: self.count(name, given)
            return getattr(BODY, name)

        def count(self, name, given):
            looks[name] += 1 if name == "inverse" else len(given[0])
            return getattr(BODY, name)(*given)

    limits = replace(FR3_LIMITS, speed_m_s=0.01, velocity_fraction=0.3)
    k = np.arange(1, MOST_POSES + 1)
    offsets = 0.05 * np.stack([np.sin(k / 10), 0 * k, np.sin(k / 10) ** 2], axis=1)
    plan(chunk(offsets, step_ms=step_ms), Begin(NOW, Phase.at_rest(HOME)), limits, Counting())
    assert looks["inverse"] <= MOST_POSES  # 0.6 ms each
    assert looks["follow"] <= 6 * 301  # 0.03 ms each
    assert looks["tool_frames"] <= 6 * 6 * 300  # 0.007 ms each
