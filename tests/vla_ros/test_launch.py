"""`launch/sim.launch.py` builds what `vla_ros.graph` describes, checked without ROS's launch."""

import importlib.util
import sys
import types
from pathlib import Path

import pytest

from vla_ros import graph
from vla_ros.errors import UserError

PATH = Path(__file__).parents[2] / "launch" / "sim.launch.py"


class Recorded:
    """Stands in for an action of launch: remembers how it was built."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs


class LaunchConfiguration(Recorded):
    def perform(self, context):
        return context[self.args[0]]


@pytest.fixture
def launch_file(monkeypatch):
    kinds = {
        "launch": ["LaunchDescription"],
        "launch.actions": [
            "DeclareLaunchArgument",
            "OpaqueFunction",
            "SetEnvironmentVariable",
            "Shutdown",
        ],
        "launch.substitutions": [],
        "launch_ros": [],
        "launch_ros.actions": ["Node"],
    }
    for module_name, names in kinds.items():
        module = types.ModuleType(module_name)
        for name in names:
            setattr(module, name, type(name, (Recorded,), {}))
        monkeypatch.setitem(sys.modules, module_name, module)
    sys.modules["launch.substitutions"].LaunchConfiguration = LaunchConfiguration
    spec = importlib.util.spec_from_file_location("sim_launch", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def defaults():
    return {argument.name: argument.default for argument in graph.ARGUMENTS}


def test_every_argument_is_declared_with_its_default_and_description(launch_file):
    *declared, _ = launch_file.generate_launch_description().args[0]
    assert [action.args[0] for action in declared] == [a.name for a in graph.ARGUMENTS]
    for action, argument in zip(declared, graph.ARGUMENTS, strict=True):
        assert action.kwargs["default_value"] == argument.default
        assert action.kwargs["description"] == argument.description


def test_nodes_and_environment_are_those_of_the_graph(launch_file):
    chosen = {**defaults(), "task": "PickPlace", "policy": "/models/mine"}
    actions = launch_file.start(chosen)
    description = graph.describe(chosen)
    environment = {
        a.args[0]: a.args[1] for a in actions if type(a).__name__ == "SetEnvironmentVariable"
    }
    assert environment == dict(description.environment)
    nodes = [action for action in actions if type(action).__name__ == "Node"]
    assert len(nodes) == len(description.nodes)
    for action, node in zip(nodes, description.nodes, strict=True):
        assert action.kwargs["package"] == "vla_ros"
        assert action.kwargs["executable"] == node.executable
        assert action.kwargs["name"] == node.name
        assert action.kwargs["parameters"] == [dict(node.parameters)]
        assert action.kwargs["additional_env"] == dict(node.environment)


def test_an_unknown_task_is_refused(launch_file):
    with pytest.raises(UserError, match="task: expected one of"):
        launch_file.start({**defaults(), "task": "Juggle"})


def test_the_folder_does_not_shadow_ros_own_package():
    assert not (PATH.parent / "__init__.py").exists()
