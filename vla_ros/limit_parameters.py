"""The executor's limits as parameters of a node: what is not given is the robot's own.

They make an arm slower and its space another. How fast and hard it may go, its file says: that is
what its maker publishes or who wrote it chose, and what `policy_node` judges policies by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from vla_ros.errors import LimitsError, UserError
from vla_ros.limits import (
    LARGEST,
    REACH_M,
    Box,
    Limits,
    check_corner,
    check_keep_out,
    per_joint,
)
from vla_ros.runtime import Parameter

OWN = "; 0: the robot's own"
NUMBERS = (  # fields of `Limits` and their descriptions
    ("velocity_fraction", "Share of the joints' velocity limits to use"),
    ("speed_m_s", "Fastest tool speed"),
    ("acceleration_m_s2", "Largest tool acceleration"),
    ("jerk_m_s3", "Largest tool jerk"),
    ("turn_rad_s", "Fastest turning of the tool"),
    ("turn_rad_s2", "Largest turning acceleration of the tool"),
    ("turn_rad_s3", "Largest turning jerk of the tool"),
    ("step_m", "Longest step between two poses"),
    ("overshoot_m", "That the way between poses may bulge out of the workspace"),
    ("clearance_m", "Between parts of the robot, and to boxes to keep out of"),
    ("slow_condition", "Condition of the Jacobian from which it goes slower"),
    ("stop_condition", "Condition of the Jacobian where it does not go on"),
    ("gripper_effort_n", "Force of each finger"),
)
JOINTS = ("acceleration_rad_s2", "jerk_rad_s3")
AT_MOST_OWN = (
    *JOINTS, "speed_m_s", "acceleration_m_s2", "jerk_m_s3", "turn_rad_s", "turn_rad_s2",
    "turn_rad_s3",
)  # fmt: skip
CORNERS = ("workspace_low_m", "workspace_high_m")
LIMIT_PARAMETERS = (
    *(Parameter(name, 0.0, text + OWN, 0.0, LARGEST[name]) for name, text in NUMBERS),
    *(Parameter(name, [0.0], "Of the joints, one or each" + OWN) for name in JOINTS),
    *(Parameter(name, [0.0], "Box for the tool: x, y, z" + OWN) for name in CORNERS),
    Parameter(
        "keep_out_m",
        [0.0],
        "Boxes for no part, beside the robot's own: x, y, z low, x, y, z high, ...; 0: no others",
    ),
)


def limits_of(values: Mapping[str, Any], own: Limits) -> Limits:
    """`own` with what the parameters change; raises `UserError` for what cannot be meant."""
    given = {name: values[name] for name, *_ in NUMBERS if values[name] != 0.0}
    lists = {name: list(values[name]) for name in (*JOINTS, *CORNERS, "keep_out_m")}
    lists = {name: numbers for name, numbers in lists.items() if numbers != [0.0]}
    try:
        for name in JOINTS:
            if name in lists:
                if len(lists[name]) not in (1, own.joints):
                    raise LimitsError(
                        f"{name}: expected 1 number or {own.joints}, got {len(lists[name])}"
                    )
                one = lists[name][0] if len(lists[name]) == 1 else lists[name]
                if max(lists[name]) > LARGEST[name]:
                    raise LimitsError(
                        f"{name}: expected at most {LARGEST[name]:g}, got {max(lists[name]):g}: "
                        f"another unit?"
                    )
                given[name] = per_joint(one, own.joints)
        if any(name in lists for name in CORNERS):
            low = lists.get(CORNERS[0], own.workspace.low_m)
            high = lists.get(CORNERS[1], own.workspace.high_m)
            given["workspace"] = Box(tuple(low), tuple(high))
            for name, corner_m in zip(CORNERS, (low, high), strict=True):
                check_corner(name, corner_m, REACH_M)
        if numbers := lists.get("keep_out_m"):
            if len(numbers) % 6:
                raise LimitsError(f"keep_out_m: expected six numbers a box, got {len(numbers)}")
            rows = [numbers[index : index + 6] for index in range(0, len(numbers), 6)]
            boxes = tuple(Box(tuple(row[:3]), tuple(row[3:])) for row in rows)
            check_keep_out("keep_out_m", boxes)
            given["keep_out"] = own.keep_out + boxes
        _check_at_most(own, given)
        return replace(own, **given)
    except ValueError as error:  # `LimitsError` too
        raise UserError(f"executor_node: {error}") from error


def _check_at_most(own: Limits, given: Mapping[str, Any]) -> None:
    """Raise `LimitsError` for what would let the arm go faster or harder than its file does."""
    for name in (each for each in AT_MOST_OWN if each in given):
        most, got = np.atleast_1d(getattr(own, name)), np.atleast_1d(given[name])
        row = int(np.argmax(got / most))
        if got[row] > most[row]:
            raise LimitsError(
                f"{name}: expected at most the robot's own {most[row]:g}, got "
                f"{got[row]:g}: more belongs into a robot's file (robot:=FILE.yaml)"
            )
