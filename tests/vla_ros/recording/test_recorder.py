"""What becomes an episode, and what is in it, without ROS and without LeRobot."""

from unittest.mock import Mock

import numpy as np
import pytest

from sim import robot
from sim.episode_files import DatasetError
from sim.kinematics import Kinematics, displacement
from vla_ros.recording.arm import features
from vla_ros.recording.recorder import Recorder
from vla_ros.recording.settings import Settings

OPTIONS = {"crf": "18", "preset": "ultrafast"}
MS = 1_000_000


class Files:
    """Takes what would be appended."""

    encoder_options = OPTIONS

    def __init__(self, folder):
        self.folder = folder
        (folder / "meta").mkdir()
        self.appended = []

    @property
    def episodes(self):
        return len(self.appended)

    def append(self, episodes):
        self.appended += episodes

    def close(self):
        pass


class Robot:
    """One joint turns at 0.5 rad/s; images at 10 Hz from two cameras, joints at 50 Hz."""

    def __init__(self, folder, **settings):
        self.files = Files(folder)
        self.heard = []
        self.recorder = Recorder(
            Settings(cameras=("front", "wrist"), **settings),
            lambda shapes: self.files,
            self.heard.append,
        )
        self.now_ns = 10**18
        self.shape = (16, 16, 3)
        self.delay_ns = MS  # of joint states
        self.camera_delay_ns = 0
        self.commanded = True

    def joints(self, time_ns):
        turned = 0.5 * (time_ns - 10**18) / 1e9
        return np.array([*(robot.HOME_RAD + [turned, 0, 0, 0, 0, 0, 0]), 0.02, 0.02])

    def run(self, duration_s, images=True, joints=True):
        for _ in range(round(duration_s * 50)):
            self.now_ns += 20 * MS
            if joints:
                turned, heard_ns = self.joints(self.now_ns), self.now_ns + self.delay_ns
                self.recorder.on_joints(self.now_ns, turned, heard_ns)
            target = self.joints(self.now_ns + 100 * MS)[:7]
            if self.commanded:
                self.recorder.on_command(False, [(100 * MS, target)], 0, self.now_ns)
            if images and self.now_ns % (100 * MS) == 0:
                for camera in ("wrist", "front"):
                    image = np.zeros(self.shape, np.uint8)
                    stamp_ns = self.now_ns - self.camera_delay_ns
                    self.recorder.on_image(camera, stamp_ns, image, self.now_ns)

    def episode(self, duration_s=1.5):
        self.say("lift it")
        self.run(duration_s)
        self.say("")

    def say(self, text, published_ns=None):
        self.recorder.on_instruction(text, self.now_ns, published_ns)


def test_an_action_is_what_the_controller_was_told_until_the_next_row(tmp_path):
    arm = Robot(tmp_path)
    arm.run(0.5)
    arm.episode()
    (episode,) = arm.files.appended
    assert episode.task == "lift it"
    assert episode.length == 14
    columns, kinematics = episode.columns, Kinematics()
    first_ns = round((columns["observation.joint_positions"][0, 0] - robot.HOME_RAD[0]) / 0.5 * 1e9)
    for row in range(4, episode.length):
        instant_ns = 10**18 + first_ns + row * 100 * MS
        joints = arm.joints(instant_ns)
        assert columns["observation.joint_positions"][row] == pytest.approx(joints[:7], abs=1e-4)
        position, rotation = kinematics.forward(joints[:7])
        wanted, turned = kinematics.forward(arm.joints(instant_ns + 100 * MS)[:7])
        expected = [*(wanted - position), *displacement(rotation, turned), 0.5]
        assert columns["action"][row] == pytest.approx(expected, abs=3e-3)
    assert columns["observation.state"][:, 7] == pytest.approx(0.5)
    assert not columns["next.success"].any()


def test_the_last_word_on_success_counts_and_only_within_the_episode(tmp_path):
    arm = Robot(tmp_path)
    arm.recorder.on_success(True)
    arm.run(0.5)
    arm.episode()
    arm.say("push it")
    arm.run(1.0)
    arm.recorder.on_success(False)
    arm.recorder.on_success(True)
    arm.say("pour it")  # ends it as well as the empty one
    arm.recorder.on_success(True)
    arm.run(0.8)
    arm.recorder.on_success(False)
    arm.say("")
    success = [episode.columns["next.success"] for episode in arm.files.appended]
    assert [bool(each[-1]) for each in success] == [False, True, False]
    assert [each.sum() for each in success] == [0, 1, 0]


