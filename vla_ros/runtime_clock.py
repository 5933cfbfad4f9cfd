"""`use_sim_time` is chosen when a node starts. Set later, it would stop the node's timers."""

from __future__ import annotations

from collections.abc import Sequence

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node

USE_SIM_TIME = "use_sim_time"


def uses_simulated_time(node: Node) -> bool:
    return bool(node.get_parameter(USE_SIM_TIME).value)


def keep_time_source(node: Node) -> None:
    """Refuse another `use_sim_time` from now on.

    Without `/clock` time would stand still: no watchdog would bark, and nobody would know what the
    arm does by what it was sent.
    """
    simulated = uses_simulated_time(node)

    def refuse(parameters: Sequence[rclpy.Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == USE_SIM_TIME and parameter.value is not simulated:
                told = str(simulated).lower()
                reason = (
                    f"{USE_SIM_TIME}: expected {told}, as at the start of {node.get_name()}, "
                    f"got {parameter.value!r}; start the node anew to change it"
                )
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(refuse)
