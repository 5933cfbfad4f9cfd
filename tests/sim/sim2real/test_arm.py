from dataclasses import replace

import numpy as np
import pytest

from sim import robot
from sim.compile import compile_scene
from sim.scene import Scene
from sim.sim2real.arm import ArmParameters, ArmSimulation, parameter_names
from sim.sim2real.gap import closed_share, lag, pooled, tracking_gap
from sim.sim2real.logs import LogError

NOMINAL = ArmParameters.nominal()


def test_nominal_parameters_are_those_of_the_compiled_model():
    model = compile_scene(Scene(items=()))
    before = [
        array.copy()
        for array in (model.dof_damping, model.dof_frictionloss, model.actuator_gainprm,
                      model.actuator_biasprm)
    ]  # fmt: skip
    NOMINAL.apply_to(model)
    after = (model.dof_damping, model.dof_frictionloss, model.actuator_gainprm,
             model.actuator_biasprm)  # fmt: skip
    for old, new in zip(before, after, strict=True):
        assert np.array_equal(old, new)


def test_vectors_and_parameters_are_one():
    vector = np.arange(1.0, 23.0) / 100
    assert np.array_equal(ArmParameters.from_vector(vector).to_vector(), vector)
    names = parameter_names()
    assert len(names) == 22
    assert (names[0], names[-1]) == ("damping, fr3_joint1 [N m s/rad]", "latency [s]")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"damping": np.full(7, -1.0)}, "damping: expected no negative values"),
        ({"stiffness": np.zeros(7)}, "stiffness: expected no negative values"),
        ({"friction_loss": np.ones(6)}, "friction_loss: expected 7 finite numbers"),
        ({"latency_s": 2.0}, "latency_s: expected 0 to 0.5 s, got 2.0"),
    ],
)
def test_impossible_parameters_are_refused(changes, message):
    with pytest.raises(LogError, match=message):
        replace(NOMINAL, **changes)


def test_a_replay_does_what_the_tabletop_did(recorded):
    gap = tracking_gap(ArmSimulation(), recorded("standard"), NOMINAL)
    assert gap.rmse_rad < 2e-5
    assert gap.tool_max_m < 1e-4
    assert gap.lag_s == pytest.approx(0.0, abs=1e-9)


def test_late_commands_show_as_a_lag(recorded):
    log, simulation = recorded("standard"), ArmSimulation()
    late = tracking_gap(simulation, log, replace(NOMINAL, latency_s=0.06))
    assert late.lag_s == pytest.approx(-0.06, abs=0.003)  # the robot is ahead of it
    assert late.rmse_rad > 1e-3


def test_a_gap_by_hand(recorded):
    """Joint 3 stands 10 mrad off; the tool turns with it."""
    log, simulation = recorded("standard"), ArmSimulation()
    positions = simulation.replay(log, [NOMINAL])[0]
    positions[10:, 2] += 0.01  # later than where the replay takes its start from
    gap = tracking_gap(simulation, replace(log, joint_positions=positions), NOMINAL)
    rows = len(positions)
    assert gap.joint_rmse_rad[2] == pytest.approx(0.01 * np.sqrt((rows - 10) / rows), rel=1e-3)
    assert gap.joint_max_rad[2] == pytest.approx(0.01, rel=1e-3)
    assert gap.joint_max_rad[[0, 1, 3, 4, 5, 6]].max() < 1e-4
    assert gap.tool_max_rad == pytest.approx(0.01, rel=1e-3)
    assert 0.001 < gap.tool_rmse_m < 0.01


def test_pooled_gaps_weigh_by_samples(recorded):
    simulation = ArmSimulation()
    soft = replace(NOMINAL, stiffness=0.5 * NOMINAL.stiffness)
    short, long = (
        tracking_gap(simulation, recorded("standard", duration_s=duration_s), soft)
        for duration_s in (2.0, 4.0)
    )
    both = pooled([short, long])
    total = short.samples + long.samples
    expected = (short.samples * short.rmse_rad**2 + long.samples * long.rmse_rad**2) / total
    assert both.rmse_rad == pytest.approx(np.sqrt(expected))
    assert both.samples == total
    assert both.tool_max_m == max(short.tool_max_m, long.tool_max_m)
    assert closed_share(0.02, 0.005) == pytest.approx(0.75)
    assert closed_share(0.0, 0.0) is None


def test_a_lag_by_hand():
    stamps_s = np.arange(0.0, 3.0, 0.02)
    wave = np.sin(3 * stamps_s)[:, None] * np.ones(7)
    later = np.sin(3 * (stamps_s - 0.1))[:, None] * np.ones(7)
    assert lag(stamps_s, later, wave) == pytest.approx(0.1, abs=0.002)
    assert lag(stamps_s, wave, later) == pytest.approx(-0.1, abs=0.002)
    assert lag(stamps_s, wave, np.zeros_like(wave)) is None
    assert lag(stamps_s[:20], wave[:20], wave[:20]) is None


def test_the_tool_is_where_kinematics_has_it():
    places, rotations = ArmSimulation().tool_poses(robot.HOME_RAD[None])
    assert places[0] == pytest.approx([0.45, 0.0, 0.25], abs=0.01)
    assert rotations[0][:, 2] == pytest.approx([0, 0, -1], abs=1e-3)  # pointing down
