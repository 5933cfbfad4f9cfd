"""Two small processes that measure what arrives from one to the other; `vla-ros doctor` runs them.

python -m vla_ros.transport_check send|receive hello|images
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import numpy as np
import rclpy
from sensor_msgs.msg import Image
from std_msgs.msg import String

from vla_ros import messages
from vla_ros.runtime import RELIABLE, SENSOR

TOPIC = "/doctor/image_raw"
COUNT_TOPIC = "/doctor/count"
HEIGHT, WIDTH, RATE_HZ = 480, 640, 30.0
COUNTS = {"hello": 1, "images": 150}
MEET_TIMEOUT_S = 15.0
LAST_TIMEOUT_S = 2.0  # after the sender has finished


def send(what: str) -> None:
    """Publish images once somebody listens, then say how many they were, until ended."""
    node = rclpy.create_node("doctor_sender")
    images = node.create_publisher(Image, TOPIC, SENSOR)
    count = node.create_publisher(String, COUNT_TOPIC, RELIABLE)
    while not (images.get_subscription_count() and count.get_subscription_count()):
        rclpy.spin_once(node, timeout_sec=0.05)
    time.sleep(0.5)  # the transport connects
    picture = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    due_s = time.monotonic()
    for _ in range(COUNTS[what]):
        stamp_ns = node.get_clock().now().nanoseconds
        images.publish(messages.image_to_message(picture, stamp_ns, "camera"))
        due_s += 1.0 / RATE_HZ
        time.sleep(max(0.0, due_s - time.monotonic()))
    while True:
        count.publish(String(data=str(COUNTS[what])))
        rclpy.spin_once(node, timeout_sec=0.1)


def receive(what: str) -> None:
    """Count the images that arrive and print the findings as JSON."""
    node = rclpy.create_node("doctor_receiver")
    latencies_ms: list[float] = []
    sent: list[int] = []

    def on_image(message: Image) -> None:
        now_ns = node.get_clock().now().nanoseconds
        latencies_ms.append((now_ns - messages.to_ns(message.header.stamp)) / 1e6)

    node.create_subscription(Image, TOPIC, on_image, SENSOR)
    node.create_subscription(String, COUNT_TOPIC, lambda m: sent.append(int(m.data)), RELIABLE)
    start_s = time.monotonic()
    while not node.count_publishers(TOPIC):
        rclpy.spin_once(node, timeout_sec=0.05)
        if time.monotonic() - start_s > MEET_TIMEOUT_S:
            raise SystemExit(f"no other process was found in {MEET_TIMEOUT_S:.0f} s")
    met_after_s = time.monotonic() - start_s
    deadline_s = time.monotonic() + MEET_TIMEOUT_S + COUNTS[what] / RATE_HZ
    while not sent and time.monotonic() < deadline_s:
        rclpy.spin_once(node, timeout_sec=0.05)
    deadline_s = time.monotonic() + LAST_TIMEOUT_S
    while len(latencies_ms) < COUNTS[what] and time.monotonic() < deadline_s:
        rclpy.spin_once(node, timeout_sec=0.05)
    if what == "hello" and not (sent and latencies_ms):
        raise SystemExit("the other process was found, but nothing arrived from it")
    found = {
        "sent": COUNTS[what],
        "received": len(latencies_ms),
        "median_latency_ms": statistics.median(latencies_ms) if latencies_ms else float("inf"),
        "met_after_s": met_after_s,
    }
    print(json.dumps(found), flush=True)


def main() -> None:
    role, what = sys.argv[1:]
    rclpy.init()
    {"send": send, "receive": receive}[role](what)


if __name__ == "__main__":
    main()
