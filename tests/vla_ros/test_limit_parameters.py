"""Limits as a node's parameters: nothing given is the robot's own, nonsense is refused."""

from dataclasses import fields, replace

import numpy as np
import pytest

from vla_ros.errors import LimitsError, UserError
from vla_ros.limit_parameters import LIMIT_PARAMETERS, limits_of
from vla_ros.limits import FR3_LIMITS, Box, Limits
from vla_ros.robots import NUMBERS

DEFAULTS = {parameter.name: parameter.default for parameter in LIMIT_PARAMETERS}


def given(**values):
    return limits_of(DEFAULTS | values, FR3_LIMITS)


def test_without_parameters_the_limits_are_the_robots_own():
    for field in fields(Limits):
        ours, own = getattr(given(), field.name), getattr(FR3_LIMITS, field.name)
        np.testing.assert_equal(ours, own)


def test_what_is_given_replaces_the_robots():
    limits = given(
        speed_m_s=0.1,
        acceleration_rad_s2=[2.0],
        jerk_rad_s3=[float(i) for i in range(1, 8)],
        workspace_low_m=[0.3, -0.1, 0.1],
        keep_out_m=[0.0, 0, 0, 1, 1, 1, -1, -1, -1, 0, 0, 0],
    )
    assert limits.speed_m_s == 0.1
    np.testing.assert_array_equal(limits.acceleration_rad_s2, np.full(7, 2.0))
    np.testing.assert_array_equal(limits.jerk_rad_s3, np.arange(1, 8))
    assert limits.workspace == Box((0.3, -0.1, 0.1), FR3_LIMITS.workspace.high_m)
    assert len(limits.keep_out) == 2


def test_boxes_to_keep_out_of_are_added_to_the_robots():
    post, wall = Box((0.7, 0.2, 0.0), (0.8, 0.3, 1.0)), Box((-1.0, -1.0, 0.0), (-0.5, 1.0, 1.0))
    own = replace(FR3_LIMITS, keep_out=(post,))
    both = limits_of(DEFAULTS | {"keep_out_m": [*wall.low_m, *wall.high_m]}, own)
    assert both.keep_out == (post, wall)
    assert limits_of(DEFAULTS, own).keep_out == (post,)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"keep_out_m": [1.0, 2.0]}, "keep_out_m: expected six numbers a box, got 2"),
        ({"workspace_low_m": [1.0, 2.0, 3.0]}, "box: expected x, y, z"),
        ({"workspace_low_m": [1.0]}, "box: expected x, y, z"),
        ({"jerk_rad_s3": [1.0, 2.0]}, "jerk_rad_s3: expected 1 number or 7, got 2"),
        ({"jerk_rad_s3": [-1.0]}, "jerk_rad_s3: expected numbers above 0"),
        ({"acceleration_rad_s2": [float("nan")]}, "acceleration_rad_s2: expected 7 finite"),
        ({"acceleration_rad_s2": [286.0]}, "acceleration_rad_s2: expected at most 100, got 286"),
        (
            {"acceleration_rad_s2": [10.0, 10.0, 10.0, 10.0, 10.0, 11.0, 10.0]},
            r"acceleration_rad_s2: expected at most the robot's own 10, got 11: .*robot:=FILE.yaml",
        ),
        ({"acceleration_m_s2": 50.0}, "acceleration_m_s2: expected at most the robot's own 9, got"),
        ({"turn_rad_s2": 18.0}, "turn_rad_s2: expected at most the robot's own 17, got 18"),
        ({"speed_m_s": 1.5}, "speed_m_s: expected at most the robot's own 1, got 1.5"),
        ({"workspace_low_m": ["a", "b", "c"]}, "box: expected x, y, z"),
        (
            {"workspace_low_m": [-200.0, -450.0, -40.0], "workspace_high_m": [780.0, 450.0, 700.0]},
            r"workspace_low_m: expected x, y, z \[m\], at most 10 m from the base, got .*: mm",
        ),
        ({"workspace_high_m": [780.0, 450.0, 700.0]}, "workspace_high_m: expected .*: mm"),
        ({"keep_out_m": [400.0, -450.0, 0.0, 780.0, 450.0, 99.0]}, "keep_out_m: .*100 m.*: mm"),
        (
            {"keep_out_m": [-0.5, -0.5, -0.2, 0.5, 0.5, 0.4]},
            "keep_out_m: expected boxes beside the robot, got one around its base",
        ),
        ({"slow_condition": 50.0}, "slow_condition: expected less than stop_condition"),
    ],
)
def test_nonsense_is_refused_with_the_field(values, reason):
    with pytest.raises(UserError, match=reason):
        given(**values)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_every_number_is_checked(name, value):
    with pytest.raises(LimitsError, match=name):
        Limits(*(getattr(FR3_LIMITS, f) for f in JOINT_FIELDS), **{name: value})


JOINT_FIELDS = [field.name for field in fields(Limits)][:5]
