import numpy as np
import pytest

from sim import robot
from sim.sim2real.logs import LogError, ordered_by_name, outcomes


def test_a_good_log_holds_its_commands(log_by_hand):
    log = log_by_hand()
    assert log.duration_s == 2.0
    late = log.command_at(np.array([-1.0, 0.05, 9.0]))
    assert late[0] == pytest.approx(log.commands[0])
    assert late[1] == pytest.approx((log.commands[0] + log.commands[1]) / 2)
    assert late[2] == pytest.approx(log.commands[-1])


def change(log, name, row, value):
    values = getattr(log, name).copy()
    values[row] = value
    return {name: values}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (lambda log: change(log, "joint_positions", 7, np.nan), "joint_positions: .* in row 7"),
        (lambda log: change(log, "commands", 2, np.inf), "commands: expected finite .* row 2"),
        (lambda log: change(log, "stamps_s", 50, 0.5), "stamps_s: the clock jumps back .* 0.980 s"),
        (lambda log: {"stamps_s": log.stamps_s + (log.stamps_s > 1.0) * 0.5},
         "stamps_s: a gap .* of 0.520 s after 1.000 s; at most 0.25 s expected"),
        (lambda log: {"stamps_s": log.stamps_s + (log.stamps_s > 1.0) * 3600.0},
         r"a gap \(or a clock that jumps\) of 3600.020 s"),
        (lambda log: {"stamps_s": 1e3 * log.stamps_s},
         "a gap .* of 20.000 s after 0.000 s; at most 0.50 s expected; are the stamps in seconds?"),
        (lambda log: {"image_stamps_s": {"/front": log.stamps_s + (np.arange(101) == 50) * 5e3}},
         "image_stamps_s, /front: the clock jumps back from 5001.000 to 1.020 s"),
        (lambda log: {"image_stamps_s": {"/front": log.stamps_s + 5e3}},
         r"images \(5000.0 to 5002.0 s\) and joint states \(0 to 2.0 s\) do not overlap"),
        (lambda log: {"joint_positions": np.rad2deg(log.joint_positions)},
         "joint_positions, fr3_joint2: expected -1.834 to 1.834 rad, got -10.* as degrees all"),
        (lambda log: {"commands": np.rad2deg(log.commands)}, "commands, fr3_joint2: .* degrees"),
        (lambda log: {"commands": log.commands + 5.0}, r"commands, fr3_joint1: .* in row 0$"),
        (lambda log: change(log, "joint_positions", 60, robot.HOME_RAD + 0.6),
         "joint_positions, fr3_joint1: expected at most 5.2 rad/s, got .* the position jumps"),
        (lambda log: {"command_stamps_s": log.command_stamps_s + 1e6}, "on the same clock"),
        (lambda log: change(log, "command_stamps_s", 3, 0.1), "command_stamps_s: expected rising"),
        (lambda log: {"stamps_s": log.stamps_s / 10}, "expected 1 s or more, got 0.20 s"),
        (lambda log: {"joint_positions": log.joint_positions[:, :6]}, "got .101, 6. for 101"),
        (lambda log: {"gripper_openings": np.full(101, 40.0)}, "gripper_openings: expected 0"),
    ],
)  # fmt: skip
def test_bad_logs_are_refused(log_by_hand, changes, message):
    with pytest.raises(LogError, match=f"by hand: .*{message}" if message[0] != "b" else message):
        log_by_hand(**changes(log_by_hand()))


def test_a_camera_may_miss_pictures_and_correct_its_clock_a_little(log_by_hand):
    for stamps_s in ([], [-3.0, 1.0, 0.95, 9.0]):
        images = {"/front": np.array(stamps_s)}
        assert log_by_hand(image_stamps_s=images).image_stamps_s == images


def test_joints_are_found_by_name():
    names = ["b.pos", "a"]
    assert ordered_by_name(names, np.array([[1.0, 2.0]]), ["a", "b"], "here").tolist() == [[2, 1]]
    with pytest.raises(LogError, match="here: joints: expected a, c, got b.pos, a; missing c: is"):
        ordered_by_name(names, np.zeros(2), ["a", "c"], "here")


def test_outcomes_count_only_what_is_told(log_by_hand):
    logs = [log_by_hand(success=success) for success in (True, False, None, True)]
    assert outcomes(logs) == {"episodes": 3, "successes": 2}
