"""For tests: a policy node whose policy, without looking, walks to where the instruction says.

"go to 0.45 0.10 0.30" goes there; "wander" swings to and fro without end.
"""

import numpy as np

from policies.interface import ActionChunk, Observation
from policies.openvla.state import DOWN
from sim.kinematics import displacement
from vla_ros.policy_node import PolicyNode
from vla_ros.runtime import run_node

ENDS = np.array([[0.45, -0.15, 0.30], [0.45, 0.15, 0.30]])  # [m], base frame


class WanderingPolicy:
    name = "wandering"
    cameras = ("front",)

    def reset(self, seed: int | None = None) -> None:
        self._end = 0

    def predict_chunk(self, observation: Observation) -> ActionChunk:
        words = observation.instruction.split()
        if words[0] == "wander":
            if np.linalg.norm(observation.ee_position - ENDS[self._end]) < 0.03:
                self._end = 1 - self._end
            target = ENDS[self._end]
        else:
            target = np.array([float(word) for word in words[-3:]])
        position, actions = observation.ee_position, []
        for _ in range(3):
            step = np.clip(target - position, -0.03, 0.03)
            position = position + step
            actions.append([*step, 0.0, 0.0, 0.0, 1.0])
        rotation = displacement(_rotation(observation), DOWN)
        actions[0][3:6] = np.clip(rotation, -0.2, 0.2).tolist()
        return ActionChunk(np.array(actions), observation.stamp_ns, dt_s=0.1)


def _rotation(observation: Observation):
    return type(DOWN).from_quat(observation.ee_quaternion, scalar_first=True)


if __name__ == "__main__":
    run_node(lambda: PolicyNode(load=lambda parameters: WanderingPolicy()))
