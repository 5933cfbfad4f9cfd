"""The settings of a first motion on a robot (docs/executor.md): it creeps, and keeps its limits."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.executor import Lockstep
from policies.factory import DEFAULT_POLICY, load_policy
from vla_ros.body import Body
from vla_ros.checks import violations
from vla_ros.execution import Pace
from vla_ros.limits import FR3_LIMITS, Box
from vla_ros.planning import Motion

# config/careful.yaml, in a small box
CAREFUL = replace(FR3_LIMITS, step_m=0.12, workspace=Box((0.30, -0.30, 0.01), (0.65, 0.30, 0.50)))
BODY = Body()
DURATION_S = 3.0


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
    limits = replace(CAREFUL, velocity_fraction=velocity_fraction, speed_m_s=0.05)
    lockstep = Watched(load_policy(DEFAULT_POLICY), BODY, 100.0, Pace(), limits)
    lockstep.sent = []
    row = lockstep.run("Lift", 1000)
    assert row["refused"] == 0, row["reason"]
    assert row["accepted"] > 20
    assert all(isinstance(each, Motion) for each in lockstep.sent)
    begun_ns = lockstep.sent[0].trajectory.start_ns
    fastest_m_s = {}  # within the first second, when the speed ramps up, and after it
    for command in lockstep.sent:
        trajectory = command.trajectory
        assert violations(trajectory, limits, BODY) == []
        tool, _, _ = BODY.follow(trajectory.positions)
        speed_m_s = np.linalg.norm(np.diff(tool, axis=0), axis=1).max() / 0.02
        third = min(2, int((trajectory.start_ns - begun_ns) / 0.5e9))
        fastest_m_s[third] = max(fastest_m_s.get(third, 0.0), speed_m_s)
    assert fastest_m_s[0] < fastest_m_s[1] < fastest_m_s[2] <= 0.05
    first, last = (lockstep.sent[row].trajectory for row in (0, -1))
    moved_m = BODY.forward(last.positions[0])[0] - BODY.forward(first.positions[0])[0]
    assert np.linalg.norm(moved_m) > 0.01
