"""`use_sim_time` is chosen when a node starts, and not later."""

import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter

from vla_ros.runtime import declare


@pytest.mark.parametrize("simulated", [False, True])
def test_the_time_source_stays_that_of_the_start(own_domain, simulated):
    with own_domain() as domain:
        domain.init("-p", f"use_sim_time:={str(simulated).lower()}")
        node = domain.keep(Node("any_node"))
        declare(node, ())
        (other,) = node.set_parameters([Parameter("use_sim_time", value=not simulated)])
        assert not other.successful
        assert f"expected {str(simulated).lower()}" in other.reason
        assert "start the node anew" in other.reason
        assert node.get_parameter("use_sim_time").value is simulated
        assert node.get_clock().ros_time_is_active is simulated
        (same,) = node.set_parameters([Parameter("use_sim_time", value=simulated)])
        assert same.successful
