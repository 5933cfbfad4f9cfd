"""Twists for MoveIt Servo: the motion's own speed, in SI units; zero at rest; within limits."""

from dataclasses import replace

import numpy as np
import pytest

from sim import robot
from vla_ros import messages
from vla_ros.body import Body
from vla_ros.command import Command
from vla_ros.limits import FR3_LIMITS
from vla_ros.planning import Begin, PoseChunk, plan
from vla_ros.servo import STILL, twist
from vla_ros.trajectory import Phase

MS = 1_000_000
START = 10**12
BODY = Body()
HOME = robot.HOME_RAD
POSITION, ROTATION = BODY.forward(HOME)


@pytest.fixture
def command():
    """A tool that goes 8 cm along y."""
    chunk = PoseChunk(
        START,
        np.arange(1, 9) * 100 * MS,
        POSITION + np.outer(np.arange(1, 9), [0.0, 0.01, 0.0]),
        np.tile(ROTATION.as_quat(scalar_first=True), (8, 1)),
        np.ones(8),
    )
    it = Command()
    it.replace(plan(chunk, Begin(START, Phase.at_rest(HOME)), FR3_LIMITS, BODY).trajectory)
    return it


def test_before_anything_and_at_rest_it_is_zero(command):
    assert twist(Command(), HOME, START, FR3_LIMITS, BODY) is STILL
    assert twist(command, HOME, command.end_ns, FR3_LIMITS, BODY) is STILL
    assert twist(command, HOME, command.end_ns + 10**9, FR3_LIMITS, BODY) is STILL


def test_integrated_the_twists_lead_where_the_motion_does(command):
    """What MoveIt Servo does with them, 50 times a second."""
    joints, now = HOME, START
    while now < command.end_ns:
        it = twist(command, joints, now, FR3_LIMITS, BODY)
        position, rotation = BODY.forward(joints)
        joints, _ = BODY.inverse(joints, position + it.linear_m_s * 0.02, rotation)
        now += 20 * MS
    position, _ = BODY.forward(joints)
    np.testing.assert_allclose(position, POSITION + [0, 0.08, 0], atol=5e-3)


def test_in_the_middle_it_is_the_tools_speed_in_metres_a_second(command):
    now = START + 400 * MS
    it = twist(command, command.at(now).positions, now, FR3_LIMITS, BODY)
    np.testing.assert_allclose(it.linear_m_s, [0, 0.1, 0], atol=0.04)
    np.testing.assert_allclose(it.angular_rad_s, 0, atol=0.1)


def test_an_arm_that_lags_does_not_make_it_faster_than_the_limits(command):
    slow = replace(FR3_LIMITS, speed_m_s=0.05, turn_rad_s=0.02)
    now = START + 400 * MS
    it = twist(command, HOME - 0.3, now, slow, BODY)
    assert np.linalg.norm(it.linear_m_s) <= 0.05 + 1e-12
    assert np.linalg.norm(it.angular_rad_s) <= 0.02 + 1e-12


def test_the_message_has_the_frame_and_the_time(command):
    it = twist(command, HOME, START + 400 * MS, FR3_LIMITS, BODY)
    message = messages.twist_stamped(it, "base", 1_500_000_000)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (1, 500_000_000)
    assert message.header.frame_id == "base"
    assert message.twist.linear.y == it.linear_m_s[1]
    assert message.twist.angular.z == it.angular_rad_s[2]


def test_one_that_brakes_can_go_without_being_drawn_to_the_motion(command):
    now = START + 400 * MS
    it = twist(command, HOME - 0.3, now, FR3_LIMITS, BODY, gain_per_s=0.0)
    there = twist(command, command.at(now).positions, now, FR3_LIMITS, BODY)
    np.testing.assert_allclose(it.linear_m_s, there.linear_m_s)
    np.testing.assert_allclose(it.angular_rad_s, there.angular_rad_s)
