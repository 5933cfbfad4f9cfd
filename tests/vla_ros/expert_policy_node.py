"""For tests: a policy node that answers every observation as the task's expert would."""

import json
import os
import time

import numpy as np
from std_msgs.msg import String

from policies.interface import ActionChunk, Observation, ObservationError
from vla_ros.policy_node import PolicyNode
from vla_ros.runtime import RELIABLE, run_node

INFERENCE_S = float(os.environ.get("EXPERT_INFERENCE_S", "0.06"))  # what a small network takes


class ExpertPolicy:
    name = "expert"
    cameras = ("front",)

    def __init__(self) -> None:
        self._actions: dict[int, list[float]] = {}

    def hear(self, message: String) -> None:
        told = json.loads(message.data)
        self._actions[told["stamp_ns"]] = told["action"]
        for stamp_ns in sorted(self._actions)[:-20]:
            del self._actions[stamp_ns]

    def reset(self, seed: int | None = None) -> None:
        pass

    def predict_chunk(self, observation: Observation) -> ActionChunk:
        time.sleep(INFERENCE_S)
        # The joints' stamp may be the oldest; the image's is the expert's.
        near = [s for s in self._actions if abs(s - observation.stamp_ns) < 50_000_000]
        if not near:
            raise ObservationError(f"no expert action near {observation.stamp_ns}")
        action = self._actions[max(near)]
        return ActionChunk(np.array([action]), observation.stamp_ns, dt_s=0.1)


def make_node() -> PolicyNode:
    policy = ExpertPolicy()
    node = PolicyNode(load=lambda parameters: policy)
    node.create_subscription(String, "/test/expert_action", policy.hear, RELIABLE)
    return node


if __name__ == "__main__":
    run_node(make_node)
