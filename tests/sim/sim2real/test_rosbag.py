from dataclasses import replace

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from sim import robot
from sim.following import Trajectory, follow
from sim.sim2real import rosbag
from sim.sim2real.logs import LogError
from sim.sim2real.reading import read_logs
from sim.sim2real.rosbag import STORAGES, BagTopics, read_bag, write_bag


@pytest.mark.parametrize("storage", STORAGES)
def test_what_is_written_is_read(tmp_path, log_by_hand, storage):
    log = log_by_hand(
        success=True, instruction="lift it", gripper_openings=np.linspace(0.0, 1.0, 101)
    )
    frames = [(0.1 * index, np.full((4, 6, 3), index, np.uint8)) for index in range(5)]
    write_bag(tmp_path / "run", log, storage, {"/front/image_raw": frames})
    (back,) = read_logs([tmp_path / "run"])
    assert back.stamps_s == pytest.approx(log.stamps_s, abs=1e-9)
    assert np.array_equal(back.joint_positions, log.joint_positions)
    assert back.gripper_openings == pytest.approx(log.gripper_openings)
    times_s = np.linspace(0.0, 2.0, 57)
    assert back.command_at(times_s) == pytest.approx(log.command_at(times_s), abs=1e-7)
    assert back.image_stamps_s["/front/image_raw"] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert (back.success, back.instruction, back.name) == (True, "lift it", "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_one_file_of_a_bag_and_a_folder_of_bags_are_read(tmp_path, log_by_hand):
    for name in ("b", "a"):
        write_bag(tmp_path / "bags" / name, log_by_hand(), "mcap")
    assert [log.name for log in read_logs([tmp_path / "bags"])] == ["a", "b"]
    (log,) = read_logs([tmp_path / "bags" / "a" / "a.mcap"])
    assert log.name == "a.mcap"


def test_a_trajectory_replaces_the_running_one_from_where_the_command_stands():
    def trajectory(stamp_s, times_s, values):
        return Trajectory(stamp_s, np.array(times_s), np.array(values)[:, None] * np.ones(7))

    stamps, rows = follow(
        [
            trajectory(2.0, [1.5, 3.0], [5.0, 0.0]),  # given out of order; 1.5 s has passed
            trajectory(1.0, [2.0, 3.0], [1.0, 2.0]),
            trajectory(4.0, [3.9], [9.0]),  # all of it has passed
        ],
        np.zeros(7),
    )
    assert stamps.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert rows[:, 0].tolist() == [0.0, 0.0, 1.0, 0.0]
    stamps, rows = follow(
        [trajectory(1.0, [3.0], [2.0]), trajectory(2.0, [4.0], [0.0])], np.zeros(7)
    )
    assert stamps.tolist() == [0.0, 1.0, 2.0, 4.0]
    assert rows[:, 0].tolist() == [0.0, 0.0, 1.0, 0.0]  # half-way when it was replaced


class Bag:
    """A rosbag2 written message by message."""

    def __init__(self, path):
        self.store = get_typestore(Stores.ROS2_JAZZY)
        self.path = path
        self.rows = []

    def joints(self, stamp_ns, received_ns, names=robot.JOINT_NAMES, positions=robot.HOME_RAD):
        empty = np.zeros(0)
        message = self.store.types["sensor_msgs/msg/JointState"](
            self.header(stamp_ns), list(names), np.array(positions, float), empty, empty
        )
        self.rows.append(("/joint_states", received_ns, message))

    def command(self, received_ns, names=robot.JOINT_NAMES, width=7):
        empty = np.zeros(0)
        duration = self.store.types["builtin_interfaces/msg/Duration"](0, 10**8)
        points = [
            self.store.types["trajectory_msgs/msg/JointTrajectoryPoint"](
                robot.HOME_RAD[:width].copy(), empty, empty, empty, duration
            )
        ]
        message = self.store.types["trajectory_msgs/msg/JointTrajectory"](
            self.header(0), list(names), points
        )
        self.rows.append((BagTopics().command, received_ns, message))

    def image(self, stamp_ns, received_ns):
        message = self.store.types["sensor_msgs/msg/Image"](
            self.header(stamp_ns), 1, 1, "rgb8", 0, 3, np.zeros(3, np.uint8)
        )
        self.rows.append(("/front/image_raw", received_ns, message))

    def header(self, stamp_ns):
        time = self.store.types["builtin_interfaces/msg/Time"](stamp_ns // 10**9, stamp_ns % 10**9)
        return self.store.types["std_msgs/msg/Header"](time, "")

    def write(self):
        with Writer(self.path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            connections = {}
            for topic, received_ns, message in self.rows:
                kind = message.__msgtype__
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, kind, typestore=self.store)
                writer.write(
                    connections[topic], received_ns, self.store.serialize_cdr(message, kind)
                )
        return self.path


START_NS = 10**18


def steady(path, stamp_offset_ns=0, **joints):
    bag = Bag(path)
    for index in range(100):
        received_ns = START_NS + index * 20_000_000
        bag.joints(received_ns + stamp_offset_ns, received_ns, **joints)
    return bag


def test_joints_in_another_order_and_beside_others_are_read(tmp_path):
    names = [*reversed(robot.JOINT_NAMES), "base_wheel"]
    bag = steady(tmp_path / "bag", names=names, positions=[*reversed(robot.HOME_RAD), 99.0])
    bag.command(START_NS + 10**9)
    log = read_bag(bag.write())
    assert log.joint_positions[0] == pytest.approx(robot.HOME_RAD)
    assert log.gripper_openings is None
    assert log.command_stamps_s == pytest.approx([0.0, 1.0, 1.1])


def test_unstamped_joint_states_count_from_when_they_came(tmp_path):
    bag = Bag(tmp_path / "bag")
    for index in range(100):
        bag.joints(0, START_NS + index * 20_000_000)
    bag.command(START_NS)
    assert read_bag(bag.write()).duration_s == pytest.approx(1.98)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: steady(path, -3 * 10**9), "stamped 3.00 s before .* two clocks"),
        (lambda path: steady(path, names=[f"ur_{i}" for i in range(7)]),
         "/joint_states: joints: expected fr3_joint1, .* got ur_0, .* of another robot"),
        (lambda path: steady(path, names=robot.JOINT_NAMES[:6]), "expected one position for each"),
        (lambda path: steady(path, positions=np.rad2deg(robot.HOME_RAD)), "as degrees all values"),
    ],
)  # fmt: skip
def test_other_robots_and_clocks_are_refused(tmp_path, make, message):
    bag = make(tmp_path / "bag")
    bag.command(START_NS + 10**9)
    with pytest.raises(LogError, match=message):
        read_bag(bag.write())


