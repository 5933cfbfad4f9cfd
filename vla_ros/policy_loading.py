"""From the policy node's parameters to a policy that fits the robot and its cameras. No ROS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from policies.interface import Policy, SelfChecking, ToolLimits
from vla_ros.errors import UserError


def load_from_factory(parameters: Mapping[str, Any]) -> Policy:
    """The policy by the name or folder users give, and a planner around it if one is wanted.

    torch is imported here, not before.
    """
    from policies.factory import load_policy

    choice = None
    if parameters["planner"]:
        from vla_ros.planners import PlannerChoice

        choice = PlannerChoice(
            parameters["planner"],
            parameters["world_model"],
            deadline_ms=parameters["deadline_ms"],
            patience_s=parameters["patience_s"],
            device=parameters["device"],
        )
        choice.check_for_robot()  # before the weights are read
        if parameters["compile"]:
            raise UserError("compile: expected no planner: its numbers of samples vary")
    elif parameters["world_model"]:
        raise UserError("world_model: means nothing without a planner")
    policy = load_policy(
        parameters["policy"],
        device=parameters["device"],
        unnorm_key=parameters["unnorm_key"] or None,
        dtype=parameters["dtype"],
        quantization=parameters["quantization"] or None,
        compiled=parameters["compile"],
    )
    return policy if choice is None else choice.around(policy)


def check_cameras(wanted: list[str], policy: Policy) -> tuple[str, ...]:
    """The cameras to subscribe to; raises when the policy would miss one of its own."""
    cameras = tuple(name for name in wanted if name) or tuple(policy.cameras)
    missing = [name for name in policy.cameras if name not in cameras]
    if missing:
        raise ValueError(f"cameras: {policy.name} looks at {missing}, got {list(cameras)}")
    return cameras


def tool_limits(values: Mapping[str, Any], own: ToolLimits) -> ToolLimits:
    """Those of the parameters; what is 0 is the robot's own."""
    given = {name: values[name] for name in ("speed_m_s", "turn_rad_s", "step_m") if values[name]}
    return replace(own, **given)


def check_fit(policy: Policy, limits: ToolLimits) -> None:
    """A policy with a gate of its own passes it; raises `UnfitPolicyError` when it does not."""
    if isinstance(policy, SelfChecking):
        policy.check_fit(limits)
