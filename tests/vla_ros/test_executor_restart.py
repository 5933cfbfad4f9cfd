"""An executor as on a robot that dies, or is ended, in motion: what becomes of the arm."""

import os
import signal

import pytest
from std_msgs.msg import Bool

from vla_ros import topics
from vla_ros.runtime import RELIABLE, TWICE_HEARD

pytestmark = pytest.mark.slow
AS_ON_A_ROBOT = """
executor_node: {ros__parameters: {old_instructions: false, joint_timeout_s: 2.0}}
"""
AWAITS = "started: waiting for an instruction"


@pytest.fixture(scope="module")
def wandering(start_graph, arm_of, tmp_path_factory):
    config = tmp_path_factory.mktemp("config") / "robot.yaml"
    config.write_text(AS_ON_A_ROBOT)
    choices = {"cameras": "front", "config": str(config)}
    scripts = {"policy_node": "wandering_policy_node.py"}
    with start_graph(choices, scripts, respawn=True) as (processes, operator):
        operator.wait_until_ready()
        yield processes, operator, arm_of(operator)


def wander(operator, arm):
    operator.instruct("wander")
    arm.wait(lambda: arm.moves, "waiting for the arm to move")


def test_one_that_was_killed_waits_for_an_instruction_though_the_old_one_is_latched(wandering):
    processes, operator, arm = wandering
    wander(operator, arm)
    stop = operator.create_publisher(
        Bool, topics.EMERGENCY_STOP, RELIABLE, event_callbacks=TWICE_HEARD
    )
    count = processes.restarts["executor_node"]
    os.kill(processes.pids["executor_node"], signal.SIGKILL)
    stop.publish(Bool(data=True))  # nobody hears it
    operator.destroy_publisher(stop)
    operator.health.pop("executor_node", None)
    arm.wait(lambda: processes.restarts["executor_node"] > count, "waiting for another executor")
    arm.wait(lambda: AWAITS in arm.health(), "waiting for it to say what it waits for")
    arm.wait(lambda: "before, by its sender's clock" in arm.health(), "waiting for the latched one")
    arm.wait_for_rest()  # though chunks come all the time
    arm.wait_for_rest()
    assert arm.health().startswith("waiting: " + AWAITS)
    wander(operator, arm)  # the same text, published anew