def turn(arm, times=3):
    for _ in range(times):
        arm.recorder.on_turn()


def outcomes(arm):
    return [bool(each.columns["next.success"][-1]) for each in arm.files.appended]


def test_an_outcome_told_before_the_next_instruction_counts_although_it_is_heard_after(tmp_path):
    arm = Robot(tmp_path)
    arm.run(0.5)
    arm.say("lift it", 100)
    arm.run(1.0)
    arm.say("push it", 200)
    arm.run(0.2)
    arm.recorder.on_success(True, 199)
    turn(arm)
    assert (outcomes(arm), arm.recorder.recording) == ([True], True)
    arm.recorder.on_success(True, 198)  # too late
    assert arm.heard[-1].startswith("success counts for nothing: it was told before 'push it'")
    arm.run(1.0)
    arm.recorder.on_success(False, 300)
    arm.recorder.on_success(True, 250)  # not the last word
    arm.say("", 400)
    arm.recorder.on_success(True, 401)  # of no episode
    turn(arm)
    assert outcomes(arm) == [True, False]
    assert arm.heard[-1].startswith("episode 1: 11 rows, failure, 'push it'")


def test_outcomes_find_their_episodes_when_two_have_just_ended(tmp_path):
    arm = Robot(tmp_path)
    arm.run(0.5)
    for start, task in ((100, "lift it"), (200, "push it"), (300, "")):
        arm.say(task, start)
        arm.run(1.0 if task else 0.0)
    turn(arm, 2)
    assert arm.files.appended == []
    arm.recorder.on_success(False, 199)
    arm.recorder.on_success(True, 299)
    turn(arm, 1)
    assert outcomes(arm) == [False, True]
    assert arm.recorder._ended == []


def test_an_episode_that_waits_for_its_outcome_is_finished_at_the_end(tmp_path):
    arm = Robot(tmp_path)
    arm.run(0.5)
    arm.say("lift it", 100)
    arm.run(1.0)
    arm.say("push it", 200)
    arm.run(0.3)
    arm.recorder.on_success(True, 150)
    arm.recorder.close()
    assert outcomes(arm) == [True]
    assert arm.heard[-1] == "episode thrown away: recording ended before it did"


def test_an_episode_waits_for_the_joint_states_and_commands_in_the_queues(tmp_path):
    """They come more often than images, so a recorder that is behind hears them later."""
    arm = Robot(tmp_path)
    arm.run(0.5)
    arm.say("lift it", 100)
    start_ns, arm.commanded = arm.now_ns, False
    arm.run(1.0, joints=False)
    arm.say("push it", 200)
    arm.run(0.1, joints=False)
    turn(arm, 5)
    assert arm.files.appended == []
    arm.now_ns, arm.commanded = start_ns, True
    arm.run(1.1, images=False)
    turn(arm, 1)
    (episode,) = arm.files.appended
    action = episode.columns["action"]
    assert np.linalg.norm(action[:, :3], axis=1) == pytest.approx(0.0225, abs=3e-3)
    arm.run(0.8)
    arm.say("pour it", 300)
    turn(arm, 49)
    arm.run(1.0, joints=False)
    arm.say("", 400)
    turn(arm, 49)
    assert (arm.recorder.recorded, arm.recorder.discarded) == (2, 0)
    turn(arm, 1)  # they will not come
    assert "no joint states for" in arm.heard[-1]


def test_the_first_actions_are_those_of_the_trajectory_that_still_runs(tmp_path):
    """The policy needs a moment for its first answer to a new instruction; the arm goes on."""
    arm = Robot(tmp_path)
    arm.commanded = False
    arm.run(0.5)
    start_ns = arm.now_ns
    points = [(t * 20 * MS, arm.joints(start_ns + t * 20 * MS)[:7]) for t in range(1, 100)]
    arm.recorder.on_command(False, points, 0, start_ns)
    arm.run(0.5)
    arm.say("push it")
    arm.run(0.6)
    arm.commanded = True
    arm.run(0.6)
    arm.say("")
    (episode,) = arm.files.appended
    kinematics = Kinematics()
    for joints, action in zip(
        episode.columns["observation.joint_positions"], episode.columns["action"], strict=True
    ):
        turned_ns = round((joints[0] - robot.HOME_RAD[0]) / 0.5 * 1e9)
        position, _ = kinematics.forward(joints)
        wanted, _ = kinematics.forward(arm.joints(10**18 + turned_ns + 100 * MS)[:7])
        assert action[:3] == pytest.approx(wanted - position, abs=3e-3)


