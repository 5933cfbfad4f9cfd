"""What was given to a launch file that it does not declare. ROS's launch ignores that by itself.

No ROS: `vla_ros.launching` asks before anything starts.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from vla_ros.errors import UserError
from vla_ros.graph import Argument
from vla_ros.limits import JOINT_FIELDS
from vla_ros.robots import BOXES, NUMBERS

ALIKE = 0.75  # share of two names that is the same: one is the other, mistyped
LIMITS = (*JOINT_FIELDS, *NUMBERS, *BOXES)  # parameters of `executor_node`
OF_LAUNCH = ("ros_namespace", "emulate_tty")  # what ROS's launch passes on in the same way


def without_effect(arguments: Sequence[Argument], given: Mapping[str, object]) -> list[str]:
    """What there is to say of names in `given` that are no `arguments`: they change nothing.

    A launch file that includes ours has arguments of its own among them, so only those are refused
    that look meant for us: mistyped ones, and limits. Raises `UserError`.
    """
    known = [argument.name for argument in arguments]
    notes, refused = [], []
    for name, value in given.items():
        if name in known or name in OF_LAUNCH or not isinstance(value, str):
            continue
        if name in LIMITS:
            refused.append(
                f"{name} is a parameter of executor_node: write it to a YAML file and give that, "
                f"config:=FILE"
            )
        elif likely := _mistyped(name, known):
            refused.append(
                f"there is no {name}, but {', '.join(likely)}. If it belongs to a launch file "
                f"that includes this one, keep it there (GroupAction, forwarding=False)"
            )
        else:
            notes.append(
                f"argument: {name}:={value} changes nothing here: expected {', '.join(known)}"
            )
    if refused:
        raise UserError(f"argument: {'; '.join(refused)}")
    return notes


def _mistyped(name: str, known: Sequence[str]) -> list[str]:
    """Of `known` what `name` may have been meant for. `robot_ip` is a word more, no mistake."""
    if set(name.split("_")) & set(known):
        return []
    return difflib.get_close_matches(name, known, 3, ALIKE)
