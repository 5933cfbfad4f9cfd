"""An operator's wishes become poses that cannot run away."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from policies.openvla.state import DOWN
from vla_ros.teleoperation import (
    Teleoperation,
    TeleoperationError,
    TeleoperationLimits,
    counts_from_ns,
)

PERIOD_NS = 50_000_000
HOME = np.array([0.45, 0.0, 0.3])


class FollowingArm:
    """An arm that is always where the newest chunk wanted it a moment ago (or stuck)."""

    def __init__(self, stuck=False, **limits):
        self.teleoperation = Teleoperation(TeleoperationLimits(**limits))
        self.now_ns = 10**18
        self.position, self.rotation = HOME.copy(), DOWN
        self.stuck = stuck

    def step(self, linear=None, angular=(0.0, 0.0, 0.0), measured=True):
        self.now_ns += PERIOD_NS
        if linear is not None:
            now_ns = self.now_ns
            self.teleoperation.on_twist(np.array(linear), np.array(angular), now_ns, now_ns)
        if measured:
            self.teleoperation.on_tool(self.position, self.rotation, 0.7, self.now_ns)
        chunk = self.teleoperation.step(self.now_ns)
        if chunk is not None and not self.stuck:
            share = PERIOD_NS / 100_000_000
            self.position = self.position + share * (chunk.positions[0] - self.position)
            self.rotation = Rotation.from_quat(chunk.quaternions[0], scalar_first=True)
        return chunk


def test_velocity_becomes_a_path_at_that_velocity():
    arm = FollowingArm()
    for _ in range(40):
        chunk = arm.step([0.1, 0.0, 0.0])
    moved = arm.position - HOME
    assert moved[0] == pytest.approx(0.1 * 40 * PERIOD_NS / 1e9, abs=0.02)
    assert moved[1:] == pytest.approx([0.0, 0.0], abs=1e-9)
    # The second pose of a chunk is 0.1 s after the first.
    assert chunk.positions[1] - chunk.positions[0] == pytest.approx([0.01, 0.0, 0.0])
    assert chunk.gripper.tolist() == [0.7, 0.7]  # as measured: nobody told anything else


def test_turns_are_about_the_base_frames_axes():
    arm = FollowingArm()
    chunk = arm.step([0.0, 0.0, 0.0], [0.0, 0.0, 0.5])
    first, second = (Rotation.from_quat(q, scalar_first=True) for q in chunk.quaternions)
    assert (second * first.inv()).as_rotvec() == pytest.approx([0.0, 0.0, 0.05])


def test_fast_wishes_are_slowed_in_their_direction():
    arm = FollowingArm(speed_m_s=0.2, turn_rad_s=0.5)
    chunk = arm.step([3.0, -4.0, 0.0], [0.0, 9.0, 0.0])
    step = (chunk.positions[1] - chunk.positions[0]) / 0.1
    assert step == pytest.approx([0.12, -0.16, 0.0])
    first, second = (Rotation.from_quat(q, scalar_first=True) for q in chunk.quaternions)
    assert (second * first.inv()).magnitude() == pytest.approx(0.05)


def test_an_arm_that_cannot_follow_is_not_run_away_from():
    arm = FollowingArm(stuck=True)
    for _ in range(100):
        chunk = arm.step([0.25, 0.0, 0.0], [0.0, 0.0, 1.0])
    ahead = 0.25 * 0.2  # within the chunk
    assert np.linalg.norm(chunk.positions[1] - HOME) <= 0.05 + ahead + 1e-9
    turned = Rotation.from_quat(chunk.quaternions[1], scalar_first=True) * DOWN.inv()
    assert turned.magnitude() <= 0.3 + 0.2 + 1e-9


def test_a_stale_twist_holds_where_the_arm_is_and_then_falls_silent():
    arm = FollowingArm()
    for _ in range(10):
        arm.step([0.2, 0.0, 0.0])
    arm.stuck = True
    chunks = [arm.step() for _ in range(20)]
    held = chunks[5]  # the twist is older than 0.2 s
    assert held.positions[0] == pytest.approx(arm.position)
    assert held.positions[1] == pytest.approx(arm.position)
    assert arm.teleoperation.state == "no input: nothing is sent"
    assert chunks[-1] is None
    assert arm.step([0.1, 0.0, 0.0]).positions[0][0] < arm.position[0] + 0.015  # no jump


@pytest.mark.parametrize("wrong_m", [-0.1, 0.03, 0.08])
def test_at_rest_an_arm_that_is_taken_to_be_elsewhere_does_not_run_away(wrong_m):
    arm = FollowingArm()
    teleoperation, offset = arm.teleoperation, np.array([0.0, 0.0, wrong_m])
    for _ in range(200):
        arm.now_ns += PERIOD_NS
        teleoperation.on_twist(np.zeros(3), np.zeros(3), arm.now_ns, arm.now_ns)
        teleoperation.on_tool(arm.position + offset, arm.rotation, 0.7, arm.now_ns)
        chunk = teleoperation.step(arm.now_ns)
        if chunk is not None:
            arm.position = chunk.positions[0]  # by its own, right kinematics
    assert np.linalg.norm(arm.position - HOME) <= abs(wrong_m) + 1e-9


def test_an_arm_that_was_moved_by_hand_while_it_held_moves_only_with_the_next_wish():
    arm = FollowingArm()
    arm.step([0.1, 0.0, 0.0])
    arm.step([0.0, 0.0, 0.0])
    arm.stuck, arm.position = True, arm.position + [0.0, 0.3, 0.0]
    assert [arm.step([0.0, 0.0, 0.0]) for _ in range(20)] == [None] * 20
    assert arm.teleoperation.state.startswith("the arm is not where it should hold")
    chunk = arm.step([0.1, 0.0, 0.0])
    assert chunk.positions[0] == pytest.approx(arm.position + [0.01, 0.0, 0.0])  # from where it is


def test_the_gripper_moves_while_the_arm_holds():
    arm = FollowingArm()
    arm.teleoperation.on_gripper(-3.0, arm.now_ns)
    chunk = arm.step()
    assert chunk.gripper.tolist() == [0.0, 0.0]
    assert chunk.positions[1] == pytest.approx(HOME)


def test_nothing_without_joints_or_from_numbers_that_are_none():
    arm = FollowingArm()
    assert arm.step([0.1, 0.0, 0.0], measured=False) is None
    with pytest.raises(TeleoperationError, match="twist: expected finite numbers"):
        arm.step([np.nan, 0.0, 0.0])
    chunk = arm.step()
    assert chunk is None or chunk.positions[1] == pytest.approx(HOME)
    with pytest.raises(TeleoperationError, match="gripper: expected a finite number"):
        arm.teleoperation.on_gripper(np.inf, arm.now_ns)


def test_an_old_or_future_stamp_moves_nothing():
    arm = FollowingArm()
    arm.step([0.0, 0.0, 0.0])
    now_ns = arm.now_ns
    arm.teleoperation.on_twist(np.ones(3), np.zeros(3), now_ns - 300_000_000, now_ns)
    assert arm.step().positions[1] == pytest.approx(HOME)
    with pytest.raises(TeleoperationError, match="the operator's clock is 300 ms ahead"):
        arm.teleoperation.on_twist(np.ones(3), np.zeros(3), now_ns + 300_000_000, now_ns)
    for _ in range(10):  # also when that time has come
        chunk = arm.step()
        assert chunk is None or chunk.positions[1] == pytest.approx(HOME)


@pytest.mark.parametrize("ahead_ms", [-50, 0, 50, 100, 101, 3000])
def test_whatever_the_stamps_said_the_arm_holds_when_the_operator_lets_go(ahead_ms):
    arm, ahead_ns = FollowingArm(), ahead_ms * 1_000_000
    arm.step([0.0, 0.0, 0.0])
    for _ in range(20):
        now_ns = arm.now_ns
        twist = (np.array([0.2, 0.0, 0.0]), np.zeros(3), now_ns + ahead_ns, now_ns)
        if ahead_ms > 100:
            with pytest.raises(TeleoperationError, match=f"operator's clock is {ahead_ms} ms"):
                arm.teleoperation.on_twist(*twist)
        else:
            arm.teleoperation.on_twist(*twist)
        arm.step()
    assert (arm.position[0] > HOME[0] + 0.1) == (ahead_ms <= 100)
    let_go_ns = arm.now_ns - PERIOD_NS  # when the last twist arrived
    while arm.now_ns < let_go_ns + 200_000_000:
        arm.step()
    rest = arm.position
    for _ in range(100):  # 5 s
        arm.step()
        assert arm.position == pytest.approx(rest, abs=1e-9)


def test_a_message_never_counts_from_after_its_arrival():
    now_ns, ms = 10**18, 1_000_000
    assert counts_from_ns(now_ns - 3 * ms, now_ns, "its") == now_ns - 3 * ms
    assert counts_from_ns(now_ns + 100 * ms, now_ns, "its") == now_ns
    assert counts_from_ns(0, now_ns, "its") == now_ns  # not stamped
    with pytest.raises(TeleoperationError, match="its clock is 101 ms ahead of this machine's"):
        counts_from_ns(now_ns + 101 * ms, now_ns, "its")


def test_a_measured_pose_from_before_the_clock_was_set_back_is_not_believed():
    arm = FollowingArm()
    arm.step([0.1, 0.0, 0.0])
    arm.now_ns -= 150_000_000
    assert arm.step([0.1, 0.0, 0.0], measured=False) is None
    assert arm.teleoperation.state == "waiting for joint states"


def test_a_clock_set_back_does_not_go_on_for_ever():
    arm = FollowingArm()
    arm.step([0.1, 0.0, 0.0])
    arm.now_ns -= 3600 * 10**9
    assert arm.step() is None
    assert arm.step([0.1, 0.0, 0.0]) is not None
