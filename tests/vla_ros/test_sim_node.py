"""The simulation never stands beside a robot."""

import time

import pytest
from rclpy.node import Node
from sensor_msgs.msg import JointState

from vla_ros import topics
from vla_ros.errors import UserError
from vla_ros.runtime import RELIABLE

PATIENCE_S = 30.0


@pytest.fixture
def start(own_domain):
    """`start(*remappings)`: the simulation, in a ROS domain of its own."""
    from vla_ros.sim_node import SimNode

    with own_domain() as domain:

        def make(*remappings):
            words = (w for each in remappings for w in ("-r", each))
            domain.init("-p", "image_size_px:=16", *words)
            return domain.keep(SimNode())

        yield make


@pytest.fixture
def publish():
    """`publish(name, topic)`: another node with a publisher of joint states."""
    nodes = []

    def make(name, topic):
        nodes.append(Node(name, use_global_arguments=False))
        nodes[-1].create_publisher(JointState, topic, RELIABLE)

    yield make
    for node in nodes:
        node.destroy_node()


def wait_for_publishers(node, topic, count):
    deadline_s = time.monotonic() + PATIENCE_S
    while node.count_publishers(topic) < count:
        assert time.monotonic() < deadline_s, "nothing was discovered"
        time.sleep(0.01)


def test_another_publisher_of_joint_states_ends_it_in_one_line(start, publish):
    node = start()
    node._publish_diagnostics()
    publish("joint_state_broadcaster", topics.JOINT_STATES)
    wait_for_publishers(node, topics.JOINT_STATES, 2)
    with pytest.raises(UserError) as caught:
        node._publish_diagnostics()
    assert "\n" not in str(caught.value)
    assert "/joint_states: expected no other publisher, got joint_state_broadcaster" in str(
        caught.value
    )
    assert "a simulation beside a robot" in str(caught.value)


def test_what_a_killed_simulation_left_behind_does_not(start, publish):
    node = start()
    publish("sim_node", topics.JOINT_STATES)
    wait_for_publishers(node, topics.JOINT_STATES, 2)
    node._publish_diagnostics()


def test_a_relay_under_the_usual_name_does_not(start, publish):
    """As in the fault campaign, where the simulation's joint states have another name."""
    node = start("/joint_states:=/raw/joint_states")
    publish("fault_rig", topics.JOINT_STATES)
    wait_for_publishers(node, topics.JOINT_STATES, 1)
    node._publish_diagnostics()
