"""The policy's thread: the newest observation only, nothing from an old wish, stopping in order."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from policies.interface import ActionChunk, ActionError, Observation
from sim import robot
from sim.kinematics import Kinematics
from vla_ros.inference import InferenceLoop, observe, to_pose_chunk
from vla_ros.policy_loading import check_cameras
from vla_ros.synchronizer import Snapshot

PERIOD_NS = 100_000_000


def observation(stamp_ns, instruction="go"):
    return Observation(
        images={},
        joint_positions=np.zeros(7),
        gripper_opening=1.0,
        ee_position=np.array([0.4, 0.0, 0.2]),
        ee_quaternion=np.array([0.0, 1.0, 0.0, 0.0]),
        instruction=instruction,
        stamp_ns=stamp_ns,
    )


class Policy:
    name, cameras = "test", ("front",)

    def __init__(self):
        self.seen, self.resets = [], 0
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.error = None

    def reset(self, seed=None):
        self.resets += 1

    def predict_chunk(self, observation):
        self.seen.append(observation.stamp_ns)
        self.entered.set()
        self.go_on.wait(10)
        if self.error:
            raise self.error
        return ActionChunk(np.full((2, 7), 0.01), observation.stamp_ns, dt_s=0.1)


@pytest.fixture
def it():
    """A loop with what it is given (`newest`, `instruction`) and what comes of it."""
    state = SimpleNamespace(newest=None, instruction="go", published=[], reports=[])
    state.policy = Policy()
    state.loop = InferenceLoop(
        state.policy,
        lambda: state.newest,
        lambda chunk, actions: state.published.append(chunk),
        lambda seen: seen.instruction == state.instruction,
        lambda level, text: state.reports.append((level, text)),
        rate_hz=10.0,
    )
    state.loop._running.set()
    return state


def test_each_observation_is_used_once_and_not_faster_than_asked(it):
    for stamp_ns in (0, 1, 20_000_000, PERIOD_NS - 5_000_000, PERIOD_NS, 2 * PERIOD_NS):
        it.newest = observation(PERIOD_NS * 10 + stamp_ns)
        it.loop.step()
    assert [stamp - 10 * PERIOD_NS for stamp in it.policy.seen] == [0, 95_000_000, 200_000_000]
    assert it.loop.count == 3


def test_with_a_margin_it_asks_when_an_answer_could_come_too_late(it):
    chunk_ms, latency_ms, margin_s = 800, 120.0, 0.05
    it.policy.predict_chunk = lambda seen: ActionChunk(np.zeros((8, 7)), seen.stamp_ns, 0.1)
    it.loop._margin_ns = round(margin_s * 1e9)
    asked = []
    for index in range(100, 125):  # an image every 0.1 s
        count = it.loop.count
        it.newest = observation(index * PERIOD_NS)
        it.loop.step()
        if it.loop.count > count:
            asked.append(index)
        it.loop._recent_ms.append(latency_ms)
    # 800 - 120 - 50 = 630 ms: the image at 600 ms is the last whose answer is in time.
    assert asked == [100, 106, 112, 118, 124]
    assert chunk_ms - 600 >= latency_ms + margin_s * 1e3


def test_with_a_margin_a_new_instruction_does_not_wait(it):
    it.policy.predict_chunk = lambda seen: ActionChunk(np.zeros((8, 7)), seen.stamp_ns, 0.1)
    it.loop._margin_ns = 0
    for index, text in enumerate(("go", "go", "come")):
        it.newest, it.instruction = observation((10 + index) * PERIOD_NS, text), text
        it.loop.step()
    assert [chunk.stamp_ns for chunk in it.published] == [10 * PERIOD_NS, 12 * PERIOD_NS]


def test_with_a_margin_a_clock_set_back_does_not_wait(it):
    it.policy.predict_chunk = lambda seen: ActionChunk(np.zeros((8, 7)), seen.stamp_ns, 0.1)
    it.loop._margin_ns = 0
    for index in (50, 20, 21):
        it.newest = observation(index * PERIOD_NS)
        it.loop.step()
    assert [chunk.stamp_ns for chunk in it.published] == [50 * PERIOD_NS, 20 * PERIOD_NS]


def test_what_a_chunk_says_about_itself_is_kept_for_the_diagnostics(it):
    chunk = ActionChunk(np.zeros((1, 7)), 10 * PERIOD_NS, 0.1, diagnostics={"remote_ms": 3.5})
    it.policy.predict_chunk = lambda observation: chunk
    it.newest = observation(10 * PERIOD_NS)
    it.loop.step()
    assert it.loop.diagnostics == {"remote_ms": 3.5}


def test_what_arrives_during_a_prediction_is_not_queued(it):
    it.policy.go_on.clear()
    it.newest = observation(10 * PERIOD_NS)
    it.loop.start()
    it.loop.notify()
    assert it.policy.entered.wait(10)
    for index in range(11, 16):  # five images come while it thinks
        it.newest = observation(index * PERIOD_NS)
        it.loop.notify()
    it.policy.entered.clear()
    it.policy.go_on.set()
    assert it.policy.entered.wait(10)
    assert it.loop.stop()
    assert it.policy.seen == [10 * PERIOD_NS, 15 * PERIOD_NS]


def test_an_answer_to_an_old_instruction_is_thrown_away(it):
    it.newest = observation(10 * PERIOD_NS)
    it.instruction = "stop that"
    it.loop.step()
    assert it.policy.seen
    assert it.published == []


def test_a_new_instruction_resets_the_policy(it):
    for index, text in enumerate(("go", "go", "come", "come")):
        it.newest, it.instruction = observation((10 + index) * PERIOD_NS, text), text
        it.loop.step()
    assert it.policy.resets == 2


def test_the_same_instruction_for_other_work_resets_the_policy(it):
    for index in range(3):
        it.newest = observation((10 + index) * PERIOD_NS)
        it.loop.step()
    it.loop.begin_anew()
    it.newest = None  # between the two there is none
    it.loop.step()
    for index in range(3):
        it.newest = observation((6000 + index) * PERIOD_NS)
        it.loop.step()
    assert it.policy.resets == 2
    assert len(it.policy.seen) == 6


def test_a_policy_that_cannot_be_reset_is_asked_nothing_until_it_can(it):
    problems = [OSError("no connection"), None]

    def reset():
        problem = problems.pop(0)
        if problem:
            raise problem

    it.policy.reset = reset
    it.newest = observation(10 * PERIOD_NS)
    it.loop.step()
    assert it.policy.seen == []
    assert it.reports == [("ERROR", "OSError: no connection")]
    it.newest = observation(11 * PERIOD_NS)
    it.loop.step()
    assert it.policy.seen == [11 * PERIOD_NS]


def test_a_failing_policy_is_reported_and_publishes_nothing(it):
    it.policy.error = ActionError("actions: expected finite numbers, got nan")
    it.newest = observation(10 * PERIOD_NS)
    it.loop.step()
    assert it.published == []
    assert it.reports == [("ERROR", "actions: expected finite numbers, got nan")]


def test_what_cannot_be_published_does_not_end_the_work(it):
    def fail(chunk, actions):
        raise ValueError("stamp: out of range")

    it.loop._publish = fail
    it.newest = observation(10 * PERIOD_NS)
    it.loop.step()
    assert it.reports == [("ERROR", "ValueError: stamp: out of range")]


def test_stopping_during_a_prediction_publishes_nothing_more(it):
    it.policy.go_on.clear()
    it.newest = observation(10 * PERIOD_NS)
    it.loop.start()
    it.loop.notify()
    assert it.policy.entered.wait(10)
    assert not it.loop.stop(timeout_s=0.05)  # it hangs, and we do not wait for it
    it.policy.go_on.set()
    assert it.loop.stop(timeout_s=10)
    assert it.published == []


def test_the_tool_pose_and_the_gripper_come_from_the_joints():
    joints = np.concatenate([robot.HOME_RAD, [0.03, 0.03]])
    snapshot = Snapshot(5, {"front": np.zeros((2, 2, 3), np.uint8)}, joints)
    result = observe(snapshot, "go", Kinematics())
    assert result.gripper_opening == pytest.approx(0.75)
    np.testing.assert_allclose(result.ee_position, [0.45, 0, 0.25], atol=0.06)
    assert abs(result.ee_quaternion[1]) > 0.99 or abs(result.ee_quaternion[2]) > 0.99  # looks down


def test_a_chunk_carries_absolute_poses_and_times():
    seen = observation(7)
    chunk = ActionChunk(np.array([[0.01, 0, 0, 0, 0, 0, 1]] * 2), 7, dt_s=0.1)
    result = to_pose_chunk(chunk, seen)
    np.testing.assert_array_equal(result.times_ns, [PERIOD_NS, 2 * PERIOD_NS])
    np.testing.assert_allclose(result.positions, [[0.41, 0, 0.2], [0.42, 0, 0.2]])
    with pytest.raises(ActionError, match="frame: expected 'base', got 'camera'"):
        to_pose_chunk(ActionChunk(chunk.actions, 7, 0.1, frame="camera"), seen)
    with pytest.raises(ActionError, match="dt_s: expected a chunk of 600 s or less"):
        to_pose_chunk(ActionChunk(chunk.actions, 7, 1e12), seen)


def test_a_camera_the_policy_needs_must_be_among_those_chosen():
    policy = Policy()
    assert check_cameras([""], policy) == ("front",)
    assert check_cameras(["front", "wrist"], policy) == ("front", "wrist")
    with pytest.raises(ValueError, match=r"looks at \['front'\], got \['wrist'\]"):
        check_cameras(["wrist"], policy)
