import numpy as np
import pytest

from sim import robot
from sim.kinematics import Kinematics
from sim.sim2real.arm import ArmSimulation
from sim.sim2real.recording import Recording, excitation, record


@pytest.mark.parametrize("seed", range(20))
def test_an_excitation_keeps_clear_of_table_and_limits(seed):
    duration_s = 12.0
    target = excitation(seed, duration_s)
    times_s = np.arange(0.0, duration_s + 0.001, 0.05)
    path = np.stack([target(time_s) for time_s in times_s])
    assert path[0] == pytest.approx(robot.HOME_RAD) and path[-1] == pytest.approx(robot.HOME_RAD)
    assert np.all((path > robot.POSITION_LOWER_RAD) & (path < robot.POSITION_UPPER_RAD))
    speed = np.abs(np.diff(path, axis=0)) / 0.05
    assert np.all(speed < 0.7 * robot.VELOCITY_LIMIT_RAD_S)
    places, _ = ArmSimulation().tool_poses(path)
    assert places[:, 2].min() > 0.03  # [m] above the table
    assert np.all(np.ptp(path, axis=0) > 0.05)


def test_a_log_is_drawn_from_its_seed(recorded):
    first, second = recorded(index=0), recorded(index=1)
    again, _ = record(Recording(variant="standard", duration_s=4.0, rate_hz=50.0), 0)
    assert np.array_equal(first.joint_positions, again.joint_positions)
    assert np.array_equal(first.commands, again.commands)
    assert not np.array_equal(first.commands, second.commands)
    assert len(first.stamps_s) == 201 and len(first.commands) == 41


def test_an_expert_leaves_instruction_outcome_and_images():
    recording = Recording(
        variant="standard", motion="expert", seed=7, cameras=("front",), image_size_px=32
    )
    log, images = record(recording, 0)
    assert log.success is True
    assert log.instruction
    assert log.gripper_openings.min() < 0.8 < log.gripper_openings.max()
    assert list(images) == ["front"]
    stamp_s, image = images["front"][1]
    assert (stamp_s, image.shape) == (pytest.approx(0.1), (32, 32, 3))
    # Lifted: the tool ends higher than it came down to.
    heights = [Kinematics().forward(joints)[0][2] for joints in log.joint_positions[::25]]
    assert heights[-1] > min(heights) + 0.05


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": "mars"}, "variant: expected one of .* got 'mars'"),
        ({"motion": "dance"}, "motion: expected one of excitation, expert, got 'dance'"),
        ({"env_id": "VlaRos/Fly-v0"}, "env: expected one of VlaRos/Lift-v0.* got 'VlaRos/Fly-v0'"),
        ({"rate_hz": 125.0}, "rate_hz: expected one of 10, 50, 250, got 125"),
        ({"duration_s": 1.0}, "duration_s: expected 2 to 600 s, got 1.0"),
        ({"cameras": ("top",)}, "camera: expected some of front, wrist, got .'top'"),
        ({"seed": -1}, "seed: expected 0 or more, got -1"),
    ],
)
def test_other_recordings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Recording(**changes)
