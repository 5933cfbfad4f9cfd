"""A graph of real processes for the slow tests, alone in its ROS domain."""

import contextlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent
PATIENCE_S = 60.0
REST_STATES = 30  # joint states without motion that make a rest


@contextlib.contextmanager
def running_graph(choices, scripts=None, on_line=None, respawn=False):
    """Starts a graph and an operator in this process; `scripts` replaces nodes by test scripts.

    Yields (processes, operator).
    """
    import rclpy

    from vla_ros.graph import describe
    from vla_ros.operator_node import OperatorNode
    from vla_ros.processes import Processes, command_line, private_environment

    description = describe({"announce": "false", **choices})
    commands = {}
    for node in description.nodes:
        if node.name in (scripts or {}):
            arguments = command_line(node)[3:]
            commands[node.name] = [sys.executable, str(FOLDER / scripts[node.name]), *arguments]
    environment = private_environment()
    before = dict(os.environ)
    os.environ.update({**description.environment, **environment})
    show = on_line or (lambda name, line: print(f"[{name}] {line}"))
    try:
        with Processes(description, show, environment, commands, respawn) as processes:
            rclpy.init(signal_handler_options=rclpy.SignalHandlerOptions.NO)
            operator = OperatorNode()
            try:
                yield processes, operator
            finally:
                operator.destroy_node()
                rclpy.try_shutdown()
    finally:
        os.environ.clear()
        os.environ.update(before)


class Domain:
    """Nodes in this process, alone in a ROS domain; made by `own_domain`."""

    def __init__(self):
        self._nodes = []

    def init(self, *words):
        """`words` stand behind `--ros-args`."""
        import rclpy

        rclpy.init(
            args=["--ros-args", *words], signal_handler_options=rclpy.SignalHandlerOptions.NO
        )

    def keep(self, node):
        """`node`, which is destroyed at the end."""
        self._nodes.append(node)
        return node

    def close(self):
        for node in self._nodes:
            node.destroy_node()


@contextlib.contextmanager
def own_domain_of_nodes():
    import rclpy

    from vla_ros.graph import shared_environment
    from vla_ros.processes import private_environment

    before = dict(os.environ)
    os.environ.update({**shared_environment(), **private_environment()})
    domain = Domain()
    try:
        yield domain
    finally:
        domain.close()
        rclpy.try_shutdown()
        os.environ.clear()
        os.environ.update(before)


class Arm:
    """The arm as its topics and services tell, heard through an operator node."""

    def __init__(self, operator):
        from sensor_msgs.msg import JointState

        from sim.kinematics import Kinematics
        from vla_ros import topics
        from vla_ros.runtime import SENSOR

        self.operator = operator
        self.kinematics = Kinematics()
        self.joints = None
        self.velocities = None
        self.still = 0  # joint states without motion, in a row
        operator.create_subscription(JointState, topics.JOINT_STATES, self._hear, SENSOR)

    def _hear(self, message):
        from sim.robot import JOINT_NAMES
        from vla_ros.joints import positions_by_name

        self.joints = positions_by_name(message.name, message.position, JOINT_NAMES)
        self.velocities = positions_by_name(message.name, message.velocity, JOINT_NAMES)
        self.still = self.still + 1 if np.abs(self.velocities).max() < 0.01 else 0

    @property
    def tool(self):
        return self.kinematics.forward(self.joints)[0]

    @property
    def moves(self):
        return self.velocities is not None and np.abs(self.velocities).max() > 0.1

    def health(self, node="executor_node"):
        return self.operator.health.get(node, (b"", ""))[1]

    def wait(self, condition, what):
        self.operator.wait_until(condition, PATIENCE_S, what)

    def wait_for_rest(self):
        """Until the arm stands still and goes on to, for about half a second."""
        self.still = 0
        self.wait(lambda: self.still > REST_STATES, "waiting for the arm to stand")

    def call(self, kind, name, request=None):
        client = self.operator.create_client(kind, name)
        return self.operator._call(client, request or kind.Request())


@pytest.fixture(scope="session")
def arm_of():
    return Arm


@pytest.fixture(scope="session")
def own_domain():
    """`with own_domain() as domain:` a `Domain`, and the environment as before afterwards."""
    return own_domain_of_nodes


@pytest.fixture(scope="module")
def start_graph():
    return running_graph


@pytest.fixture
def vla_ros(monkeypatch, capsys):
    """Types a command line; returns (exit status, what it printed, what it complained)."""
    from vla_ros.cli import main

    def type_it(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vla-ros", *map(str, words)])
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
        else:
            code = 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return type_it


@pytest.fixture(scope="session")
def tiny_world_model(tmp_path_factory):
    """`tiny_world_model(**changes)`: the folder of an untrained model for this robot."""
    import torch

    from sim.tasks import CORE_TASKS
    from world_models.checkpoint import save_world_model
    from world_models.config import TINY, Scales, WorldModelConfig
    from world_models.model import ImaginationModel
    from world_models.words import vocabulary

    rng = np.random.default_rng(0)
    tasks = [task() for task in CORE_TASKS.values()]
    said = [task.sample(rng).instruction for task in tasks for _ in range(80)]
    usual = {
        "tokenizer": TINY.tokenizer,
        "dynamics": TINY.dynamics,
        "scales": Scales((0.0,) * 7, (0.03,) * 6 + (0.5,), (0.0,) * 14, (1.0,) * 14),
        "words": vocabulary(said),
        "camera": "front",
        "rate_hz": 10.0,
        "robot": "fr3",
    }

    def make(**changes):
        torch.manual_seed(0)
        config = WorldModelConfig(**{**usual, **changes})
        folder = tmp_path_factory.mktemp("world_model")
        save_world_model(folder, ImaginationModel(config))
        return folder

    return make


@pytest.fixture(scope="session")
def toy_dataset(tmp_path_factory) -> Path:
    """Six episodes with pictures; every other one failed."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    folder = tmp_path_factory.mktemp("data") / "toy"
    names = ["x", "y", "z", "qw", "qx", "qy", "qz", "gripper_opening"]
    image = {"dtype": "image", "shape": (32, 32, 3), "names": ["height", "width", "channels"]}
    vector = lambda size, names=None: {  # noqa: E731
        "dtype": "float32", "shape": (size,), "names": names
    }  # fmt: skip
    made = LeRobotDataset.create(
        "local/toy", fps=10, root=folder, use_videos=False, robot_type="fr3",
        features={
            "observation.images.front": image,
            "observation.state": vector(8, names),
            "observation.joint_positions": vector(7),
            "observation.target_position": vector(3),
            "executed_action": vector(7),
            "action": vector(7),
            "next.success": {"dtype": "bool", "shape": (1,), "names": None},
        },
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for episode in range(6):
        for step in range(5):
            made.add_frame({
                "observation.images.front": rng.integers(0, 255, (32, 32, 3), dtype=np.uint8),
                "observation.state": np.r_[rng.normal(size=3), 0, 1, 0, 0, 1].astype(np.float32),
                "observation.joint_positions": rng.normal(size=7).astype(np.float32),
                "observation.target_position": rng.normal(size=3).astype(np.float32),
                "executed_action": rng.normal(size=7).astype(np.float32),
                "action": np.zeros(7, dtype=np.float32),
                "next.success": np.array([step == 4 and episode % 2 == 0]),
                "task": "lift the red cube",
            })  # fmt: skip
        made.save_episode()
    made.finalize()
    return folder
