"""What ROS would pass over without a word, a node refuses: one line, status 2."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from vla_ros.errors import UserError
from vla_ros.parameter_file import check_sections
from vla_ros.runtime import check_arguments, parameter_files, run_node
from vla_ros.texts import said

VALUES = "{ros__parameters: {speed_m_s: 0.05}}"


def test_only_arguments_for_ros_are_taken(capsys):
    check_arguments(["--ros-args", "-p", "robot:=ur5e"])
    with pytest.raises(UserError, match="expected --ros-args -p NAME:=VALUE.* got --robot ur5e"):
        check_arguments(["--robot", "ur5e", "--ros-args", "-p", "seed:=3"])
    with pytest.raises(SystemExit) as ended:
        run_node(lambda: None, ["--robot", "ur5e"])
    assert ended.value.code == 2
    assert "error: arguments: expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [
        f"executor_node: {VALUES}",
        f"/executor_node: {VALUES}",
        f"/**: {VALUES}",
        f"policy_node: {VALUES}",  # one file for all of a graph's nodes
        f"sim_node: {VALUES}\nexecutor_node: {VALUES}",
        "/**: {ros__parameters: {cameras: !!python/tuple [front]}}",  # as launch_ros writes it
    ],
)
def test_files_that_name_nodes_as_they_are(tmp_path, content):
    path = tmp_path / "file.yaml"
    path.write_text(content)
    check_sections(path, "/executor_node")


@pytest.mark.parametrize(
    ("content", "node", "message"),
    [
        (f"exector_node: {VALUES}", "/executor_node", "got 'exector_node'; do you mean executor"),
        (f"executor_node: {VALUES}", "/left/executor_node",
         "expected /left/executor_node or /\\*\\*, for so this node is called, got /executor_node"),
        (f"right: {{executor_node: {VALUES}}}", "/executor_node", "got /right/executor_node"),
    ],
)  # fmt: skip
def test_sections_that_ros_would_pass_over(tmp_path, content, node, message):
    path = tmp_path / "file.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        check_sections(path, node)


def test_a_node_in_its_namespace_and_one_with_another_name(tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text(f"/left/executor_node: {VALUES}")
    check_sections(path, "/left/executor_node")
    path.write_text(f"left: {{executor_node: {VALUES}}}")
    check_sections(path, "/left/executor_node")
    path.write_text(f"my_arm: {VALUES}")
    check_sections(path, "/my_arm")


def test_a_node_looks_at_its_files(tmp_path, capsys):
    path = tmp_path / "file.yaml"
    path.write_text(f"exector_node: {VALUES}")
    arguments = ["--ros-args", "--params-file", str(path)]
    assert parameter_files(arguments) == [path]
    node = SimpleNamespace(
        get_fully_qualified_name=lambda: "/executor_node", destroy_node=lambda: None
    )
    with pytest.raises(SystemExit) as ended:
        run_node(lambda: node, arguments)
    assert ended.value.code == 2
    assert "got 'exector_node'" in capsys.readouterr().err


def test_what_an_error_says():
    assert said(UserError("speed: expected 1, got 2")) == "speed: expected 1, got 2"
    assert said(KeyError("x")) == "KeyError: 'x'"
    assert said(UserError()) == "UserError: "