@pytest.mark.parametrize(("ended_s", "leads"), [(1.0, True), (3.0, False)])
def test_where_a_trajectory_of_before_ended_counts_for_a_while(tmp_path, ended_s, leads):
    """The arm lags behind it at first; later somebody may have moved the arm by other means."""
    arm = Robot(tmp_path)
    arm.commanded = False
    arm.run(0.5)
    target = arm.joints(arm.now_ns)[:7] + [1.0, 0, 0, 0, 0, 0, 0]
    arm.recorder.on_command(False, [(100 * MS, target)], 0, arm.now_ns)
    arm.run(0.1 + ended_s)
    arm.say("push it")
    arm.run(1.0)
    arm.recorder.on_command(False, [(100 * MS, arm.joints(arm.now_ns)[:7])], 0, arm.now_ns)
    arm.run(0.5)
    arm.say("")
    (episode,) = arm.files.appended
    joints, action = (episode.columns[n][0] for n in ("observation.joint_positions", "action"))
    wanted = target if leads else arm.joints(10**18 + round((0.6 + ended_s + 0.02) * 1e9))[:7]
    kinematics = Kinematics()
    expected = kinematics.forward(wanted)[0] - kinematics.forward(joints)[0]
    assert action[:3] == pytest.approx(expected, abs=0.05)
    assert (np.linalg.norm(action[:3]) > 0.1) == leads


def test_a_recorder_that_was_behind_says_so_and_takes_it_for_no_second_clock(tmp_path):
    arm = Robot(tmp_path)
    arm.run(0.5)
    arm.say("lift it")
    arm.run(1.0)
    arm.recorder.on_behind(2_300 * MS)
    arm.recorder.on_behind(MS)
    arm.run(0.8, images=False)  # pushed out of the queue
    arm.run(0.2)
    assert "no image for more than 500 ms" in arm.heard[-1]
    assert arm.heard[-1].endswith("; the recorder was behind by 2.3 s")


@pytest.mark.parametrize(
    ("mishap", "message"),
    [
        (lambda arm: arm.run(0.8, images=False), "camera 'front': no image for more than 500 ms"),
        (lambda arm: arm.run(0.8, joints=False), "no joint states for 8.. ms; at most 500 ms"),
        (lambda arm: setattr(arm, "shape", (32, 16, 3)), r"of shape \(16, 16, 3\), got \(32, 16"),
        (lambda arm: arm.recorder.discard(), "thrown away: on demand"),
        (lambda arm: arm.recorder.on_image("front", arm.now_ns - 10**10, np.zeros(arm.shape), 0),
         "camera 'front': its clock was set back"),
    ],
)  # fmt: skip
def test_what_went_wrong_is_said_and_the_next_episode_is_recorded(tmp_path, mishap, message):
    import re

    arm = Robot(tmp_path)
    arm.run(0.5)
    arm.say("lift it")
    arm.run(1.0)
    mishap(arm)
    arm.run(1.0)
    arm.say("")
    assert arm.files.appended == []
    assert (arm.recorder.recorded, arm.recorder.discarded) == (0, 1)
    assert re.search(message, arm.heard[-1])
    arm.shape = (16, 16, 3)
    arm.run(0.2)
    arm.episode()
    assert arm.recorder.recorded == 1


def test_short_episodes_and_two_clocks_are_thrown_away(tmp_path):
    arm = Robot(tmp_path)
    arm.run(0.5)
    arm.episode(0.4)
    assert "expected 5 rows or more" in arm.heard[-1]
    for apart_s in (3, -3):
        arm.delay_ns = apart_s * 10**9
        arm.episode()
        assert f"stamped {apart_s:.2f} s before they arrive: two clocks" in arm.heard[-1]


def test_a_joint_state_that_comes_late_is_no_second_clock(tmp_path):
    arm = Robot(tmp_path)
    arm.run(0.5)
    arm.say("lift it")
    arm.run(1.0)
    arm.recorder.on_joints(arm.now_ns + MS, arm.joints(arm.now_ns), arm.now_ns + 3 * 10**9)
    arm.say("")
    assert arm.recorder.recorded == 1


