"""What touches what, and how near a singularity: against the simulated arm and by hand."""

import numpy as np
import pytest

from sim import arm_model, robot
from sim.arm_model import ArmModelError
from vla_ros.body import Body
from vla_ros.limits import Box

BODY = Body()
HOME = robot.HOME_RAD
POSITION, _ = BODY.forward(HOME)
# Two links of 1 m in a plane, and a third joint: known singular when stretched.
PLANAR = """<mujoco><worldbody><body name="a"><joint name="j1" axis="0 0 1" range="-3 3"
 limited="true"/><geom type="capsule" fromto="0 0 0 1 0 0" size=".02"/><body name="b" pos="1 0 0">
 <joint name="j2" axis="0 0 1" range="-3 3" limited="true"/><geom type="capsule"
 fromto="0 0 0 1 0 0" size=".02"/><site name="tip" pos="1 0 0"/></body></body></worldbody>
</mujoco>"""


def test_the_home_posture_touches_nothing():
    assert BODY.contacts(HOME) == []


def test_an_arm_folded_into_itself_is_seen():
    folded = HOME.copy()
    folded[[1, 3, 5]] = [-1.6, -3.0, 0.6]  # the hand at the shoulder
    touching = BODY.contacts(folded)
    assert touching
    assert all(touch.distance_m < 0.005 for touch in touching)
    assert all(touch.first.startswith("fr3_") for touch in touching)


def test_folding_is_seen_all_the_way_from_the_first_touch():
    """Once parts are in each other they stay so until the arm unfolds."""
    folded = HOME.copy()
    folded[[1, 3, 5]] = [-1.6, -3.0, 0.6]
    seen = [bool(BODY.contacts(HOME + s * (folded - HOME))) for s in np.linspace(0, 1, 30)]
    assert not seen[0]
    assert seen[-1]


@pytest.mark.parametrize("distance_m", [0.002, 0.02])
def test_a_box_is_kept_out_of_with_a_clearance(distance_m):
    """A plate below the finger tips, whose pads end 7 mm below the tool's point or so."""
    low = float(POSITION[2])
    for gap_m in np.linspace(0.03, -0.03, 121):
        top = low - gap_m
        plate = Box((0.3, -0.2, top - 0.1), (0.6, 0.2, top))
        touching = Body(keep_out=(plate,), clearance_m=distance_m).contacts(HOME)
        if touching:
            break
    assert "keep-out box 0" in str(touching[0])
    assert touching[0].distance_m == pytest.approx(distance_m, abs=1e-3)


def test_following_a_path_is_looking_at_every_place():
    path = HOME + np.outer(np.linspace(0, 0.3, 5), np.ones(7))
    tool, turns, contacts = BODY.follow(path)
    for row, joints in enumerate(path):
        position, rotation = BODY.forward(joints)
        np.testing.assert_allclose(tool[row], position, atol=1e-12)
        assert (turns[row] * rotation.inv()).magnitude() < 1e-9
        assert contacts[row] == BODY.contacts(joints)


def test_a_stretched_arm_is_nearly_singular():
    stretched = HOME.copy()
    stretched[[1, 3, 5]] = [0.8, -0.16, 1.8]
    assert BODY.condition(stretched) > 3 * BODY.condition(HOME)


def test_the_condition_of_a_planar_arm_by_hand():
    body = Body(arm_model.from_text(PLANAR, ("j1", "j2"), "tip", np.array([0.0, 1.0])))
    # With q2 = 90 degrees: columns (-1, 1, 1) and (-1, 0, 1) of vx, vy, wz.
    jacobian = np.array([[-1.0, -1.0], [1.0, 0.0], [1.0, 1.0]])
    wanted = np.linalg.cond(jacobian)
    assert body.condition(np.array([0.0, np.pi / 2])) == pytest.approx(wanted, rel=1e-6)


def test_a_description_that_cannot_be_used_says_why():
    with pytest.raises(ArmModelError, match=r"joints: expected some of \['j1', 'j2'\], got \['j3'"):
        Body(arm_model.from_text(PLANAR, ("j3",), "tip", np.zeros(1)))
    with pytest.raises(ArmModelError, match="tool: expected one of .*'tip'.*got 'top'"):
        Body(arm_model.from_text(PLANAR, ("j1",), "top", np.zeros(1)))
    with pytest.raises(ArmModelError, match="description: "):
        Body(arm_model.from_text("<mujoco><oops/></mujoco>", ("j1",), "tip", np.zeros(1)))
