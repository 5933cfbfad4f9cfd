"""The graph, described once as plain data: `launch/sim.launch.py` and `vla-ros demo` build from it.

No ROS, no launch: `vla_ros.processes` starts it with nothing but Python, the launch file with
`launch_ros`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from policies.factory import DEFAULT_POLICY
from sim.scene import CAMERAS
from sim.scenes import find_task
from sim.tasks import TASKS
from sim.variants import STANDARD, check_variant
from vla_ros.errors import UserError
from vla_ros.parameter_file import read_parameter_file

PACKAGE = "vla_ros"
RESPAWN_DELAY_S = 1.0  # before a node that died is started anew
# What a graph sets and a file of parameters may change.
YIELDING = ("autostart", "image_size_px", "old_instructions", "still_picture_s")
MOST_QUICK_DEATHS, QUICK_S = 4, 10.0  # so often within so long after its start: it is given up
HOPELESS = (2,)  # status of a `UserError`: a node that ends so would end so again
# Names a folder that lasts as long as the graph: what a node must still know after its death.
RUN_FOLDER = "VLA_ROS_RUN_FOLDER"

FAST_DDS_PROFILES = Path(__file__).with_name("fast_dds.xml")  # says itself what it is for
FAST_DDS_UDP = Path(__file__).with_name("fast_dds_udp.xml")
# A user who has set one of these has chosen the transports.
FAST_DDS_CHOICES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS")


@dataclass(frozen=True)
class Argument:
    """What a user may choose; every value is text, as on a command line."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()


ARGUMENTS = (
    Argument(
        "policy", DEFAULT_POLICY, "Name of a policy that ships here, a folder, or ws://host:port"
    ),
    Argument("task", "Lift", f"Simulated task: {', '.join(TASKS)}, or a .yaml file of a scene"),
    Argument("variant", STANDARD, "A changed world: a variant of `vla-ros evaluate`"),
    Argument("cameras", ",".join(CAMERAS), "Simulated cameras, separated by commas"),
    Argument("device", "cpu", "Where the policy runs: cpu, cuda or cuda:<index>"),
    Argument("seed", "0", "Seed of the first episode"),
    Argument(
        "driver",
        "policy",
        "Who moves the arm: the policy, or an operator on /teleop/twist and /teleop/gripper",
        ("policy", "teleop"),
    ),
    Argument("record", "", "Folder of a LeRobotDataset to record episodes to; empty: none"),
    Argument("config", "", "YAML file whose parameters override the nodes' defaults; empty: none"),
    Argument(
        "announce",
        "true",
        "Publish the episode's instruction, so that the robot begins at once",
        ("true", "false"),
    ),
)


@dataclass(frozen=True)
class NodeDescription:
    """One process."""

    name: str
    executable: str  # for `ros2 run`
    module: str  # for `python -m`
    parameters: Mapping[str, object] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """The processes and what all of them share."""

    nodes: tuple[NodeDescription, ...]
    environment: Mapping[str, str]
    parameter_files: tuple[str, ...] = ()  # YAML; a node's own parameters win


def describe(choices: Mapping[str, str] | None = None, cores: int | None = None) -> Graph:
    """The graph for the user's `choices`; raises `UserError` for one that does not exist."""
    values = check_arguments(choices or {})
    cores = cores or os.cpu_count() or 1
    single = {"OMP_NUM_THREADS": "1"}
    nodes: tuple[NodeDescription, ...] = (
        NodeDescription(
            "sim_node",
            "sim_node",
            "vla_ros.sim_node",
            {
                "task": values["task"],
                "variant": values["variant"],
                "seed": int(values["seed"]),
                "cameras": split_cameras(values["cameras"]),
                "announce": values["announce"] == "true",
            },
            environment=single,
        ),
        NodeDescription(
            "executor_node",
            "executor_node",
            "vla_ros.executor_node",
            # sim_node may announce one before the executor is up, and nobody can be hurt.
            {"old_instructions": True},
            environment={**single, **independent_environment()},
        ),
        _driver(values, cores),
    )
    if values["record"]:
        recorder = {"output": values["record"], "cameras": split_cameras(values["cameras"])}
        nodes += (
            NodeDescription(
                "recorder_node",
                "recorder_node",
                "vla_ros.recorder_node",
                recorder,
                environment=single,
            ),
        )
    return configured(nodes, values)


