"""The settings of a first motion on a robot (docs/executor.md): it creeps, and keeps its limits."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks.executor import Lockstep
from policies.factory import DEFAULT_POLICY, load_policy
from vla_ros import executor_node
from vla_ros.body import Body
from vla_ros.checks import violations
from vla_ros.execution import Pace
from vla_ros.limit_parameters import limits_of
from vla_ros.limits import FR3_LIMITS
from vla_ros.planning import Motion

FIRST = Path(__file__).parents[2] / "config" / "first_motion.yaml"
GIVEN = {each.name: each.default for each in executor_node.PARAMETERS} | yaml.safe_load(
    FIRST.read_text()
)["executor_node"]["ros__parameters"]
SMALL_BOX = {"workspace_low_m": [0.30, -0.30, 0.01], "workspace_high_m": [0.65, 0.30, 0.50]}
BODY = Body()
DURATION_S = 4.5


class Watched(Lockstep):
    """Keeps what was sent, and ends early."""

    sent: list

    def _send(self, command, so_far):
        self.sent.append(command)
        super()._send(command, so_far)

    def _over(self):
        return self._simulation.time_s > DURATION_S


@pytest.mark.parametrize("velocity_fraction", [0.1, 0.9])
def test_the_shipped_policy_moves_the_arm_slowly_and_ever_faster(velocity_fraction):
    """As step 6 of the list has it, in a small box; and by the tool's limit alone."""
    assert GIVEN["velocity_fraction"] == 0.1
    values = GIVEN | SMALL_BOX | {"velocity_fraction": velocity_fraction}
    limits = limits_of(values, FR3_LIMITS)
    pace = Pace(soft_start_s=values["soft_start_s"])
    assert pace.soft_start_s > Pace().soft_start_s
    lockstep = Watched(load_policy(DEFAULT_POLICY), BODY, 100.0, pace, limits)
    lockstep.sent = []
    row = lockstep.run("Lift", 1000)
    assert row["refused"] == 0, row["reason"]
    assert row["accepted"] > 20
    assert all(isinstance(each, Motion) for each in lockstep.sent)
    begun_ns = lockstep.sent[0].trajectory.start_ns
    fastest_m_s = {}  # in both halves of the time in which the speed ramps up, and after it
    for command in lockstep.sent:
        trajectory = command.trajectory
        assert violations(trajectory, limits, BODY) == []
        tool, _, _ = BODY.follow(trajectory.positions)
        speed_m_s = np.linalg.norm(np.diff(tool, axis=0), axis=1).max() / 0.02
        third = min(2, int((trajectory.start_ns - begun_ns) / (0.5e9 * pace.soft_start_s)))
        fastest_m_s[third] = max(fastest_m_s.get(third, 0.0), speed_m_s)
    assert fastest_m_s[0] < fastest_m_s[1] < fastest_m_s[2] <= 0.05
    first, last = (lockstep.sent[row].trajectory for row in (0, -1))
    moved_m = BODY.forward(last.positions[0])[0] - BODY.forward(first.positions[0])[0]
    assert np.linalg.norm(moved_m) > 0.01
