"""The executor's limits as parameters of a node: what is not given is the robot's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

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
CORNERS = ("workspace_low_m", "workspace_high_m")
LIMIT_PARAMETERS = (
    *(Parameter(name, 0.0, text + OWN, 0.0, LARGEST[name]) for name, text in NUMBERS),
    *(Parameter(name, [0.0], "Of the joints, one or each" + OWN) for name in JOINTS),
    *(Parameter(name, [0.0], "Box for the tool: x, y, z" + OWN) for name in CORNERS),
    Parameter("keep_out_m", [0.0], "Boxes for no part: x, y, z low, x, y, z high, ..." + OWN),
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
            given["keep_out"] = tuple(Box(tuple(row[:3]), tuple(row[3:])) for row in rows)
            check_keep_out("keep_out_m", given["keep_out"])
        return replace(own, **given)
    except ValueError as error:  # `LimitsError` too
        raise UserError(f"executor_node: {error}") from error
