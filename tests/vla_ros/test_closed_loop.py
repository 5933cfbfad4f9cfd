"""The closed loop over real ROS topics, between real processes: it moves, and it stops."""

import os
import signal

import numpy as np
import pytest
from rcl_interfaces.srv import SetParameters
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from vla_ros import messages, topics
from vla_ros.runtime import RELIABLE, SENSOR

pytestmark = pytest.mark.slow
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def wandering(start_graph, arm_of):
    with start_graph({"cameras": "front"}, {"policy_node": "wandering_policy_node.py"}) as graph:
        processes, operator = graph
        operator.wait_until_ready()
        arm = arm_of(operator)
        arm.wait(lambda: arm.joints is not None, "waiting for joint states")
        yield processes, operator, arm


def test_the_arm_goes_where_the_instruction_says(wandering):
    _, operator, arm = wandering
    target = np.array([0.45, 0.10, 0.30])
    operator.instruct("go to 0.45 0.10 0.30")
    arm.wait(lambda: np.linalg.norm(arm.tool - target) < 0.01, "waiting for the tool to arrive")


def test_the_empty_instruction_holds(wandering):
    _, operator, arm = wandering
    operator.instruct("wander")
    arm.wait(lambda: arm.moves, "waiting for the arm to move")
    operator.instruct("")
    arm.wait(lambda: "instruction is empty" in arm.health(), "waiting for the hold")
    arm.wait_for_rest()


def test_an_emergency_stop_holds_until_reset(wandering):
    _, operator, arm = wandering
    operator.instruct("wander")
    arm.wait(lambda: arm.moves, "waiting for the arm to move")
    stop = operator.create_publisher(Bool, topics.EMERGENCY_STOP, RELIABLE)
    operator.wait_until(lambda: stop.get_subscription_count() > 0, PATIENCE_S, "discovery")
    stop.publish(Bool(data=True))
    arm.wait(lambda: "emergency stop" in arm.health(), "waiting for the emergency stop")
    arm.wait_for_rest()
    stop.publish(Bool(data=False))  # is no reset
    arm.wait_for_rest()
    assert "emergency stop" in arm.health()
    answer = arm.call(Trigger, topics.EXECUTOR_RESET)
    assert (answer.success, answer.message) == (True, "stop ended; publish an instruction to go on")
    arm.wait(lambda: "reset: waiting for an instruction" in arm.health(), "waiting for the reset")
    arm.wait_for_rest()  # though chunks come all the time
    operator.instruct("wander")  # the same text, published anew
    arm.wait(lambda: arm.moves, "waiting for the arm to move again")
    assert not arm.call(Trigger, topics.EXECUTOR_RESET).success


def test_an_unknown_task_is_refused_with_the_choices(wandering):
    from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue

    _, operator, arm = wandering
    value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value="Juggle")
    request = SetParameters.Request(parameters=[Parameter(name="task", value=value)])
    result = arm.call(SetParameters, topics.SIM_PARAMETERS, request).results[0]
    assert not result.successful
    assert result.reason.startswith("task: expected one of Lift, PickPlace, Push, ")
    assert result.reason.endswith("got 'Juggle'")


def test_an_image_of_the_wrong_size_is_refused(wandering):
    from sensor_msgs.msg import Image

    _, operator, arm = wandering
    publisher = operator.create_publisher(Image, topics.image_topic("front"), SENSOR)
    operator.wait_until(lambda: publisher.get_subscription_count() > 1, PATIENCE_S, "discovery")
    heard = []

    def refused():
        stamp_ns = operator.get_clock().now().nanoseconds
        small = np.zeros((8, 8, 3), np.uint8)
        publisher.publish(messages.image_to_message(small, stamp_ns, "front"))
        heard.append(arm.health("policy_node"))
        return any("expected 224 x 224, got 8 x 8" in text for text in heard)

    operator.wait_until(refused, PATIENCE_S, "waiting for the policy node to refuse")
    operator.destroy_publisher(publisher)


def test_a_killed_policy_leaves_the_arm_holding_where_it_is(wandering):
    processes, operator, arm = wandering
    operator.instruct("wander")
    arm.wait(lambda: arm.moves, "waiting for the arm to move")
    os.kill(processes.pids["policy_node"], signal.SIGKILL)
    # On a busy machine joint states may be late as well, and that the reason.
    arm.wait(lambda: not arm.health().startswith("moving"), "waiting for the hold")
    arm.wait_for_rest()
    assert processes.ended() == {"policy_node": -signal.SIGKILL}