def test_an_episode_without_a_command_to_the_arm_is_no_data(tmp_path):
    """With `output: twist`, or a controller of another name, the action would be a guess."""
    arm = Robot(tmp_path)
    arm.run(0.5)  # commands before it do not tell of it
    arm.commanded = False
    arm.say("lift it")
    arm.run(1.5)
    assert arm.recorder.missing == []  # a policy may think for a moment
    arm.run(1.0)
    assert arm.recorder.missing == ["commands to the arm"]
    arm.recorder.on_command(True, [(100 * MS, np.zeros(2))], 0, arm.now_ns)  # the fingers' are not
    arm.say("")
    assert arm.files.appended == []
    assert "nothing was heard on /joint_trajectory_controller/joint_trajectory" in arm.heard[-1]
    assert arm.recorder.missing == ["commands to the arm"]
    arm.commanded = True
    arm.episode()
    assert arm.recorder.missing == []
    assert (arm.recorder.recorded, arm.recorder.discarded) == (1, 1)


def test_an_episode_whose_first_camera_died_is_no_success(tmp_path):
    """Rows come with its images: those that are there look like all."""
    arm = Robot(tmp_path)
    arm.run(0.5)
    arm.say("lift it")
    arm.run(1.0)
    arm.run(29.0, images=False)
    arm.recorder.on_success(True)
    arm.say("")
    assert arm.files.appended == []
    assert "camera 'front': no image in its last 29000 ms; at most 500 ms" in arm.heard[-1]
    arm.run(0.2)
    arm.say("lift it")
    arm.run(1.0)
    arm.run(0.4, images=False)  # within `max_gap_s`
    arm.say("")
    assert arm.recorder.recorded == 1


@pytest.mark.parametrize("behind_s", [1.5, -3.0])
def test_a_camera_with_another_clock_is_refused(tmp_path, behind_s):
    arm = Robot(tmp_path)
    arm.camera_delay_ns = round(behind_s * 1e9)
    arm.run(0.5)
    arm.episode(5.0)
    assert arm.files.appended == []
    assert f"images of camera 'wrist' are stamped {behind_s:.2f} s before they " in arm.heard[-1]


def test_two_streams_may_not_be_further_apart_than_one_clock(tmp_path):
    arm = Robot(tmp_path)
    arm.camera_delay_ns, arm.delay_ns = 300 * MS, -300 * MS
    arm.run(0.5)
    arm.episode(2.0)
    assert arm.files.appended == []
    assert "joint states are stamped -0.30 s before they arrive, images of" in arm.heard[-1]
    arm.delay_ns = 0
    arm.episode(2.0)
    assert arm.recorder.recorded == 1


def test_clocks_that_are_set_back_cost_no_later_episode(tmp_path):
    arm = Robot(tmp_path)
    arm.run(3.0)
    arm.now_ns -= 3600 * 10**9
    arm.run(3.0)
    for _ in range(2):
        arm.episode()
        arm.run(0.5)
    assert (arm.recorder.recorded, arm.recorder.discarded) == (2, 0)
    assert len(arm.recorder._joints.stamps_ns) < 200


def test_joint_states_whose_clock_is_set_back_end_an_episode(tmp_path):
    arm = Robot(tmp_path)
    arm.run(0.5)
    arm.say("lift it", 100)
    arm.run(1.0)
    arm.say("push it", 200)  # the first one is finished with what it has
    arm.run(0.2)
    arm.recorder.on_joints(arm.now_ns - 10**10, arm.joints(arm.now_ns), arm.now_ns)
    assert (arm.recorder.recorded, arm.recorder.discarded) == (1, 1)
    assert arm.heard[-1] == "episode thrown away: joint states: their clock was set back"


def test_an_episode_that_cannot_be_written_is_not_the_end_of_the_recording(tmp_path):
    arm = Robot(tmp_path)

    def append(episodes):
        raise ValueError("Stats must be composed of numpy array")

    arm.files.append = append
    arm.run(0.5)
    arm.episode()
    assert arm.heard[-1].endswith(
        "cannot be written: ValueError: Stats must be composed of numpy array"
    )
    del arm.files.append
    arm.episode()
    assert (arm.recorder.recorded, arm.recorder.discarded) == (1, 1)
    for error in (OSError("full"), DatasetError("gone")):
        arm.files.append = Mock(side_effect=error)
        with pytest.raises(type(error)):
            arm.episode()


def test_the_same_text_said_anew_begins_anew_after_a_discard(tmp_path):
    arm = Robot(tmp_path)
    arm.run(0.5)
    arm.say("lift it")
    arm.run(3.0)
    arm.recorder.discard()
    arm.run(1.0)
    arm.say("lift it")
    arm.run(2.0)
    arm.say("")
    assert [each.length for each in arm.files.appended] == [19]


