"""A policy that cannot be loaded is said so, and the robot holds; so do actions that are wrong."""

import numpy as np
import pytest
from lifecycle_msgs.srv import GetState
from trajectory_msgs.msg import JointTrajectory, MultiDOFJointTrajectory

from sim.kinematics import Kinematics
from vla_ros import messages, topics
from vla_ros.operator_node import GraphError
from vla_ros.planning import PoseChunk
from vla_ros.runtime import RELIABLE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def graph(start_graph, tmp_path_factory):
    folder = tmp_path_factory.mktemp("truncated")
    (folder / "config.json").write_text('{"model_type": "openv')
    with start_graph({"policy": str(folder), "cameras": "front"}) as (processes, operator):
        yield processes, operator


def test_a_truncated_checkpoint_is_named_and_the_node_stays_unconfigured(graph, arm_of):
    processes, operator = graph
    arm = arm_of(operator)
    with pytest.raises(GraphError, match="policy_node: cannot load policy '.*truncated"):
        operator.wait_until_ready(60.0)
    state = arm.call(GetState, "/policy_node/get_state").current_state.label
    assert state == "unconfigured"
    arm.wait(lambda: "waiting" in arm.health(), "waiting for the executor")
    assert not processes.ended()


def test_an_action_that_is_not_finite_makes_the_robot_hold(graph, arm_of):
    _, operator = graph
    arm = arm_of(operator)
    poses = operator.create_publisher(MultiDOFJointTrajectory, topics.ACTION_CHUNK, RELIABLE)
    gripper = operator.create_publisher(JointTrajectory, topics.GRIPPER_CHUNK, RELIABLE)
    arm.wait(lambda: arm.joints is not None, "waiting for joint states")
    arm.wait(lambda: poses.get_subscription_count() > 1, "discovery")
    operator.instruct("move")
    operator._pause(0.5)
    position, rotation = Kinematics().forward(arm.joints)

    def send(offset):
        chunk = PoseChunk(
            stamp_ns=operator.get_clock().now().nanoseconds,
            times_ns=np.array([100_000_000]),
            positions=(position + offset)[None],
            quaternions=rotation.as_quat(scalar_first=True)[None],
            gripper=np.ones(1),
        )
        for publisher, message in zip(
            (poses, gripper), messages.chunk_to_messages(chunk), strict=True
        ):
            publisher.publish(message)

    def moved():
        send([0.0, 0.0, 0.03])
        return arm.tool[2] > position[2] + 0.02

    arm.wait(moved, "waiting for the arm to follow")
    refused = "holding: action refused"
    for offset, reason in ((np.nan, "expected finite numbers"), (0.6, "from the one before")):

        def said(offset=offset, reason=reason):
            send([0.0, 0.0, offset])  # again: what comes while joint states are late is not read
            return arm.health().startswith(refused) and reason in arm.health()

        arm.wait(said, f"waiting for {reason!r}")
        arm.wait_for_rest()
