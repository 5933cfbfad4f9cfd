"""Chunks of displacements become poses as `ActionChunk`'s docstring says, checked by hand."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from policies.chunks import absolute_poses
from policies.interface import ActionChunk, ActionError, Observation

QUARTER_TURN = np.pi / 2


def observation(position=(0.4, 0.1, 0.2), rotation=None, stamp_ns=7):
    rotation = rotation or Rotation.identity()
    return Observation(
        images={},
        joint_positions=np.zeros(7),
        gripper_opening=1.0,
        ee_position=np.array(position),
        ee_quaternion=rotation.as_quat(scalar_first=True),
        instruction="go",
        stamp_ns=stamp_ns,
    )


def chunk(rows, **options):
    return ActionChunk(np.array(rows, dtype=float), **{"stamp_ns": 7, "dt_s": 0.1, **options})


def test_displacements_add_up_from_the_observed_position():
    rows = [[0.01, 0, 0, 0, 0, 0, 1], [0, 0.02, -0.03, 0, 0, 0, 0.5]]
    positions, rotations, gripper = absolute_poses(chunk(rows), observation())
    np.testing.assert_allclose(positions, [[0.41, 0.1, 0.2], [0.41, 0.12, 0.17]], atol=1e-12)
    np.testing.assert_allclose(rotations.as_matrix(), [np.eye(3)] * 2, atol=1e-12)
    np.testing.assert_allclose(gripper, [1, 0.5])


def test_turns_are_about_the_base_axes_whatever_the_tool_looks_at():
    # A tool that points down (x forward, z down), turned a quarter about the base's z axis: its x
    # axis points to the base's y. About its own z it would point to -y.
    down = Rotation.from_matrix(np.diag([1.0, -1.0, -1.0]))
    rows = [[0, 0, 0, 0, 0, QUARTER_TURN, 1]]
    positions, rotations, _ = absolute_poses(chunk(rows), observation(rotation=down))
    np.testing.assert_allclose(rotations[0].apply([1, 0, 0]), [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(rotations[0].apply([0, 0, 1]), [0, 0, -1], atol=1e-12)
    np.testing.assert_allclose(positions[0], [0.4, 0.1, 0.2])  # it turns on the spot


def test_turns_follow_each_other():
    # First about x by a quarter: z goes to -y. Then about z by a quarter: -y goes to x.
    rows = [[0, 0, 0, QUARTER_TURN, 0, 0, 1], [0, 0, 0, 0, 0, QUARTER_TURN, 1]]
    _, rotations, _ = absolute_poses(chunk(rows), observation())
    np.testing.assert_allclose(rotations[0].apply([0, 0, 1]), [0, -1, 0], atol=1e-12)
    np.testing.assert_allclose(rotations[1].apply([0, 0, 1]), [1, 0, 0], atol=1e-12)


def test_roll_comes_before_yaw_within_a_row():
    # Fixed axes: roll a quarter about x (y goes to z), then yaw a quarter about z (z stays).
    rows = [[0, 0, 0, QUARTER_TURN, 0, QUARTER_TURN, 1]]
    _, rotations, _ = absolute_poses(chunk(rows), observation())
    np.testing.assert_allclose(rotations[0].apply([0, 1, 0]), [0, 0, 1], atol=1e-12)


def test_absolute_rows_are_poses_already():
    rows = [[0.5, -0.1, 0.3, 0, 0, QUARTER_TURN, 0.2]]
    positions, rotations, gripper = absolute_poses(chunk(rows, mode="absolute"), observation())
    np.testing.assert_allclose(positions, [[0.5, -0.1, 0.3]])
    np.testing.assert_allclose(rotations[0].as_euler("xyz"), [0, 0, QUARTER_TURN], atol=1e-12)
    np.testing.assert_allclose(gripper, [0.2])


def test_one_row_is_what_the_simulator_does_with_it():
    from sim.kinematics import displaced

    start = Rotation.from_euler("xyz", [3.0, 0.1, -0.4])
    turn = np.array([0.1, -0.2, 0.3])
    _, rotations, _ = absolute_poses(chunk([[0, 0, 0, *turn, 1]]), observation(rotation=start))
    np.testing.assert_allclose(
        rotations[0].as_matrix(), displaced(start, turn).as_matrix(), atol=1e-12
    )


def test_another_observations_chunk_is_refused():
    with pytest.raises(ActionError, match="stamp_ns: expected the chunk of the observation at 8"):
        absolute_poses(chunk([[0] * 7]), observation(stamp_ns=8))