@pytest.mark.parametrize("jump_s", [3600, -3600])
def test_a_recorder_whose_clock_jumps_is_refused(tmp_path, jump_s):
    """The typical offset says nothing of it: most joint states came before."""
    bag = Bag(tmp_path / "bag")
    for index in range(100):
        stamp_ns = START_NS + index * 20_000_000
        bag.joints(stamp_ns, stamp_ns + (index >= 60) * jump_s * 10**9)
    bag.command(START_NS)
    message = f"joint state .* is stamped {jump_s}.00 s before it was .*one that jumps"
    with pytest.raises(LogError, match=message):
        read_bag(bag.write())


def with_images(path, stamps_s, received_s):
    bag = steady(path)
    bag.command(START_NS)
    for stamp_s, at_s in zip(stamps_s, received_s, strict=True):
        bag.image(START_NS + round(1e9 * stamp_s), START_NS + round(1e9 * at_s))
    return bag.write()


@pytest.mark.parametrize(
    ("first_s", "later_s", "message"),
    [
        (0.0, 60.0, "image 10 is stamped 60.00 s after it was recorded, expected at most 5 s "
         "before and 0.5 s after: .* one that jumps"),
        (0.0, 1e8, "image 10 is stamped 100000000.00 s after it was recorded"),
        (-60.0, 0.0, "image 0 is stamped 60.00 s before it was recorded"),
        (1.0, 1.0, "image 0 is stamped 1.00 s after it was recorded"),
    ],
)  # fmt: skip
def test_a_camera_whose_clock_is_set_ahead_is_refused(tmp_path, first_s, later_s, message):
    """Half-way, and for good: the stamps rise, and some of them fit the joint states'."""
    taken_s = 0.1 * np.arange(20)
    stamps_s = taken_s + np.where(np.arange(20) < 10, first_s, later_s)
    path = with_images(tmp_path / "bag", stamps_s, taken_s)
    with pytest.raises(LogError, match=f"bag: /front/image_raw: {message}"):
        read_bag(path)