def configured(nodes: Sequence[NodeDescription], values: Mapping[str, str]) -> Graph:
    """The graph of `nodes` with the file of parameters among the user's choices, if there is one.

    What the graph sets itself would win over the file without a word, so it may not stand there.
    Raises `UserError`.
    """
    if not values["config"]:
        return Graph(tuple(nodes), shared_environment())
    given = read_parameter_file(Path(values["config"]))
    yielding = []
    for node in nodes:
        for name, value in node.parameters.items():
            if name in YIELDING or given[node.name].get(name, value) == value:
                continue
            mend = f"give it as the argument {name}:=" if name in values else "leave it out"
            raise UserError(
                f"config: {values['config']}: {node.name}: {name}: the graph sets it, "
                f"to {value!r}, and wins over {given[node.name][name]!r} here: {mend}"
            )
        kept = {
            name: value
            for name, value in node.parameters.items()
            if not (name in YIELDING and name in given[node.name])
        }
        yielding.append(replace(node, parameters=kept))
    return Graph(tuple(yielding), shared_environment(), (values["config"],))


def _driver(values: Mapping[str, str], cores: int) -> NodeDescription:
    if values["driver"] == "teleop":
        return NodeDescription(
            "teleop_node",
            "teleop_node",
            "vla_ros.teleop_node",
            environment={"OMP_NUM_THREADS": "1"},
        )
    return NodeDescription(
        "policy_node",
        "policy_node",
        "vla_ros.policy_node",
        {
            "policy": values["policy"],
            "device": values["device"],
            "autostart": True,
            # A rendered scene has no noise: after an encoder's error it looks the same for ever.
            "still_picture_s": 0.0,
        },
        # The simulator draws on one core meanwhile.
        environment={"OMP_NUM_THREADS": str(max(1, min(cores - 1, 8)))},
    )


def check_arguments(choices: Mapping[str, str]) -> dict[str, str]:
    """`choices` over the defaults of the simulated robot's graph."""
    values = check_choices(ARGUMENTS, choices)
    split_cameras(values["cameras"])
    try:
        find_task(values["task"])
        check_variant(values["variant"])
    except ValueError as error:
        raise UserError(str(error)) from error
    if not values["seed"].isdecimal():
        raise UserError(f"seed: expected a whole number from 0 on, got {values['seed']!r}")
    return values


def check_choices(arguments: Sequence[Argument], choices: Mapping[str, str]) -> dict[str, str]:
    """`choices` over the defaults of `arguments`; raises `UserError` for what there is not."""
    values = {argument.name: argument.default for argument in arguments}
    unknown = sorted(set(choices) - set(values))
    if unknown:
        raise UserError(f"argument: expected one of {', '.join(values)}, got {unknown}")
    values.update(choices)
    for argument in arguments:
        if argument.choices and values[argument.name] not in argument.choices:
            raise UserError(
                f"{argument.name}: expected one of {', '.join(argument.choices)}, "
                f"got {values[argument.name]!r}"
            )
    if values["config"] and not Path(values["config"]).is_file():
        raise UserError(f"config: expected a YAML file, got {values['config']!r}")
    if not values["policy"]:
        raise UserError("policy: expected a name or a folder, got nothing")
    return values


def split_cameras(text: str) -> list[str]:
    """ "front,wrist" as a list of cameras there are."""
    cameras = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in cameras if name not in CAMERAS]
    if unknown or not cameras:
        raise UserError(f"cameras: expected some of {', '.join(CAMERAS)}, got {text!r}")
    return cameras


def shared_environment(present: Mapping[str, str] | None = None) -> dict[str, str]:
    """What every process needs and `present` (default: this process's) does not already choose."""
    present = os.environ if present is None else present
    wanted = {
        "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
        "MUJOCO_GL": "egl",
        "PYTHONUNBUFFERED": "1",
    }
    if not any(present.get(name) for name in FAST_DDS_CHOICES):
        wanted["FASTDDS_DEFAULT_PROFILES_FILE"] = str(FAST_DDS_PROFILES)
    return {name: present.get(name) or value for name, value in wanted.items()}


def independent_environment(present: Mapping[str, str] | None = None) -> dict[str, str]:
    """For the executor: no memory shared with processes that may hang, unless a user has chosen."""
    present = os.environ if present is None else present
    if any(present.get(name) for name in FAST_DDS_CHOICES):
        return {}
    return {"FASTDDS_DEFAULT_PROFILES_FILE": str(FAST_DDS_UDP)}
