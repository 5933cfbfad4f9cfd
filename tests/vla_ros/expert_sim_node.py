"""For tests: the simulated robot, which also tells what the task's expert would do.

The expert sees the simulator's state at the instant of each image, and its action carries the same
stamp, so that a policy can answer an observation as the expert would.
"""

import json

import numpy as np
from std_msgs.msg import String

from sim.env import ACTION_HIGH, ACTION_LOW
from vla_ros.runtime import RELIABLE, run_node
from vla_ros.sim_node import SimNode

TOPIC = "/test/expert_action"


class ExpertSimNode(SimNode):
    _expert = None

    def capture(self, now_ns: int) -> None:
        if self._expert is None:
            self._expert = self.create_publisher(String, TOPIC, RELIABLE)
        simulation = self.simulation
        action = simulation.task.expert(simulation.world, simulation.episode)
        action = np.clip(action, ACTION_LOW, ACTION_HIGH).tolist()
        self._expert.publish(String(data=json.dumps({"stamp_ns": now_ns, "action": action})))
        super().capture(now_ns)


if __name__ == "__main__":
    run_node(ExpertSimNode)
