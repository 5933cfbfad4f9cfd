"""An executor as on a robot that dies, or is ended, in motion: what becomes of the arm."""

import os
import signal

import pytest
from std_msgs.msg import Bool
from trajectory_msgs.msg import JointTrajectory

from vla_ros import messages, topics
from vla_ros.runtime import RELIABLE, TWICE_HEARD

pytestmark = pytest.mark.slow
AS_ON_A_ROBOT = """
executor_node: {ros__parameters: {old_instructions: false, joint_timeout_s: 2.0}}
"""
BRAKING_NS = 500_000_000  # no brake takes longer; a motion of the wandering policy does
AWAITS = "started: waiting for an instruction"


@pytest.fixture(scope="module")
def wandering(start_graph, arm_of, tmp_path_factory):
    config = tmp_path_factory.mktemp("config") / "robot.yaml"
    config.write_text(AS_ON_A_ROBOT)
    choices = {"cameras": "front", "config": str(config)}
    scripts = {"policy_node": "wandering_policy_node.py"}
    said = []
    with start_graph(choices, scripts, lambda *line: said.append(line), True) as graph:
        processes, operator = graph
        processes.said = said
        operator.wait_until_ready()
        yield processes, operator, arm_of(operator)


def wander(operator, arm):
    operator.instruct("wander")
    arm.wait(lambda: arm.moves, "waiting for the arm to move")


def wait_for_another(processes, operator, arm, restarts):
    """Until there is another executor than after so many restarts, and has spoken."""
    arm.wait(lambda: processes.restarts["executor_node"] > restarts, "waiting for another executor")
    operator.health.pop("executor_node", None)  # the last one's
    arm.wait(lambda: AWAITS in arm.health(), "waiting for it to say what it waits for")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_is_ended_brakes_first(wandering, number):
    processes, operator, arm = wandering
    last = []  # how long the motion lasts that was sent last
    heard = operator.create_subscription(
        JointTrajectory, topics.ARM_COMMAND,
        lambda m: last.append(messages.to_ns(m.points[-1].time_from_start)), 100,
    )  # fmt: skip
    wander(operator, arm)
    arm.wait(lambda: last and last[-1] > BRAKING_NS and arm.moves, "waiting for a long motion")
    restarts, count = processes.restarts["executor_node"], len(last)
    for _ in range(2):  # as a parent may, that ends what its terminal has ended already
        os.kill(processes.pids["executor_node"], number)
    wait_for_another(processes, operator, arm, restarts)
    assert last[count:], "nothing was sent before the end"
    assert last[-1] < BRAKING_NS
    assert ("executor_node", "ended with status 0; it is started anew") in processes.said
    operator.destroy_subscription(heard)


def test_one_that_was_killed_waits_for_an_instruction_though_the_old_one_is_latched(wandering):
    processes, operator, arm = wandering
    wander(operator, arm)
    stop = operator.create_publisher(
        Bool, topics.EMERGENCY_STOP, RELIABLE, event_callbacks=TWICE_HEARD
    )
    restarts = processes.restarts["executor_node"]
    os.kill(processes.pids["executor_node"], signal.SIGKILL)
    stop.publish(Bool(data=True))  # nobody hears it
    operator.destroy_publisher(stop)
    wait_for_another(processes, operator, arm, restarts)
    arm.wait(lambda: "before, by its sender's clock" in arm.health(), "waiting for the latched one")
    arm.wait_for_rest()  # though chunks come all the time
    arm.wait_for_rest()
    assert arm.health().startswith("waiting: " + AWAITS)
    wander(operator, arm)  # the same text, published anew
