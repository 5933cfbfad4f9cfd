"""Bags written message by message, of a robot whose joint angle is the time in seconds."""

import io

import numpy as np
import pytest
from PIL import Image
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

START_NS = 10**18
EMPTY = np.zeros(0)
OFFERED = Qos(
    QosHistory.KEEP_LAST, 10, QosReliability.RELIABLE, QosDurability.VOLATILE,
    QosTime(0, 0), QosTime(0, 0), QosLiveliness.AUTOMATIC, QosTime(0, 0), False,
)  # fmt: skip


class Bag:
    def __init__(self, path, storage="mcap"):
        self.store = get_typestore(Stores.ROS2_JAZZY)
        self.path = path
        self.storage = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}[storage]
        self.rows = []
        self.as_added = False  # the order of writing; else as received
        self.publishers = {}  # topic -> how many the recorder saw; 0 unless said

    def type(self, kind):
        return self.store.types[kind]

    def header(self, time_s):
        stamp_ns = 0 if time_s is None else START_NS + round(time_s * 1e9)
        stamp = self.type("builtin_interfaces/msg/Time")(stamp_ns // 10**9, stamp_ns % 10**9)
        return self.type("std_msgs/msg/Header")(stamp, "base")

    def add(self, topic, received_s, message):
        self.rows.append((topic, START_NS + round(received_s * 1e9), message))

    def joints(self, time_s, positions, names=("a", "b"), delay_s=0.002, topic="/joint_states"):
        values = np.array(positions, float)
        kind = self.type("sensor_msgs/msg/JointState")
        message = kind(self.header(time_s), list(names), values, 10 * values, EMPTY)
        self.add(topic, time_s + delay_s, message)

    def image(self, time_s, shade, delay_s=0.01, topic="/camera", shape=(32, 48)):
        pixels = np.full((*shape, 3), shade, np.uint8)
        kind = self.type("sensor_msgs/msg/Image")
        message = kind(
            self.header(time_s), *shape, "rgb8", 0, 3 * shape[1], pixels.reshape(-1).copy()
        )
        self.add(topic, time_s + delay_s, message)

    def jpeg(self, time_s, shade, topic="/camera/compressed"):
        buffer = io.BytesIO()
        Image.fromarray(np.full((32, 48, 3), shade, np.uint8)).save(buffer, "JPEG")
        data = np.frombuffer(buffer.getvalue(), np.uint8).copy()
        kind = self.type("sensor_msgs/msg/CompressedImage")
        self.add(topic, time_s, kind(self.header(time_s), "rgb8; jpeg compressed bgr8", data))

    def pose(self, time_s, position, quaternion, topic="/tool"):
        point = self.type("geometry_msgs/msg/Point")(*position)
        w, x, y, z = quaternion
        turn = self.type("geometry_msgs/msg/Quaternion")(x, y, z, w)
        pose = self.type("geometry_msgs/msg/Pose")(point, turn)
        message = self.type("geometry_msgs/msg/PoseStamped")(self.header(time_s), pose)
        self.add(topic, time_s, message)

    def twist(self, time_s, linear, topic="/twist"):
        vector = self.type("geometry_msgs/msg/Vector3")
        twist = self.type("geometry_msgs/msg/Twist")(vector(*linear), vector(0.0, 0.0, 0.0))
        message = self.type("geometry_msgs/msg/TwistStamped")(self.header(time_s), twist)
        self.add(topic, time_s, message)

    def array(self, time_s, values, topic="/array"):
        layout = self.type("std_msgs/msg/MultiArrayLayout")([], 0)
        kind = self.type("std_msgs/msg/Float64MultiArray")
        self.add(topic, time_s, kind(layout, np.array(values, float)))

    def trajectory(self, time_s, target, in_s, names=("a", "b"), topic="/command", stamp_s=None):
        duration = self.type("builtin_interfaces/msg/Duration")(int(in_s), round(in_s % 1 * 1e9))
        point = self.type("trajectory_msgs/msg/JointTrajectoryPoint")(
            np.array(target, float), EMPTY, EMPTY, EMPTY, duration
        )
        kind = self.type("trajectory_msgs/msg/JointTrajectory")
        self.add(topic, time_s, kind(self.header(stamp_s), list(names), [point]))

    def text(self, time_s, text, topic="/instruction"):
        self.add(topic, time_s, self.type("std_msgs/msg/String")(text))

    def flag(self, time_s, value, topic="/episode/success"):
        self.add(topic, time_s, self.type("std_msgs/msg/Bool")(value))

    def number(self, time_s, value, topic="/gripper"):
        self.add(topic, time_s, self.type("std_msgs/msg/Float64")(value))

    def write(self):
        with Writer(self.path, version=9, storage_plugin=self.storage) as writer:
            connections = {}
            rows = self.rows if self.as_added else sorted(self.rows, key=lambda row: row[1])
            for topic, received_ns, message in rows:
                kind = message.__msgtype__
                if topic not in connections:
                    connections[topic] = writer.add_connection(
                        topic,
                        kind,
                        typestore=self.store,
                        offered_qos_profiles=[OFFERED] * self.publishers.get(topic, 0),
                    )
                writer.write(
                    connections[topic], received_ns, self.store.serialize_cdr(message, kind)
                )
        return self.path


@pytest.fixture
def new_bag(tmp_path):
    return lambda name="bag", storage="mcap": Bag(tmp_path / name, storage)


@pytest.fixture
def clock_bag(new_bag):
    """A bag in which everything tells the time: joint a = t, shade = 10 t, command a = t + 0.1."""

    def make(name="bag", storage="mcap", duration_s=3.0, image_hz=10.0, skip=lambda time_s: False):
        bag = new_bag(name, storage)
        rng = np.random.default_rng(0)
        for time_s in np.arange(0.0, duration_s, 1 / 50):
            if not skip(time_s):
                bag.joints(time_s, (time_s, -time_s))
            bag.trajectory(time_s, (time_s + 0.1, -time_s - 0.1), 0.1)
            bag.twist(time_s, (time_s, 0.0, 0.0))
            bag.array(time_s, (time_s, 2 * time_s, 3 * time_s))
            angle = time_s / 4
            turn = (np.cos(angle), 0.0, 0.0, np.sin(angle))
            bag.pose(time_s, (time_s, 0.0, 1.0), [-v for v in turn] if time_s > 1 else turn)
        for time_s in np.arange(0.0, duration_s, 1 / image_hz):
            late_s = float(rng.uniform(-0.01, 0.01)) if time_s else 0.0
            if not skip(time_s):
                bag.image(time_s + late_s, round(40 * (time_s + late_s)))
                bag.jpeg(time_s + late_s, round(40 * (time_s + late_s)))
        return bag

    return make
