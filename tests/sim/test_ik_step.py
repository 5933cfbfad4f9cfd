"""The step of inverse kinematics against `mink.solve_ik`, which it must equal to the bit."""

import sim  # isort: skip  # noqa: F401  chooses the renderer before MuJoCo is imported
import mink
import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from policies.openvla.state import DOWN
from sim import arm_model, robot
from sim.ik_step import IkStep
from sim.kinematics import Kinematics
from sim.quaternions import displaced

# A ball joint has more coordinates than degrees of freedom; a joint without range has no limits.
WITH_BALL = """<mujoco><worldbody><body name="a"><joint name="turn" axis="0 0 1" range="-2 2"
 limited="true"/><geom size=".1"/><body name="b" pos=".3 0 0"><joint name="ball" type="ball"/>
 <geom size=".1"/><body name="tool" pos=".3 0 0"><joint name="bend" axis="0 1 0" range="-2 2"
 limited="true"/><geom size=".1"/></body></body></body></worldbody></mujoco>"""
WITHOUT_LIMITS = """<mujoco><worldbody><body name="a"><joint name="turn" axis="0 0 1"/>
 <geom size=".1"/><body name="tool" pos=".3 0 0"><joint name="bend" axis="0 1 0"/>
 <geom size=".1"/></body></body></worldbody></mujoco>"""


class Problem:
    """Twice the same configuration and tasks: for mink and for the step."""

    def __init__(self, arm):
        self.model = arm.compile()
        kind, self.tool = arm.tool_frame(self.model)
        self.addresses = self.model.jnt_qposadr[arm.joint_ids(self.model)]
        self.ours, self.theirs = (mink.Configuration(self.model) for _ in range(2))
        self.frame = mink.FrameTask(arm.tool, kind, 1.0, 0.3, lm_damping=1e-4)
        self.posture = mink.PostureTask(self.model, cost=np.full(self.model.nv, 2e-3))
        home = self.ours.q
        home[self.addresses] = arm.home_rad
        self.posture.set_target(home)
        self.step = IkStep(self.ours, self.frame, self.posture, damping=1e-5)
        self.tasks = [self.frame, self.posture]
        self.limits = [mink.ConfigurationLimit(self.model)]

    def compare(self, joints, quaternion, position, steps=4):
        """Both go from `joints` towards a pose, and are at the same bits after each step."""
        q = self.ours.q
        q[self.addresses] = joints
        self.ours.update(q)
        self.theirs.update(q)
        self.frame.set_target(mink.SE3(np.array([*quaternion, *position])))
        for _ in range(steps):
            velocity = mink.solve_ik(
                self.theirs, self.tasks, 1.0, "daqp", limits=self.limits, damping=1e-5
            )
            self.theirs.integrate_inplace(velocity, 1.0)
            self.step()
            np.testing.assert_array_equal(self.ours.q, self.theirs.q)
            np.testing.assert_array_equal(self.ours.data.xpos, self.theirs.data.xpos)


FR3 = Problem(arm_model.fr3())
joint_angles = st.tuples(
    *[
        st.floats(lower, upper) | st.sampled_from([lower, upper])
        for lower, upper in zip(robot.POSITION_LOWER_RAD, robot.POSITION_UPPER_RAD, strict=True)
    ]
)
small = st.tuples(*[st.floats(-0.4, 0.4)] * 6)


@settings(deadline=None, max_examples=100)
@given(joints=joint_angles, displacement=small)
def test_it_equals_mink_near_the_measured_pose_even_at_the_limits(joints, displacement):
    """As actions ask: a displacement of at most 8 cm an axis and 0.4 rad."""
    displacement = np.array(displacement)
    configuration = mink.Configuration(FR3.model)
    q = configuration.q
    q[FR3.addresses] = joints
    configuration.update(q)
    pose = configuration.get_transform_frame_to_world(robot.TCP_SITE, "site")
    w, x, y, z = pose.rotation().wxyz
    x, y, z, w = displaced((x, y, z, w), displacement[3:])
    FR3.compare(joints, (w, x, y, z), pose.translation() + 0.2 * displacement[:3])


@settings(deadline=None, max_examples=100)
@given(joints=joint_angles, position=st.tuples(*[st.floats(-2, 2)] * 3), seed=st.integers(0, 999))
def test_it_equals_mink_for_poses_far_away(joints, position, seed):
    quaternion = Rotation.random(rng=seed).as_quat(scalar_first=True)
    FR3.compare(joints, quaternion, position, steps=8)


@pytest.mark.parametrize("description", [WITH_BALL, WITHOUT_LIMITS])
def test_joints_of_other_kinds_are_left_to_mink(description):
    arm = arm_model.from_text(description, ("turn", "bend"), "tool", np.array([0.1, 0.2]))
    problem = Problem(arm)
    problem.compare([0.5, -0.5], [1, 0, 0, 0], [0.2, 0.3, -0.1])
    assert not np.array_equal(problem.ours.q[problem.addresses], [0.5, -0.5])  # it moved


def test_a_problem_without_solution_is_refused_as_by_mink():
    with pytest.raises(mink.NoSolutionFound, match="daqp failed"):
        Kinematics().inverse(robot.HOME_RAD, np.array([1e30, 0.0, 0.0]), DOWN)


def test_reach_is_inverse_with_a_quaternion():
    kinematics = Kinematics()
    position, rotation = kinematics.forward(robot.HOME_RAD)
    x, y, z, w = rotation.as_quat()
    by_rotation = kinematics.inverse(robot.HOME_RAD, position + 0.05, rotation)
    by_quaternion = kinematics.reach(robot.HOME_RAD, position + 0.05, (x, y, z, w))
    np.testing.assert_array_equal(by_rotation[0], by_quaternion[0])
    assert by_rotation[1] == by_quaternion[1]


def test_the_models_joints_turn_or_slide():
    """What the quick way is for: of the FR3's nine joints every one."""
    kinds = {mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE}
    assert set(FR3.model.jnt_type) <= {int(kind) for kind in kinds}
    assert FR3.step._is_usual