def test_the_same_text_said_anew_is_the_next_episode_when_the_outcome_is_known(tmp_path):
    arm = Robot(tmp_path)
    arm.run(0.5)
    for success in (True, False, True):
        arm.say("lift it")
        arm.run(3.0)
        arm.recorder.on_success(success)
        arm.run(0.3)
    arm.say("lift it")
    arm.run(3.0)
    arm.say("lift it")  # nobody has told how it went
    assert arm.heard[-1].startswith("'lift it' again: the episode goes on until its outcome")
    arm.run(1.0)
    arm.say("")
    assert outcomes(arm) == [True, False, True, False]
    assert [each.length for each in arm.files.appended] == [32, 32, 32, 39]


def test_a_text_that_is_repeated_all_the_time_is_said_once(tmp_path):
    arm = Robot(tmp_path)
    arm.run(0.5)

    def repeat(duration_s):
        for _ in range(round(duration_s * 10)):
            arm.say("lift it")
            arm.run(0.1)

    repeat(3.0)
    arm.recorder.on_success(True)
    repeat(3.0)
    arm.say("")
    arm.say("lift it")
    repeat(1.0)
    arm.recorder.discard()
    repeat(3.0)
    assert not arm.recorder.recording
    arm.say("")
    assert [each.length for each in arm.files.appended] == [59]
    assert not [each for each in arm.heard if "again" in each]
    ignored = [each for each in arm.heard if each.startswith("'lift it' is only repeated: ")]
    assert len(ignored) == 1  # and once


def test_while_simulated_time_stands_still_a_text_is_given_anew_by_when_it_is_published(tmp_path):
    arm = Robot(tmp_path)
    arm.run(0.5)
    arm.say("lift it", 10**18)
    arm.run(0.5)
    arm.recorder.discard()
    arm.say("lift it", 10**18 + 1_900 * MS)
    assert not arm.recorder._pending
    arm.say("lift it", 10**18 + 60_000 * MS)
    assert arm.recorder._pending


def test_an_episode_with_an_emergency_stop_in_it_is_thrown_away(tmp_path):
    arm = Robot(tmp_path)
    arm.run(0.5)
    arm.say("lift it")
    arm.run(2.0)
    arm.recorder.on_emergency_stop()
    assert arm.heard[-1] == "episode thrown away: emergency stop"
    arm.run(1.0)
    assert not arm.recorder.recording
    arm.say("lift it")  # after a reset
    arm.run(1.5)
    arm.say("")
    assert (arm.recorder.recorded, arm.recorder.discarded) == (1, 1)
    arm.say("push it")
    arm.recorder.on_emergency_stop()  # before its first image
    arm.run(1.0)
    assert (arm.recorder.recording, arm.recorder.discarded) == (False, 1)


def repeat(arm, state, duration_s):
    """A script gives the text once a second; the executor tells its state 10 times a second."""
    for tick in range(round(duration_s * 10)):
        if tick % 10 == 0:
            arm.say("lift it", arm.now_ns)
        arm.recorder.on_executor(state)
        arm.run(0.1)


def test_a_text_that_is_repeated_is_recorded_when_the_executor_moves_again(tmp_path):
    """It counts a repetition after its reset, too."""
    arm = Robot(tmp_path)
    arm.run(0.5)
    repeat(arm, "moving", 2.5)
    arm.recorder.on_emergency_stop(arm.now_ns)
    arm.say("lift it", arm.now_ns + MS)
    arm.recorder.on_executor("moving")  # has not heard the stop yet
    arm.recorder.on_executor("stopped")
    repeat(arm, "stopped", 10.0)
    arm.say("push it", arm.now_ns)  # moves nothing, before the reset
    repeat(arm, "stopped", 3.0)
    repeat(arm, "holding", 1.0)
    assert (arm.recorder.recording, arm.recorder.discarded) == (False, 1)
    awaited = "emergency stop: 'push it' is recorded when the executor moves again"
    assert arm.heard.count(awaited) == 1
    assert len(arm.heard) < 10
    repeat(arm, "moving", 2.0)
    arm.say("", arm.now_ns)
    turn(arm)
    (episode,) = arm.files.appended
    assert (episode.task, episode.length) == ("lift it", 19)


def test_without_an_executor_the_next_text_after_an_emergency_stop_is_recorded(tmp_path):
    arm = Robot(tmp_path)
    arm.run(0.5)
    arm.say("lift it", arm.now_ns)
    arm.recorder.on_emergency_stop(arm.now_ns + MS)
    assert arm.recorder.last == "emergency stop: no episode begins"
    arm.run(1.0)
    assert not arm.recorder.recording
    arm.say("lift it", arm.now_ns)
    arm.run(1.0)
    assert arm.recorder.recording


