"""The graph is described once, and checks what the user chose."""

import importlib
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from vla_ros import (
    executor_node,
    graph,
    policy_node,
    policy_parameters,
    recorder_node,
    robot_graph,
    sim_node,
    teleop_node,
)
from vla_ros.errors import UserError
from vla_ros.graph import describe
from vla_ros.processes import command_line

MODULES = (sim_node, policy_node, executor_node, recorder_node, teleop_node)


def node(description, name):
    return next(node for node in description.nodes if node.name == name)


def test_three_processes_and_every_module_has_a_main():
    description = describe()
    assert [n.name for n in description.nodes] == ["sim_node", "executor_node", "policy_node"]
    for n in description.nodes:
        assert callable(importlib.import_module(n.module).main)


def test_choices_reach_the_nodes():
    description = describe(
        {
            "policy": "/some/folder",
            "task": "Push",
            "seed": "7",
            "device": "cuda",
            "cameras": "front",
        }
    )
    sim, policy = node(description, "sim_node"), node(description, "policy_node")
    assert sim.parameters == {
        "task": "Push",
        "variant": "standard",
        "seed": 7,
        "cameras": ["front"],
        "announce": True,
    }
    assert policy.parameters["policy"] == "/some/folder"
    assert policy.parameters["device"] == "cuda"


def test_an_operator_drives_and_a_recorder_records():
    description = describe({"driver": "teleop", "record": "/data", "cameras": "front"})
    names = [n.name for n in description.nodes]
    assert names == ["sim_node", "executor_node", "teleop_node", "recorder_node"]
    recorder = node(description, "recorder_node")
    assert recorder.parameters == {"output": "/data", "cameras": ["front"]}
    with pytest.raises(UserError, match="driver: expected one of policy, teleop, got 'me'"):
        describe({"driver": "me"})


def test_beside_a_robot_the_policy_or_an_operator_drives_never_both():
    drivers = {"policy": "policy_node", "teleop": "teleop_node"}
    for driver, node in drivers.items():
        names = [each.name for each in robot_graph.describe({"driver": driver}).nodes]
        assert names == ["executor_node", node]


def test_every_parameter_of_the_graph_is_one_the_node_declares():
    declared = {
        module.__name__: {parameter.name for parameter in module.PARAMETERS} for module in MODULES
    }
    for choices in ({}, {"driver": "teleop", "record": "/some/folder"}):
        for n in describe(choices).nodes:
            assert set(n.parameters) <= declared[n.module]


def test_every_parameter_is_described_and_its_default_in_range():
    for module in MODULES:
        for parameter in module.PARAMETERS:
            assert len(parameter.description) > 8
            assert (parameter.low is None) == (parameter.high is None)
            if parameter.low is not None:
                assert parameter.low <= parameter.default <= parameter.high
            elif isinstance(parameter.default, float):
                pytest.fail(f"{parameter.name} has no range")


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ({"variant": "moon"}, "variant: expected one of standard .* got 'moon'"),
        ({"task": "Juggle"}, "task: expected one of Lift, PickPlace, Push, .* got 'Juggle'"),
        ({"cameras": "front,rear"}, "cameras: expected some of front, wrist"),
        ({"cameras": ""}, "cameras: expected some of front, wrist"),
        ({"seed": "-1"}, "seed: expected a whole number"),
        ({"policy": ""}, "policy: expected a name or a folder"),
        ({"speed": "9"}, "argument: expected one of policy, task"),
        ({"config": "no/such.yaml"}, "config: expected a YAML file, got 'no/such.yaml'"),
        ({"announce": "maybe"}, "announce: expected one of true, false"),
    ],
)
def test_what_does_not_exist_is_refused_with_the_choices(choices, reason):
    with pytest.raises(UserError, match=reason):
        describe(choices)


def test_the_transport_that_carries_images_is_set_unless_the_user_chose_one():
    path = Path(graph.shared_environment({})["FASTDDS_DEFAULT_PROFILES_FILE"])
    segment = ElementTree.parse(path).find(".//{*}segment_size")
    assert int(segment.text) > 4 * 640 * 480 * 3
    chosen = graph.shared_environment({"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4", "MUJOCO_GL": ""})
    assert "FASTDDS_DEFAULT_PROFILES_FILE" not in chosen
    assert chosen["MUJOCO_GL"] == "egl"


def test_the_executor_shares_no_memory_with_processes_that_may_hang(monkeypatch):
    for name in graph.FAST_DDS_CHOICES:
        monkeypatch.delenv(name, raising=False)
    for description in (describe(), robot_graph.describe()):
        path = node(description, "executor_node").environment["FASTDDS_DEFAULT_PROFILES_FILE"]
        kinds = [each.text for each in ElementTree.parse(path).iter() if each.tag.endswith("}type")]
        assert kinds == ["UDPv4"]
        assert "FASTDDS_DEFAULT_PROFILES_FILE" not in node(description, "policy_node").environment
    monkeypatch.setenv("FASTDDS_BUILTIN_TRANSPORTS", "LARGE_DATA")  # a user who has chosen
    assert "FASTDDS_DEFAULT_PROFILES_FILE" not in node(describe(), "executor_node").environment


def test_only_the_simulated_executor_takes_instructions_from_before_its_start():
    assert node(describe(), "executor_node").parameters == {"old_instructions": True}
    assert "old_instructions" not in node(robot_graph.describe(), "executor_node").parameters
    defaults = {parameter.name: parameter.default for parameter in executor_node.PARAMETERS}
    assert defaults["old_instructions"] is False


def test_only_simulated_cameras_may_show_one_picture_while_the_arm_moves():
    assert node(describe(), "policy_node").parameters["still_picture_s"] == 0.0
    assert "still_picture_s" not in node(robot_graph.describe(), "policy_node").parameters
    defaults = {parameter.name: parameter.default for parameter in policy_parameters.PARAMETERS}
    assert defaults["still_picture_s"] > 0.0


def test_the_policy_leaves_a_core_to_the_simulator():
    for cores, threads in ((1, "1"), (2, "1"), (4, "3"), (64, "8")):
        policy = node(describe(cores=cores), "policy_node")
        assert policy.environment["OMP_NUM_THREADS"] == threads


def test_command_lines_carry_parameters_as_yaml():
    line = command_line(node(describe({"policy": "a b", "announce": "false"}), "sim_node"))
    assert line[1:6] == ["-m", "vla_ros.sim_node", "--ros-args", "-r", "__node:=sim_node"]
    assert 'cameras:=["front", "wrist"]' in line
    assert "announce:=false" in line
    assert 'task:="Lift"' in line


def test_a_file_of_parameters_comes_before_the_graphs_own_and_names_what_exists():
    path = Path(__file__).parents[2] / "config" / "careful.yaml"
    description = describe({"config": str(path)})
    line = command_line(node(description, "executor_node"), description.parameter_files)
    assert line[line.index("--params-file") + 1] == str(path)
    overrides = yaml.safe_load(path.read_text())["executor_node"]["ros__parameters"]
    assert set(overrides) <= {parameter.name for parameter in executor_node.PARAMETERS}
