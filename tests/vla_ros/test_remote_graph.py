"""The graph with its policy on a server: when the server stops, the arm holds until it is back."""

import importlib.util
from pathlib import Path

import pytest

from policies.serving.background import serving
from policies.serving.server import PolicyServer, ServerSettings

pytestmark = pytest.mark.slow


def wandering_policy():
    """The policy of the script beside this file; it has no episode to remember."""
    path = Path(__file__).with_name("wandering_policy_node.py")
    specification = importlib.util.spec_from_file_location("wandering_policy_node", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.WanderingPolicy()


def test_the_arm_holds_while_the_server_is_away(start_graph, arm_of):
    server = serving(PolicyServer(wandering_policy(), ServerSettings(port=0)))
    port = server.__enter__()
    choices = {"policy": f"ws://127.0.0.1:{port}", "cameras": "front"}
    with start_graph(choices) as (processes, operator):
        operator.wait_until_ready(120.0)
        arm = arm_of(operator)
        arm.wait(lambda: arm.joints is not None, "waiting for joint states")
        operator.instruct("wander")
        arm.wait(lambda: arm.moves, "waiting for the arm to move")
        server.__exit__(None, None, None)
        arm.wait(
            lambda: "cannot connect" in arm.health("policy_node"), "waiting for the policy node"
        )
        arm.wait(lambda: arm.health().startswith("holding"), "waiting for the hold")
        arm.wait_for_rest()
        with serving(PolicyServer(wandering_policy(), ServerSettings(port=port))):
            arm.wait(lambda: arm.moves, "waiting for the arm to move again")
            assert not processes.ended()