def test_a_camera_may_pause_and_its_images_may_come_late(tmp_path):
    taken_s = np.array([0.0, 0.1, 0.2, 9.0, 9.1, 70.0])
    late_s = np.array([0.02, 0.0, 3.0, 2.9, 2.85, -0.04])
    log = read_bag(with_images(tmp_path / "bag", taken_s, taken_s + late_s))
    assert log.image_stamps_s["/front/image_raw"] == pytest.approx(taken_s)


def test_unstamped_images_count_from_when_they_came(tmp_path):
    bag = steady(tmp_path / "bag")
    bag.command(START_NS)
    for index in range(3):
        bag.image(0, START_NS + index * 10**9)
    stamps_s = read_bag(bag.write()).image_stamps_s["/front/image_raw"]
    assert stamps_s == pytest.approx([0.0, 1.0, 2.0])


def test_commands_of_another_robot_or_shape_are_refused(tmp_path):
    bag = steady(tmp_path / "a")
    bag.command(START_NS, names=["ur_1"] * 7)
    with pytest.raises(LogError, match="command: joints: expected fr3_joint1"):
        read_bag(bag.write())
    bag = steady(tmp_path / "b")
    bag.command(START_NS, width=6)
    with pytest.raises(LogError, match=r"expected 7 positions in every point, got \[6\]"):
        read_bag(bag.write())


def test_a_bag_without_commands_says_what_it_has(tmp_path):
    path = steady(tmp_path / "bag").write()
    with pytest.raises(
        LogError, match="no commands: topic .* not in the bag; it has /joint_states"
    ):
        read_bag(path)
    with pytest.raises(LogError, match="no joint states: topic /js is not in the bag"):
        read_bag(path, BagTopics(joint_states="/js"))


def test_a_topic_of_another_type_is_refused(tmp_path, log_by_hand):
    write_bag(tmp_path / "bag", log_by_hand(instruction="lift it"), "mcap")
    with pytest.raises(
        LogError, match="/instruction: expected trajectory_msgs/msg/JointTrajectory"
    ):
        read_bag(tmp_path / "bag", BagTopics(command="/instruction", instruction="/none"))


def test_damaged_and_other_files_are_refused(tmp_path, log_by_hand):
    write_bag(tmp_path / "bag", log_by_hand(), "mcap")
    file = tmp_path / "bag" / "bag.mcap"
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(LogError, match="cannot be read as a rosbag2"):
        read_bag(tmp_path / "bag")
    (tmp_path / "other").mkdir()
    with pytest.raises(LogError, match="expected a rosbag2 .* or a folder of such; it is none"):
        read_logs([tmp_path / "other"])
    with pytest.raises(LogError, match="no such file or folder"):
        read_logs([tmp_path / "nothing"])


def test_nothing_is_overwritten_and_nothing_half_written_left(tmp_path, log_by_hand, monkeypatch):
    write_bag(tmp_path / "bag", log_by_hand(), "mcap")
    with pytest.raises(LogError, match="already exists"):
        write_bag(tmp_path / "bag", log_by_hand(), "mcap")
    with pytest.raises(LogError, match="storage: expected one of mcap, sqlite3, got 'ros1'"):
        write_bag(tmp_path / "new", log_by_hand(), "ros1")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(rosbag, "_rename", fail)
    with pytest.raises(OSError, match="disk full"):
        write_bag(tmp_path / "new", replace(log_by_hand(), name="x"), "mcap")
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]
