"""A node takes the parameters that it has, and refuses others with the nearest that it has."""

import time
from dataclasses import replace

import pytest
import rclpy
from rclpy.node import Node

from vla_ros.errors import UserError
from vla_ros.graph import describe
from vla_ros.processes import Processes, private_environment
from vla_ros.runtime import Parameter, declare, run_node


@pytest.fixture
def ros_node(monkeypatch):
    """Makes a node of the real rclpy that gets parameters as from a file or command line."""
    for name, value in private_environment().items():
        monkeypatch.setenv(name, value)
    context, nodes = rclpy.Context(), []
    context.init()

    def make(*parameters):
        words = ["--ros-args", *(word for each in parameters for word in ("-p", each))]
        nodes.append(Node("careful_node", context=context, cli_args=words))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


PARAMETERS = (
    Parameter("velocity_fraction", 0.9, "Share", 0.0, 1.0),
    Parameter("speed_m_s", 1.0, "Speed"),
    Parameter("keep_out_m", [0.0], "Boxes"),
)


def test_what_rclpy_knows_and_the_node_declares_is_taken(ros_node):
    node = ros_node(
        "speed_m_s:=0.1", "use_sim_time:=true", "qos_overrides./a.publisher.depth:=3"
    )  # fmt: skip
    assert declare(node, PARAMETERS)["speed_m_s"] == 0.1


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (
            ["velocty_fraction:=0.1", "sped_m_s:=0.05"],
            "^careful_node: parameter: there is no 'sped_m_s', but speed_m_s; "
            "there is no 'velocty_fraction', but velocity_fraction$",
        ),
        (["zzz:=1"], "there is no 'zzz', but keep_out_m, speed_m_s, velocity_fraction$"),
        (["keep_out_m.x:=1"], "there is no 'keep_out_m.x', but keep_out_m$"),
        (["keep_out_m:=[]"], "keep_out_m: expected list, got nothing or an empty list"),
    ],
)
def test_a_parameter_that_there_is_not_is_refused(ros_node, given, reason):
    with pytest.raises(UserError, match=reason):
        declare(ros_node(*given), PARAMETERS)


@pytest.mark.parametrize("text", ["{{{", "speed_m_s: 0.05"])
def test_a_file_that_ros_cannot_read_ends_a_node_with_a_line_and_status_2(text, tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(SystemExit, match="2"):
        run_node(lambda: None, ["--ros-args", "--params-file", str(path)])
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("error: arguments for ROS:")
    assert str(path) in error
    assert "Traceback" not in error


def test_a_graph_with_a_misspelled_limit_ends_and_is_not_started_anew(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("executor_node: {ros__parameters: {velocty_fraction: 0.1}}")
    graph = describe({"config": str(path)})
    graph = replace(graph, nodes=tuple(n for n in graph.nodes if n.name == "executor_node"))
    with Processes(graph, lambda *_: None, private_environment(), respawn=True) as processes:
        deadline_s = time.monotonic() + 60
        while not processes.ended() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert processes.ended() == {"executor_node": 2}
        assert processes.restarts == {"executor_node": 0}
        assert processes.last_lines["executor_node"] == [
            "error: executor_node: parameter: there is no 'velocty_fraction', but velocity_fraction"
        ]
