"""Recording from real topics by real processes: a kill -9 costs the current episode, no more."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from sim import robot
from vla_ros.recording.recorder import JOURNAL

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 90.0
SIZE_PX = 64
TURN_RAD_S = 0.1  # evenly: what lies between two joint states is known, however far they are apart
GREEN_S = 16.0


def clock_color(time_s):
    """Red tells the part of a second, green the seconds up to `GREEN_S`."""
    return 255 * (time_s % 1.0), 255 * (time_s % GREEN_S) / GREEN_S, 0


def clock_s(color):
    """The inverse of `clock_color`, from colors in [0, 1]."""
    part, seconds = float(color[0]), GREEN_S * float(color[1])
    return round(seconds - part) + part


class FakeRobot:
    """Cameras, joints and commands of an arm that turns one joint; publishes from a thread."""

    def __init__(self, node):
        from sensor_msgs.msg import Image, JointState
        from std_msgs.msg import Bool, String
        from trajectory_msgs.msg import JointTrajectory

        from vla_ros import topics
        from vla_ros.runtime import LATCHED, RELIABLE, SENSOR

        self.node = node
        self.image = node.create_publisher(Image, topics.image_topic("front"), SENSOR)
        self.joints = node.create_publisher(JointState, topics.JOINT_STATES, RELIABLE)
        self.command = node.create_publisher(JointTrajectory, topics.ARM_COMMAND, RELIABLE)
        self.instruction = node.create_publisher(String, topics.INSTRUCTION, LATCHED)
        self.success = node.create_publisher(Bool, topics.EPISODE_SUCCESS, LATCHED)
        self.ended = threading.Event()
        self.start_ns = self.now_ns()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def now_ns(self):
        return self.node.get_clock().now().nanoseconds

    def positions(self, now_ns):
        turned = TURN_RAD_S * (now_ns - self.start_ns) / 1e9
        return np.array([*(robot.HOME_RAD + [turned, 0, 0, 0, 0, 0, 0]), 0.04, 0.04])

    def run(self):
        from vla_ros import messages

        names = robot.JOINT_NAMES + robot.FINGER_JOINT_NAMES
        for count in range(10**6):
            now_ns = self.now_ns()
            state = messages.joint_state(names, self.positions(now_ns), np.zeros(9), now_ns)
            self.joints.publish(state)
            if count % 2 == 0:
                ahead = self.positions(now_ns + 100_000_000)[None, :7]
                times_ns = np.array([100_000_000])
                self.command.publish(messages.joint_trajectory(robot.JOINT_NAMES, times_ns, ahead))
            if count % 5 == 0:
                picture = np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8)
                picture[:] = clock_color((now_ns - self.start_ns) / 1e9)
                self.image.publish(messages.image_to_message(picture, now_ns, "front"))
            if self.ended.wait(0.02):
                return

    def instruct(self, text):
        from std_msgs.msg import String

        self.instruction.publish(String(data=text))

    def tell(self, success):
        from std_msgs.msg import Bool

        self.success.publish(Bool(data=success))


@pytest.fixture
def fake_robot(monkeypatch):
    import rclpy

    from vla_ros.graph import shared_environment
    from vla_ros.processes import private_environment

    for name, value in {**shared_environment(), **private_environment()}.items():
        monkeypatch.setenv(name, value)
    rclpy.init(signal_handler_options=rclpy.SignalHandlerOptions.NO)
    node = rclpy.create_node("fake_robot")
    fake = FakeRobot(node)
    yield fake
    fake.ended.set()
    fake.thread.join()
    node.destroy_node()
    rclpy.try_shutdown()


@contextlib.contextmanager
def recording(folder, *options):
    """`vla-ros record` as a process; its lines as they come."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vla_ros.cli", "record", str(folder), "--cameras", "front",
         "--max-gap", "5", *options],  # a machine that pauses is no reason to fail
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")))
    reader.start()
    try:
        yield process, lines
    finally:
        process.kill()
        process.wait()
        reader.join()


