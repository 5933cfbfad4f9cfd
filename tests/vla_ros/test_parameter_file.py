"""A file of parameters is checked before a node starts, and says which node and which line."""

import re
from pathlib import Path

import pytest

from vla_ros import graph, parameter_file, robot_graph
from vla_ros.errors import UserError
from vla_ros.parameter_file import read_parameter_file
from vla_ros.processes import command_line

ROOT = Path(__file__).parents[2]


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return path

    return write


def executor(text):
    return f"executor_node: {{ros__parameters: {text}}}"


def test_the_nodes_are_those_that_the_package_installs():
    installed = re.findall(r'"(\w+_node) = vla_ros', (ROOT / "setup.py").read_text())
    assert sorted(parameter_file.NODES) == sorted(installed)


def test_values_by_node_and_a_nodes_own_win_over_those_of_all(file):
    given = read_parameter_file(
        file(executor("{speed_m_s: 0.1, a: {b: 1}}") + "\n/**: {ros__parameters: {speed_m_s: 1.0}}")
    )
    assert given["executor_node"] == {"speed_m_s": 0.1, "a.b": 1}
    assert given["policy_node"] == {"speed_m_s": 1.0}
    assert read_parameter_file(file("/policy_node: {ros__parameters: {}}"))["policy_node"] == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{{", "config: .*config.yaml: not YAML"),
        ("speed_m_s: 0.05", r"expected parameters by node \(as in executor_node: .*got {'sp"),
        ("", "expected parameters by node .*got None"),
        ("- a", "expected parameters by node"),
        ("excutor_node: {ros__parameters: {}}", "node: expected one of .*mean executor_node"),
        ("executor_node: {speed_m_s: 1.0}", "expected executor_node: ros__parameters and below"),
        ("executor_node:", "expected executor_node: ros__parameters and below it .*got None"),
        (executor("3"), "executor_node: ros__parameters: names and values .*got 3"),
        (executor("{keep_out_m: []}"), "keep_out_m: expected a value, got an empty list"),
        (executor("{speed_m_s: }"), "speed_m_s: expected a value, got nothing"),
        (executor("{a: [0.1, 1]}"), "a: expected a list of one kind of value, got .* and whole"),
        (executor("{a: 1, a: 2}"), "the key 'a' stands twice"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_parameters_is_refused(file, text, reason):
    with pytest.raises(UserError, match=reason) as error:
        graph.describe({"config": str(file(text))})
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=reason):
        robot_graph.describe({"config": str(file(text))})


def test_numbers_that_only_ros_reads_as_such_are_of_one_kind(file):
    assert read_parameter_file(file(executor("{a: [1e3, 2.0]}")))["executor_node"]["a"]


@pytest.mark.parametrize(
    ("describe", "text", "reason"),
    [
        (robot_graph, executor("{output: twist}"), "output: .*'trajectory'.*argument output:="),
        (robot_graph, executor("{description: a.urdf}"), "description: .*argument description:="),
        (robot_graph, "/**: {ros__parameters: {robot: ur5e}}", "robot: .*argument robot:="),
        (graph, "sim_node: {ros__parameters: {seed: 3}}", "seed: the graph sets it, to 0, and"),
    ],
)  # fmt: skip
def test_what_the_graph_sets_may_not_stand_in_a_file_that_loses(file, describe, text, reason):
    with pytest.raises(UserError, match=reason):
        describe.describe({"config": str(file(text))})


def test_what_agrees_with_the_graph_may_stand_there(file):
    path = str(file(executor("{output: twist}")))
    assert robot_graph.describe({"config": path, "output": "twist"}).parameter_files == (path,)


def test_the_size_of_images_and_the_automatic_start_are_the_files(file):
    path = str(file("policy_node: {ros__parameters: {image_size_px: 256, autostart: false}}"))
    description = robot_graph.describe({"config": path})
    policy = description.nodes[-1]
    line = command_line(policy, description.parameter_files)
    assert not [word for word in line if word.startswith(("image_size_px", "autostart"))]
    usual = command_line(robot_graph.describe().nodes[-1])
    assert {"image_size_px:=0", "autostart:=true"} <= set(usual)
