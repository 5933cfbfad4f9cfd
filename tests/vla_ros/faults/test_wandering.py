"""The campaign's policy keeps the tool and the fingers moving, whatever happened before."""

import numpy as np
import pytest

from policies.interface import Observation, ObservationError
from vla_ros.faults.wandering import ENDS, GRIP_NS, STEP_M, SWING_NS, WanderingPolicy


def observation(stamp_ns, position=(0.45, 0.0, 0.30), instruction="wander"):
    return Observation(
        images={},
        joint_positions=np.zeros(7),
        gripper_opening=1.0,
        ee_position=np.array(position),
        ee_quaternion=np.array([0.0, 1.0, 0.0, 0.0]),
        instruction=instruction,
        stamp_ns=stamp_ns,
    )


def test_it_swings_and_grips():
    policy = WanderingPolicy()
    wanted = [policy.predict_chunk(observation(index * SWING_NS)).actions for index in range(4)]
    assert [np.sign(each[0, 1]) for each in wanted] == [-1, 1, -1, 1]
    grips = [policy.predict_chunk(observation(index * GRIP_NS)).actions[0, 6] for index in (0, 1)]
    assert grips == [0.0, 1.0]


def test_steps_are_short_and_lead_to_the_end():
    position = np.array([0.5, 0.05, 0.25])
    for _ in range(20):
        actions = WanderingPolicy().predict_chunk(observation(0, position)).actions
        assert np.linalg.norm(actions[:, :3], axis=1).max() <= STEP_M + 1e-9
        position = position + actions[0, :3]
    np.testing.assert_allclose(position, ENDS[0], atol=1e-6)


def test_other_words_it_does_not_know():
    with pytest.raises(ObservationError, match="expected it to begin with 'wander', got 'jump'"):
        WanderingPolicy().predict_chunk(observation(0, instruction="jump"))