def wait_for_line(lines, text):
    deadline_s = time.monotonic() + PATIENCE_S
    while not any(text in line for line in list(lines)):
        assert time.monotonic() < deadline_s, lines
        time.sleep(0.02)


def record_episode(fake, lines, number, task, success):
    fake.instruct(task)
    wait_for_line(lines, f"recording '{task}'")
    time.sleep(1.5)
    if success is not None:
        fake.tell(success)
        time.sleep(0.2)
    fake.instruct("")
    wait_for_line(lines, f"episode {number}:")


def open_dataset(folder):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return LeRobotDataset("local/test", root=folder, video_backend="pyav")


def test_a_kill_costs_the_current_episode_and_recording_goes_on(fake_robot, tmp_path):
    folder = tmp_path / "data"
    with recording(folder) as (process, lines):
        wait_for_line(lines, "Recording front")
        record_episode(fake_robot, lines, 0, "lift it", True)
        record_episode(fake_robot, lines, 1, "push it", None)
        fake_robot.instruct("pour it")
        wait_for_line(lines, "recording 'pour it'")
        time.sleep(1.0)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    fake_robot.instruct("")
    data = open_dataset(folder)
    assert data.num_episodes == 2
    with recording(folder, "--episodes", "1") as (process, lines):
        wait_for_line(lines, "Recording front")
        record_episode(fake_robot, lines, 2, "lift it", False)
        assert process.wait(PATIENCE_S) == 0, lines
    data = open_dataset(folder)
    check_content(fake_robot, data)
    entries = [json.loads(line) for line in (folder / JOURNAL).open()]
    assert [entry["success"] for entry in entries] == [True, None, False]
    assert not (folder / ".pending").exists()


def check_content(fake, data):
    assert (data.num_episodes, data.fps) == (3, 10)
    rows = data.hf_dataset.with_format("numpy")
    episodes = np.stack(rows["episode_index"])
    assert [data[int(np.argmax(episodes == k))]["task"] for k in range(3)] == [
        "lift it", "push it", "lift it",
    ]  # fmt: skip
    success = np.stack(rows["next.success"]).astype(bool)
    assert [bool(success[episodes == k].any()) for k in range(3)] == [True, False, False]
    assert success[np.flatnonzero(episodes == 0)[-1]]
    entries = [json.loads(line) for line in (data.root / JOURNAL).open()]
    for number, entry in enumerate(entries):
        joints = np.stack(rows["observation.joint_positions"])[episodes == number]
        assert len(joints) == entry["rows"] >= 10
        # The image's color tells when it was taken: the joints are those of that instant.
        for row in range(0, entry["rows"], 4):
            image = data[int(np.argmax(episodes == number)) + row]["observation.images.front"]
            due_s = (entry["start_stamp_ns"] - fake.start_ns) / 1e9 + (row + 0.5) / data.fps
            late_s = clock_s(image.mean(dim=(1, 2))) - due_s
            late_s -= GREEN_S * round(late_s / GREEN_S)
            assert -5.0 < late_s < 0.02
            expected = robot.HOME_RAD[0] + TURN_RAD_S * (due_s + late_s)
            assert joints[row, 0] == pytest.approx(expected, abs=0.003)
    action = np.stack(rows["action"])
    assert np.isfinite(action).all()
    assert np.abs(action[:, :3]).max() > 0.003  # the commands lead the arm by a period
    assert action[:, 6] == pytest.approx(1.0)


def test_what_cannot_be_recorded_is_said_and_thrown_away(fake_robot, tmp_path):
    folder = tmp_path / "data"
    with recording(folder, "--rate", "1") as (process, lines):  # 5 rows take 4 s
        wait_for_line(lines, "Recording front")
        fake_robot.instruct("lift it")
        wait_for_line(lines, "recording 'lift it'")
        fake_robot.instruct("")
        wait_for_line(lines, "episode thrown away: expected 5 rows or more")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0, lines
        wait_for_line(lines, "0 episodes recorded, 1 thrown away")
    assert not folder.exists()
