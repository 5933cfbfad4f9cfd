"""Near the ends of their range joints are slower, as the maker of the FR3 publishes it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sim import robot
from vla_ros import shaping
from vla_ros.body import Body
from vla_ros.checks import violations
from vla_ros.errors import LimitsError
from vla_ros.limits import FR3_LIMITS
from vla_ros.planning import Begin, PoseChunk, plan
from vla_ros.range_ends import RangeEnds
from vla_ros.trajectory import Phase, Trajectory

MS = 1_000_000
BODY = Body()
HOME = robot.HOME_RAD
ENDS = FR3_LIMITS.range_ends
WITHOUT = replace(FR3_LIMITS, range_ends=None)
# libfranka, include/franka/rate_limiting.h: per joint the greatest speed, the offset, the factor in
# the root, the upper and the lower end.
LIBFRANKA = (
    (2.62, 0.30, 12.0, 2.75010, -2.750100),
    (2.62, 0.20, 5.17, 1.79180, -1.791800),
    (2.62, 0.20, 7.00, 2.90650, -2.906500),
    (2.62, 0.30, 8.00, -0.1458, -3.048100),
    (5.26, 0.35, 34.0, 2.81010, -2.810100),
    (4.18, 0.35, 11.0, 4.52050, 0.540920),
    (5.26, 0.35, 34.0, 3.01960, -3.019600),
)


def published(joints):
    """(low, high) (7,) [rad/s] each, as libfranka computes them."""
    low, high = [], []
    for position, (most, offset, factor, upper, lower) in zip(joints, LIBFRANKA, strict=True):
        up = -offset + np.sqrt(max(0.0, factor * (upper - position)))
        down = offset - np.sqrt(max(0.0, factor * (position - lower)))
        high.append(min(most, max(0.0, up)))
        low.append(max(-most, min(0.0, down)))
    return np.array(low), np.array(high)


def test_the_fr3_has_the_limits_that_its_maker_publishes():
    random = np.random.default_rng(0)
    whole = replace(FR3_LIMITS, velocity_fraction=1.0)
    for _ in range(200):
        joints = random.uniform(robot.POSITION_LOWER_RAD, robot.POSITION_UPPER_RAD)
        np.testing.assert_allclose(whole.velocity_bounds_rad_s(joints), published(joints))
    assert whole.velocity_bounds_rad_s(HOME)[0][3] == pytest.approx(-1.80, abs=0.005)


def folding(limits, way_m, tilt_deg):
    """The plan for a hand that comes near to the base, so that joint 4 folds."""
    position, rotation = BODY.forward(HOME)
    share = np.arange(1, 9) / 8
    turns = Rotation.from_euler("y", tilt_deg * share[:, None], degrees=True)
    chunk = PoseChunk(
        0,
        np.arange(1, 9) * 30 * MS,
        position + np.outer(share, way_m),
        (turns * rotation).as_quat(scalar_first=True),
        np.ones(8),
    )
    return plan(chunk, Begin(0, Phase.at_rest(HOME)), limits, BODY).trajectory


def largest_share(trajectory):
    """Of the published speed, over all joints and samples."""
    shares = []
    for joints, speeds in zip(trajectory.positions, trajectory.velocities, strict=True):
        low, high = published(joints)
        allowed = np.where(speeds < 0, -low, high)
        shares.append(np.max(np.abs(speeds) / np.maximum(allowed, 1e-3)))
    return max(shares)


@pytest.mark.parametrize(("way_m", "tilt_deg"), [([-0.2, 0.0, 0.0], 0), ([-0.15, 0.2, 0.0], -30)])
def test_an_arm_that_folds_slows_down_toward_the_end(way_m, tilt_deg):
    assert largest_share(folding(WITHOUT, way_m, tilt_deg)) > 4.0
    trajectory = folding(FR3_LIMITS, way_m, tilt_deg)
    assert largest_share(trajectory) <= FR3_LIMITS.velocity_fraction + 1e-6
    goal = folding(WITHOUT, way_m, tilt_deg).positions[-1]
    assert np.abs(trajectory.positions[-1] - goal).max() < 0.02  # it still gets there
    assert violations(trajectory, FR3_LIMITS, BODY) == []


@pytest.mark.parametrize("joint", range(7))
@pytest.mark.parametrize("side", [0, 1])
def test_every_joint_gets_to_its_ends_and_away_again(joint, side):
    end = HOME.copy()
    end[joint] = FR3_LIMITS.target_range_rad[side][joint]
    near = end + 0.2 * np.sign(HOME - end)
    for way in ([near, end], [end, near]):
        trajectory, _ = shaping.through(
            Phase.at_rest(way[0]), 0, way[1][None], np.full(1, 0.02), FR3_LIMITS
        )
        assert largest_share(trajectory) <= FR3_LIMITS.velocity_fraction + 1e-6


@pytest.mark.parametrize("joint", range(7))
def test_only_the_last_part_of_a_long_way_to_an_end_is_slow(joint):
    end = HOME.copy()
    end[joint] = FR3_LIMITS.target_range_rad[0][joint]
    start = end.copy()
    start[joint] += 1.0
    waypoints = np.stack([(start + end) / 2, end])
    trajectory, reached_s = shaping.through(
        Phase.at_rest(start), 0, waypoints, np.array([0.02, 0.04]), FR3_LIMITS
    )
    # The last look slows what the smoothness of a passage adds.
    assert largest_share(trajectory) <= 1.02 * FR3_LIMITS.velocity_fraction
    assert reached_s[1] == pytest.approx(trajectory.end_ns / 1e9, abs=0.02)
    assert reached_s[1] < 2.5
    between = trajectory.at(round(reached_s[0] * 1e9)).positions
    np.testing.assert_allclose(between, waypoints[0], atol=2e-3)


def test_the_last_look_finds_what_is_too_fast_there():
    times_s = np.arange(11)[:, None] * 0.02
    joints = np.where(np.arange(7) == 3, -2.9 - 0.5 * times_s, HOME)
    speeds = np.where(np.arange(7) == 3, -0.5, np.zeros((11, 7)))
    trajectory = Trajectory(0, joints, speeds, np.zeros((11, 7)))
    found = {each.limit: each for each in violations(trajectory, FR3_LIMITS, BODY)}
    violation = found["joint velocity toward the end of its range"]
    assert (violation.detail, violation.order) == ("fr3_joint4", 1)
    assert violation.allowed == pytest.approx(0.9 * -published(joints[-1])[0][3])
    assert "joint velocity toward the end of its range" not in {
        each.limit for each in violations(trajectory, WITHOUT, BODY)
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"braking_rad_s2": np.zeros(7)}, "range_ends: expected braking_rad_s2 above 0"),
        ({"offset_rad_s": np.full(7, -0.1)}, "range_ends: .* offset_rad_s from 0 on"),
        ({"upper_rad": np.full(7, np.nan)}, "range_ends: upper_rad: expected 7 finite numbers"),
        ({"upper_rad": np.ones(6)}, "range_ends: upper_rad: expected 7 finite numbers"),
        ({"upper_rad": np.ones(7)}, "range_ends: expected ends around the joints' range"),
        ({"offset_rad_s": np.full(7, 50.0)}, "range_ends: expected some range in which"),
    ],
)
def test_ends_that_cannot_be_meant_are_refused(changes, reason):
    with pytest.raises(LimitsError, match=reason):
        replace(FR3_LIMITS, range_ends=replace(ENDS, **changes))


def test_ends_of_another_number_of_joints_are_refused():
    ends = RangeEnds(*(np.asarray(getattr(ENDS, name))[:6] for name in ENDS.__annotations__))
    with pytest.raises(LimitsError, match="range_ends: expected 7 numbers each, got 6"):
        replace(FR3_LIMITS, range_ends=ends)
