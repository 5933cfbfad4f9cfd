"""A teleoperated episode in simulation: the arm moves, lifts, and the episode becomes data."""

import json
import time

import numpy as np
import pytest

from vla_ros import topics
from vla_ros.recording.recorder import JOURNAL
from vla_ros.runtime import RELIABLE, SENSOR

pytestmark = pytest.mark.slow
PATIENCE_S = 180.0
PATIENT = """
recorder_node: {ros__parameters: {max_gap_s: 5.0}}
executor_node: {ros__parameters: {joint_timeout_s: 2.0, chunk_timeout_s: 2.0}}
teleop_node: {ros__parameters: {joint_timeout_s: 2.0, twist_timeout_s: 1.0}}
"""
GAIN = 4.0  # [1/s] of the scripted operator: velocity per displacement the expert wants


class ScriptedOperator:
    """Pushes a space mouse about the way the task's expert would move, looking all the time."""

    def __init__(self, node):
        from geometry_msgs.msg import TwistStamped
        from std_msgs.msg import Float64, String

        self.node = node
        self.drives = False
        self.sent = 0
        self.twist = node.create_publisher(TwistStamped, topics.TELEOP_TWIST, SENSOR)
        self.gripper = node.create_publisher(Float64, topics.TELEOP_GRIPPER, RELIABLE)
        node.create_subscription(String, "/test/expert_action", self.look, RELIABLE)
        self.action = None
        node.create_timer(0.05, self.push)

    def look(self, message):
        self.action = np.array(json.loads(message.data)["action"])

    def push(self):
        from geometry_msgs.msg import TwistStamped
        from std_msgs.msg import Float64

        if not self.drives or self.action is None:
            return
        message = TwistStamped()
        message.header.stamp = self.node.get_clock().now().to_msg()
        message.header.frame_id = topics.BASE_FRAME
        linear, angular = message.twist.linear, message.twist.angular
        linear.x, linear.y, linear.z = (GAIN * self.action[:3]).tolist()
        angular.x, angular.y, angular.z = (GAIN * self.action[3:6]).tolist()
        self.twist.publish(message)
        self.gripper.publish(Float64(data=float(self.action[6])))
        self.sent += 1


@pytest.fixture(scope="module")
def teleoperated(start_graph, arm_of, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded") / "demos"
    scripts = {"sim_node": "expert_sim_node.py"}
    patient = folder.with_name("patient.yaml")  # a busy machine is no reason to fail
    patient.write_text(PATIENT)
    choices = {
        "driver": "teleop", "record": str(folder), "config": str(patient), "cameras": "front",
    }  # fmt: skip
    with start_graph(choices, scripts) as (processes, operator):
        nodes = {"teleop_node", "executor_node", "recorder_node"}
        operator.wait_until(
            lambda: (
                nodes <= set(operator.health)
                and operator.status
                and "loading" not in operator.health["recorder_node"][1]
            ),
            2 * PATIENCE_S,
            "the nodes",
        )
        yield operator, arm_of(operator), ScriptedOperator(operator), folder, processes


def test_an_operator_lifts_and_it_is_recorded(teleoperated):
    operator, _, human, folder, processes = teleoperated
    description = operator.begin("Lift", 100)
    operator.instruct(description["instruction"])
    human.drives = True
    deadline_s = time.monotonic() + PATIENCE_S
    while not operator.status["success"] and time.monotonic() < deadline_s:
        operator._pause(0.05)
    assert operator.status["success"], (human.sent, operator.health)
    human.drives = False
    operator._pause(0.5)
    operator.instruct("")
    operator.wait_until(
        lambda: "episode 0: " in operator.health["recorder_node"][1], PATIENCE_S, "the episode"
    )
    assert not processes.ended()
    check_dataset(folder, description["instruction"])


def along(way):
    """(n,) [m] gone at each corner of `way` (n, 3)."""
    return np.concatenate([[0.0], np.linalg.norm(np.diff(way, axis=0), axis=1).cumsum()])


def nearest_on(way, gone, point):
    """How far off `way` a point lies [m], and how far along it the nearest spot is [m]."""
    starts, steps = way[:-1], np.diff(way, axis=0)
    squares = np.maximum((steps**2).sum(axis=1), 1e-12)
    shares = np.clip(((point - starts) * steps).sum(axis=1) / squares, 0.0, 1.0)
    distances = np.linalg.norm(starts + shares[:, None] * steps - point, axis=1)
    best = distances.argmin()
    return distances[best], gone[best] + shares[best] * (gone[best + 1] - gone[best])


def check_dataset(folder, instruction):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    data = LeRobotDataset("local/test", root=folder, video_backend="pyav")
    assert data.num_episodes == 1
    assert data[0]["task"] == instruction
    rows = data.hf_dataset.with_format("numpy")
    states, actions = np.stack(rows["observation.state"]), np.stack(rows["action"])
    assert np.stack(rows["next.success"]).sum() == 1
    assert len(states) > 20
    assert data[len(data) - 1]["observation.images.front"].shape == (3, 224, 224)
    # An action is what was told until the next row: the tool goes there, sooner or later.
    way, wanted = states[:, :3], states[:, :3] + actions[:, :3]
    gone = along(way)
    assert gone[-1] > 0.05
    off, arrived = np.array([nearest_on(way, gone, point) for point in wanted]).T
    assert np.median(off) < 0.005  # [m]; what was told before a reset lies elsewhere
    assert (arrived - gone).sum() > 0.3 * gone[-1]  # what was told lies ahead
    assert actions[:, 6].min() < 0.3 < 0.9 < actions[0, 6]  # it closed on the item
    (entry,) = [json.loads(line) for line in (folder / JOURNAL).open()]
    assert entry["success"] is True


def test_a_stale_twist_holds_and_a_new_one_goes_on(teleoperated):
    operator, arm, human, _, _ = teleoperated
    operator.begin("Lift", 101)
    operator.instruct("lift it")
    human.drives = True
    arm.wait(lambda: arm.moves, "waiting for the arm to move")
    human.drives = False  # the device falls silent
    arm.wait_for_rest()
    operator.wait_until(
        lambda: "no input" in operator.health["teleop_node"][1], PATIENCE_S, "the silence"
    )
    human.drives = True
    arm.wait(lambda: arm.moves, "waiting for the arm to move again")
    human.drives = False
    operator.instruct("")
