"""The demo's graph with a relay in between: every stream passes through the campaign's process."""

from __future__ import annotations

import socket
import sys
from dataclasses import replace

from vla_ros import graph, topics
from vla_ros.faults.fault import EXECUTOR, POLICY, SERVER, SIM
from vla_ros.graph import Graph, NodeDescription
from vla_ros.limits import Box

CAMERA = "front"
IMAGE_SIZE_PX = 128  # no more than a policy that does not look needs
RAW = "/raw"  # before a stream's name: as it was before the relay
ANSWER_TIMEOUT_S = 1.0
KEEP_OUT = Box((0.40, 0.36, 0.0), (0.60, 0.46, 0.60))  # a post beside the swinging hand
RELAYED = {  # node -> the topics that it publishes through the relay
    SIM: (topics.image_topic(CAMERA), topics.JOINT_STATES),
    POLICY: (topics.ACTION_CHUNK, topics.GRIPPER_CHUNK),
    EXECUTOR: (),
}


def campaign_graph(port: int, rate_hz: float = 10.0) -> Graph:
    """Simulator, executor, policy node and a policy's server on `port` of this machine."""
    described = graph.describe({"cameras": CAMERA, "announce": "false"})
    changes: dict[str, dict[str, object]] = {
        SIM: {"image_size_px": IMAGE_SIZE_PX, "image_rate_hz": rate_hz},
        POLICY: {
            "policy": f"ws://127.0.0.1:{port}?timeout_s={ANSWER_TIMEOUT_S}",
            "image_size_px": IMAGE_SIZE_PX,
            "rate_hz": rate_hz,
        },
        EXECUTOR: {"keep_out_m": [*KEEP_OUT.low_m, *KEEP_OUT.high_m]},
    }
    nodes = [
        replace(
            node,
            parameters={**node.parameters, **changes[node.name]},
            remappings=tuple((topic, RAW + topic) for topic in RELAYED[node.name]),
        )
        for node in described.nodes
    ]
    server = NodeDescription(SERVER, SERVER, "vla_ros.faults.policy_server")
    return replace(described, nodes=(server, *nodes))


def server_command(port: int) -> list[str]:
    """How the policy's server, which is no ROS node, is started."""
    return [sys.executable, "-m", "vla_ros.faults.policy_server", "--port", str(port)]


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