def test_an_executor_that_is_stopped_is_heard_though_the_stop_was_not(tmp_path):
    arm = Robot(tmp_path)
    arm.run(0.5)
    repeat(arm, "moving", 2.0)
    repeat(arm, "stopped", 2.0)
    assert arm.heard.count("episode thrown away: emergency stop") == 1
    assert not arm.recorder.recording


def test_an_emergency_stop_older_than_the_instruction_costs_no_episode(tmp_path):
    """A latched one that was reset long ago, of a publisher that is found late."""
    arm = Robot(tmp_path)
    arm.run(0.5)
    now_ns = arm.now_ns
    arm.say("lift it", now_ns)
    arm.recorder.on_emergency_stop(now_ns - 900_000 * MS)
    arm.run(1.0)
    assert arm.recorder.recording
    arm.recorder.on_emergency_stop(now_ns - 1)
    assert arm.recorder.recording
    arm.recorder.on_emergency_stop(now_ns + 1)
    assert not arm.recorder.recording


def test_an_emergency_stop_finds_the_episode_that_has_just_ended(tmp_path):
    arm = Robot(tmp_path)
    arm.run(0.5)
    for start, task in ((100, "lift it"), (200, "push it"), (300, "")):
        arm.say(task, start)
        arm.run(1.0 if task else 0.0)
    arm.recorder.on_emergency_stop(299)
    arm.recorder.on_emergency_stop(301)  # of none
    turn(arm)
    assert [each.task for each in arm.files.appended] == ["lift it"]
    assert arm.recorder.discarded == 1


def test_where_the_arm_is_moved_by_hand_it_was_told_to_be_where_it_was(tmp_path):
    """Not to go back to where the controller had left it."""
    arm = Robot(tmp_path)
    arm.run(0.5)
    arm.say("lift it")
    arm.run(1.0)
    arm.commanded = False
    arm.run(4.0)
    arm.commanded = True
    arm.run(1.0)
    arm.say("")
    (episode,) = arm.files.appended
    far_m = np.linalg.norm(episode.columns["action"][:, :3], axis=1)
    kept = np.r_[0:9, 32:58]  # in between the last trajectory still counts
    assert far_m[kept] == pytest.approx(0.0225, abs=0.006)
    assert far_m[25] > 0.2


def test_fingers_that_were_told_once_hold_what_keeps_them_open(tmp_path):
    arm = Robot(tmp_path)
    arm.run(0.5)
    arm.say("lift it")
    arm.recorder.on_command(True, [(100 * MS, np.zeros(2))], 0, arm.now_ns)
    arm.run(5.0)
    arm.say("")
    (episode,) = arm.files.appended
    assert episode.columns["action"][5:, 6] == pytest.approx(0.0)


def test_a_camera_with_slashes_has_a_name_that_lerobot_takes(tmp_path):
    """RealSense's is `/camera/camera/color/image_raw`."""
    name = "camera/camera/color"
    arm, files = Robot(tmp_path), []
    arm.recorder = Recorder(Settings((name,)), lambda shapes: files.append(shapes) or arm.files)
    see = arm.recorder.on_image
    arm.recorder.on_image = lambda camera, *given: see(name, *given) if camera == "front" else None
    arm.run(0.5)
    arm.episode()
    (episode,) = arm.files.appended
    wanted = "observation.images.camera_camera_color"
    assert list(episode.videos) == list(episode.pixels) == [wanted]
    assert wanted in features(files[0])


def test_it_waits_for_every_camera_and_for_joints(tmp_path):
    arm = Robot(tmp_path)
    arm.say("lift it")
    arm.recorder.on_image("front", arm.now_ns, np.zeros(arm.shape, np.uint8), arm.now_ns)
    assert arm.recorder.last == "waiting for wrist, joint states"
    arm.run(1.0)
    assert arm.recorder.recording


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cameras": ()}, "cameras: expected at least one, each once"),
        ({"cameras": ("a", "a")}, "each once, got a, a"),
        ({"cameras": ("a/b", "a_b")}, "differ in more than / and _, .* got a/b, a_b"),
        ({"rate_hz": 0}, "rate_hz: expected 1 to 100, got 0"),
        ({"max_gap_s": -1.0}, "max_gap_s: expected 0 to 10 s, got -1"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        Settings(**{"cameras": ("front",), **changes})
