"""The launch files build what the graphs describe, checked without ROS's launch."""

import importlib.util
import sys
import types
from pathlib import Path

import pytest

from vla_ros import graph, robot_graph
from vla_ros.errors import UserError

FOLDER = Path(__file__).parents[2] / "launch"
GRAPHS = {"sim": graph, "robot": robot_graph}  # launch file -> what describes it


class Recorded:
    """Stands in for an action of launch: remembers how it was built."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs


class LaunchConfiguration(Recorded):
    def perform(self, context):
        return context.launch_configurations[self.args[0]]


@pytest.fixture
def launch_file(monkeypatch):
    kinds = {
        "launch": ["LaunchDescription"],
        "launch.actions": [
            "DeclareLaunchArgument",
            "LogInfo",
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
    monkeypatch.delitem(sys.modules, "vla_ros.launching", raising=False)
    yield load
    sys.modules.pop("vla_ros.launching", None)  # it knows the stand-ins


def load(name):
    spec = importlib.util.spec_from_file_location(f"{name}_launch", FOLDER / f"{name}.launch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start(module, chosen):
    """The actions of a launch file for what a user chose."""
    *_, opaque = module.generate_launch_description().args[0]
    return opaque.kwargs["function"](types.SimpleNamespace(launch_configurations=chosen))


def defaults(name):
    return {argument.name: argument.default for argument in GRAPHS[name].ARGUMENTS}


@pytest.mark.parametrize("name", GRAPHS)
def test_every_argument_is_declared_with_its_default_and_description(launch_file, name):
    *declared, _ = launch_file(name).generate_launch_description().args[0]
    arguments = GRAPHS[name].ARGUMENTS
    assert [action.args[0] for action in declared] == [a.name for a in arguments]
    for action, argument in zip(declared, arguments, strict=True):
        assert action.kwargs["default_value"] == argument.default
        assert action.kwargs["description"] == argument.description
        assert action.kwargs["choices"] == (list(argument.choices) or None)


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("sim", {"task": "PickPlace", "policy": "/models/mine"}),
        ("robot", {"robot": "ur5e", "policy": "/models/mine", "output": "twist"}),
        ("robot", {"robot": "so101"}),
        ("robot", {"driver": "teleop"}),
    ],
)
def test_nodes_and_environment_are_those_of_the_graph(launch_file, name, choices):
    chosen = {**defaults(name), **choices}
    actions = start(launch_file(name), chosen)
    description = GRAPHS[name].describe(chosen)
    environment = {
        a.args[0]: a.args[1] for a in actions if type(a).__name__ == "SetEnvironmentVariable"
    }
    assert Path(environment.pop(graph.RUN_FOLDER)).is_dir()
    assert environment == dict(description.environment)
    nodes = [action for action in actions if type(action).__name__ == "Node"]
    assert len(nodes) == len(description.nodes)
    for action, node in zip(nodes, description.nodes, strict=True):
        assert action.kwargs["package"] == "vla_ros"
        assert action.kwargs["executable"] == node.executable
        assert action.kwargs["name"] == node.name
        assert action.kwargs["parameters"] == [dict(node.parameters)]
        assert action.kwargs["remappings"] == list(node.remappings)
        assert action.kwargs["additional_env"] == dict(node.environment)


def test_a_node_that_dies_is_started_anew_unless_a_user_must_mend_something(launch_file):
    *_, node = start(launch_file("robot"), defaults("robot"))
    assert node.kwargs["respawn"] is True
    assert node.kwargs["respawn_delay"] == graph.RESPAWN_DELAY_S
    killed, user_error = (types.SimpleNamespace(returncode=status) for status in (-9, 2))
    assert node.kwargs["on_exit"](killed, None) is None
    shutdown = node.kwargs["on_exit"](user_error, None)
    assert type(shutdown).__name__ == "Shutdown"
    assert shutdown.kwargs["reason"] == "policy_node ended"


def test_a_node_that_dies_whenever_it_starts_ends_the_graph(launch_file):
    launch_file("robot")
    now_s = [0.0]
    on_exit = sys.modules["vla_ros.launching"]._End("policy_node", lambda: now_s[0])
    killed = types.SimpleNamespace(returncode=-11)

    def dies_after(alive_s):
        now_s[0] += alive_s
        answer = on_exit(killed, None)
        now_s[0] += graph.RESPAWN_DELAY_S
        return answer

    assert [dies_after(s) for s in (9.0, 9.0, 9.0, 11.0, 9.0, 9.0, 9.0)] == [None] * 7
    shutdown = dies_after(9.0)
    assert type(shutdown).__name__ == "Shutdown"
    assert shutdown.kwargs["reason"] == "policy_node died 4 times within 10 s of its start"


@pytest.mark.parametrize(
    ("name", "given", "reason"),
    [
        ("robot", "confg", "argument: there is no confg, but config"),
        ("robot", "desciption", "there is no desciption, but description"),
        ("sim", "polcy", "there is no polcy, but policy"),
        ("sim", "tasks", "there is no tasks, but task"),
        ("robot", "speed_m_s", "speed_m_s is a parameter of executor_node: .* config:=FILE"),
        ("robot", "keep_out_m", "keep_out_m is a parameter of executor_node"),
    ],
)
def test_a_mistyped_argument_is_refused(launch_file, name, given, reason):
    with pytest.raises(UserError, match=reason):
        start(launch_file(name), {**defaults(name), given: "config/careful.yaml"})


def test_arguments_of_a_launch_file_that_includes_ours_are_only_named(launch_file):
    theirs = {"robot_ip": "10.0.0.2", "use_rviz": "true"}
    passed_on = {"ros_namespace": "/left", "global_params": [("use_sim_time", True)]}
    actions = start(launch_file("robot"), {**defaults("robot"), **theirs, **passed_on})
    said = [action.kwargs["msg"] for action in actions if type(action).__name__ == "LogInfo"]
    assert [line.split(" changes")[0] for line in said] == [
        "argument: robot_ip:=10.0.0.2",
        "argument: use_rviz:=true",
    ]
    assert not any(
        type(action).__name__ == "LogInfo"
        for action in start(launch_file("robot"), defaults("robot"))
    )


@pytest.mark.parametrize(
    ("name", "choices", "reason"),
    [
        ("sim", {"task": "Juggle"}, "task: expected one of"),
        ("robot", {"robot": "ur55"}, "robot: expected one of fr3, so101, ur5e, FILE.yaml"),
        ("robot", {"driver": "teleop", "robot": "ur5e"}, "teleop: expected the FR3.* got ur5e"),
        ("robot", {"output": "torque"}, "output: expected one of trajectory, twist"),
        ("robot", {"description": "none.urdf"}, "joints, tool|none.urdf"),
    ],
)
def test_what_does_not_exist_is_refused(launch_file, name, choices, reason):
    with pytest.raises(UserError, match=reason):
        start(launch_file(name), {**defaults(name), **choices})


def test_the_folder_does_not_shadow_ros_own_package():
    assert not (FOLDER / "__init__.py").exists()
