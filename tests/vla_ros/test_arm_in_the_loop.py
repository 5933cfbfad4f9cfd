"""What a controller makes of the executor's commands, millisecond by millisecond.

The controller begins every trajectory at its own last command, as `docs/executor.md` asks for.
"""

from dataclasses import replace

import numpy as np
import pytest

from sim import robot
from vla_ros.body import Body
from vla_ros.checks import tool_violations
from vla_ros.controllers import TrajectoryFollower
from vla_ros.execution import EMERGENCY, STOOD, Execution, Pace, Timeouts
from vla_ros.executor_state import State
from vla_ros.limits import FR3_LIMITS
from vla_ros.planning import PoseChunk
from vla_ros.points import arm_points

MS = 1_000_000
BODY = Body()
HOME = robot.HOME_RAD
TOOL, _rotation = BODY.forward(HOME)
DOWN = _rotation.as_quat(scalar_first=True)
LIE = 0.8 * np.eye(7)[0]
STOPS = {
    "emergency": lambda it, now: it.on_emergency_stop(now),
    "empty": lambda it, now: it.on_instruction("", now),
    "another executor": lambda it, now: it.forbid("expected one executor, got 2", now),
    "end": lambda it, now: it.on_end(now),
}


class Arm:
    """An execution and a controller. `measured` makes joint states of what is commanded."""

    def __init__(
        self,
        pace=None,
        measured=lambda command: command,
        period_ms=10,
        timeouts=None,
        limits=FR3_LIMITS,
    ):
        self.now, self.at, self.period_ms = 1_000_000 * MS, np.array(HOME), period_ms
        self.measured, self.messages, self.path = measured, 0, []
        self.released = True  # False: the robot's own stop, its controller hears nothing
        self.follower = TrajectoryFollower(
            BODY.joint_names, FR3_LIMITS.position_lower_rad, FR3_LIMITS.position_upper_rad
        )
        self.execution = Execution(BODY, limits, self.send, timeouts, pace)

    def send(self, command):
        self.messages += 1
        if not self.released:
            return
        points = arm_points(command.trajectory, self.now, self.execution.command)
        rows = list(zip(points.times_ns.tolist(), points.positions, strict=True))
        self.follower.accept(BODY.joint_names, rows, 0, self.now, self.at, list(points.velocities))

    def stop_itself(self):
        self.released = False
        self.follower.clear()

    def step(self, ms):
        for _ in range(ms):
            self.now += MS
            commanded = self.follower.sample(self.now)
            self.at = self.at if commanded is None else commanded
            self.path.append(self.at)
            if (self.now // MS) % self.period_ms == 0 and self.measured is not None:
                self.execution.on_joints(np.asarray(self.measured(self.at)), self.now)
            if (self.now // MS) % 20 == 0:
                self.execution.tick(self.now)

    def chunk(self, positions, age_ms=80):
        count = len(positions)
        self.execution.on_chunk(
            PoseChunk(
                self.now - age_ms * MS,
                np.arange(1, count + 1) * 100 * MS,
                np.asarray(positions, float),
                np.tile(DOWN, (count, 1)),
                np.ones(count),
            ),
            self.now,
        )

    def begin(self, text="go"):
        self.step(200)
        self.execution.on_instruction(text, self.now)
        self.step(200)

    @property
    def state(self):
        return self.execution.state

    def used(self, since=0):
        """Largest shares of the joints' speed and acceleration limits from this millisecond on."""
        path = np.array(self.path[max(0, since - 3) :])
        speeds = np.diff(path, axis=0) / 1e-3
        accelerations = np.diff(speeds, axis=0) / 1e-3
        return (
            float(np.max(np.abs(speeds) / FR3_LIMITS.allowed_velocity_rad_s)),
            float(np.max(np.abs(accelerations) / FR3_LIMITS.acceleration_rad_s2)),
        )


def works():
    """It moves to one side."""
    arm = Arm()
    arm.begin()
    for step in range(4):
        arm.chunk([TOOL + [0, 0.01 * (step + i), 0] for i in range(1, 5)])
        arm.step(100)
    assert arm.state is State.MOVING
    return arm


def believes_a_lie():
    """It moved, then its encoder lied for so long that it is on its slow way to what that says."""
    arm = works()
    arm.measured = lambda _: HOME + LIE
    arm.step(2900)
    assert arm.state is State.HOLDING
    assert arm.execution.command.running.creeps(arm.now)
    return arm


def stands_it_says():
    """An encoder that is stuck: it was stopped, and is on its slow way to what that says."""
    arm = works()
    stuck = arm.at
    arm.measured = lambda _: stuck
    for step in range(4, 40):
        arm.chunk([TOOL + [0, 0.01 * (step + i), 0] for i in range(1, 5)])
        arm.step(100)
        if arm.state is State.STOPPED and arm.execution.command.running.creeps(arm.now):
            assert arm.execution.reason.startswith(STOOD)
            return arm, stuck
    pytest.fail(f"it is on no slow way; {arm.state.value}: {arm.execution.reason}")


def stops_on_its_way(arm, stop, blind, measured):
    """Brakes within the limits, and stays there when `measured` speaks (again)."""
    assert np.abs(arm.path[-1] - arm.path[-2]).max() > 1e-4  # it is under way
    if blind:
        arm.measured = None
        arm.step(250)
    begun, at = len(arm.path), arm.at
    STOPS[stop](arm.execution, arm.now)
    arm.step(500)
    arm.measured = measured
    arm.step(3000)
    speed, acceleration = arm.used(begun)
    assert speed < 0.25 and acceleration < 1.01
    assert np.abs(arm.at - at).max() < 0.12
    np.testing.assert_array_equal(arm.path[-1], arm.path[-2500])


@pytest.mark.parametrize("blind", [False, True], ids=["", "blind"])
@pytest.mark.parametrize("stop", STOPS)
def test_a_stop_on_the_slow_way_to_the_measured_joints_brakes_there(stop, blind):
    arm = believes_a_lie()
    stops_on_its_way(arm, stop, blind, arm.measured)


def strays(ms):
    """Something holds it up in motion; its command goes on for so long. And where it is stuck."""
    arm = Arm(Pace(soft_start_s=0.0))
    arm.begin()
    arm.chunk([TOOL + [0, 0.08 * i, 0] for i in range(1, 5)])
    arm.step(250)
    stuck = arm.at
    arm.measured = lambda _: stuck
    arm.step(ms)
    return arm, stuck


def held_up(stop):
    """It strayed and was stopped, and its command is on the way to the arm."""
    arm, stuck = strays(150)
    STOPS[stop](arm.execution, arm.now)
    for _ in range(1000):
        if arm.execution.command.running.creeps(arm.now):
            return arm, stuck
        arm.step(1)
    pytest.fail(f"it is on no slow way; {arm.state.value}: {arm.execution.reason}")


def test_the_empty_instruction_brakes_there_when_it_is_said_again_too():
    arm, stuck = held_up("empty")
    arm.step(100)
    stops_on_its_way(arm, "empty", False, arm.measured)
    assert np.abs(arm.at - stuck).max() > 0.02  # it would have gone on


@pytest.mark.parametrize("period_ms", [1, 100, 900])
def test_a_button_that_repeats_itself_is_pressed_once(period_ms):
    """The command gets to the arm that something holds up, as after one press."""
    arm, stuck = held_up("emergency")
    for _ in range(3000 // period_ms):
        STOPS["emergency"](arm.execution, arm.now)
        arm.step(period_ms)
    np.testing.assert_allclose(arm.at, stuck, atol=0.005)
    assert arm.state is State.STOPPED and arm.execution.reason == EMERGENCY


def test_a_second_press_ends_the_way_to_an_arm_that_is_held_up():
    arm, stuck = held_up("emergency")
    arm.execution._pressed_ns -= 1000 * MS  # the first was so much longer ago
    arm.step(100)
    stops_on_its_way(arm, "emergency", False, arm.measured)
    assert np.abs(arm.at - stuck).max() > 0.02


@pytest.mark.parametrize("stop", ["empty", "another executor"])
def test_nothing_follows_a_leap_without_an_instruction(stop):
    arm = works()
    arm.measured = lambda _: HOME + LIE
    arm.step(300)
    STOPS[stop](arm.execution, arm.now)
    begun, at = len(arm.path), arm.at
    arm.step(5000)
    assert np.abs(np.array(arm.path[begun:]) - at).max() < 0.02
    assert "by a leap: it stays there" in arm.execution.reason
    assert not arm.execution.idle  # it has something to say


def moved_by_hand(by_rad, unseen=False):
    """It rests; then it was moved, and the controller begins where it stands now, as after a
    driver's stop. `unseen`: there were no joint states meanwhile."""
    arm = works()
    STOPS["empty"](arm.execution, arm.now)
    arm.step(1500)
    begin, way = arm.at, by_rad * np.eye(7)[0]
    arm.stop_itself()
    if unseen:
        arm.measured = None
    for share in np.linspace(0, 1, 100):
        arm.at = begin + share * way
        arm.step(20)
    if unseen:
        arm.measured = lambda command: command
    arm.released = True
    return arm


@pytest.mark.parametrize("unseen", [False, True])
@pytest.mark.parametrize("apart_ms", [1, 300, 1200])
@pytest.mark.parametrize("second", STOPS)
@pytest.mark.parametrize("first", [*STOPS, "take over"])
def test_no_stop_yanks_an_arm_back_that_was_moved_with_its_controller(
    first, second, apart_ms, unseen
):
    arm = moved_by_hand(0.6, unseen)
    begun, at = len(arm.path), arm.at
    if first == "take over":
        arm.execution.on_instruction("another", arm.now)
        arm.step(200)
        arm.chunk([TOOL] * 4)
    else:
        STOPS[first](arm.execution, arm.now)
    arm.step(apart_ms)
    STOPS[second](arm.execution, arm.now)
    arm.step(4000)
    assert np.abs(np.array(arm.path[begun:]) - at).max() < 0.005


def taken_over(arm):
    """It is on its slow way to where it is measured, by an instruction and a chunk."""
    arm.execution.on_instruction("another", arm.now)
    arm.step(200)
    arm.chunk([TOOL] * 4)
    assert arm.execution.command.running.creeps(arm.now), arm.execution.reason
    return arm


def glitch(arm):
    true, arm.measured = arm.measured, lambda command: command + LIE
    arm.step(150)
    arm.measured = true
    arm.step(150)


def repeats_itself(arm):
    """A driver that lost its arm sends the last state again and again, then the new one."""
    before, true = arm.at, arm.measured
    arm.measured = lambda _: before
    yield
    arm.measured = true
    arm.step(300)


@pytest.mark.parametrize("how", ["glitch", "repeats"])
@pytest.mark.parametrize("stop", STOPS)
def test_joint_states_that_lied_once_are_no_reason_to_yank_the_arm_later(stop, how):
    arm = works()
    STOPS["empty"](arm.execution, arm.now)
    arm.step(1500)
    if how == "glitch":
        glitch(arm)
    begin = arm.at
    driver = repeats_itself(arm) if how == "repeats" else iter([None])
    next(driver)
    arm.stop_itself()
    for share in np.linspace(0, 1, 100):
        arm.at = begin + share * 0.6 * np.eye(7)[0]
        arm.step(20)
    arm.released = True
    next(driver, None)
    begun, at = len(arm.path), arm.at
    taken_over(arm).step(300)
    STOPS[stop](arm.execution, arm.now)
    arm.step(3000)
    assert np.abs(np.array(arm.path[begun:]) - at).max() < 0.005


@pytest.mark.parametrize("stop", STOPS)
def test_an_arm_that_is_seen_on_its_slow_way_is_stopped_there(stop):
    """A compliant one was led away and let go: its controller runs from the old command."""
    arm = works()
    STOPS["empty"](arm.execution, arm.now)
    arm.step(1500)
    led = [0.6 * np.eye(7)[0]]
    arm.measured = lambda command: command + led[0]
    for share in np.linspace(0, 1, 100):
        led[0] = share * 0.6 * np.eye(7)[0]
        arm.step(20)
    arm.step(200)
    taken_over(arm)
    for share in np.linspace(1, 0, 40):
        led[0] = share * 0.6 * np.eye(7)[0]
        arm.step(20)
    arm.step(200)
    at = arm.at
    STOPS[stop](arm.execution, arm.now)
    arm.step(4000)
    assert np.abs(arm.at - at).max() < 0.05


def test_a_lie_that_changes_is_one_all_the_same():
    arm = works()
    arm.measured = lambda _: HOME + LIE
    arm.step(300)
    arm.measured = lambda _: HOME - LIE
    for _ in range(500):
        arm.step(10)
        if arm.execution.command.running.creeps(arm.now):
            break
    arm.step(300)
    stops_on_its_way(arm, "emergency", False, arm.measured)


def test_a_driver_that_was_started_anew_moves_nothing():
    """It has a default pose, and the instruction of before its end still stands."""
    arm = works()
    true, arm.measured = arm.measured, None
    arm.step(500)
    arm.measured = lambda _: HOME + LIE
    arm.step(300)
    at = arm.at
    for _ in range(30):
        arm.chunk([TOOL + [0, 0.01 * i, 0] for i in range(1, 5)])
        arm.step(100)
    assert np.abs(arm.at - at).max() < 0.005
    assert arm.execution.reason.startswith("joint states came back elsewhere: waiting for")
    arm.measured = true
    arm.step(2500)
    arm.execution.on_instruction("go on", arm.now)
    arm.step(200)
    for _ in range(10):
        arm.chunk([TOOL + [0, 0.01 * i, 0] for i in range(1, 5)])
        arm.step(100)
    assert arm.state is State.MOVING


def test_a_stop_that_leaves_a_slow_way_says_so():
    arm = taken_over(moved_by_hand(0.6))
    arm.step(200)
    STOPS["empty"](arm.execution, arm.now)
    assert "only the robot's own stop ends that" in arm.execution.reason
    assert not arm.execution.idle


def test_who_waits_for_a_long_slow_way_is_told():
    arm = taken_over(moved_by_hand(0.6))
    arm.execution.on_instruction("a third", arm.now)
    arm.chunk([TOOL] * 4)
    left_s = (arm.execution.command.end_ns - arm.now) / 1e9
    assert left_s < 2 or f"{left_s:.0f} s left" in arm.execution.reason


@pytest.mark.parametrize("seed", range(12))
def test_the_tool_keeps_its_limits_on_a_slow_way_too(seed):
    """Wherever its controller begins: here as if it had stayed at the last command."""
    slow = replace(FR3_LIMITS, speed_m_s=0.1)
    arm, generator = Arm(limits=slow), np.random.default_rng(seed)
    arm.begin()
    STOPS["empty"](arm.execution, arm.now)
    arm.step(500)
    arm.stop_itself()
    begin, way = arm.at, generator.uniform(-1, 1, 7) * (0.6 if seed < 6 else 0.02)
    for share in np.linspace(0, 1, 100):
        arm.at = begin + share * way
        arm.step(20)
    STOPS["emergency"](arm.execution, arm.now)
    running = arm.execution.command.running
    assert running.creeps(arm.now) and np.abs(running.positions[0] - begin).max() < 1e-6
    assert tool_violations(running, slow, BODY) == []


@pytest.mark.parametrize("stop", STOPS)
def test_no_stop_yanks_an_arm_on_its_slow_way_to_the_command(stop):
    """Moved by little it goes back to its command with the next motion, slowly."""
    arm = moved_by_hand(0.08)
    begun = len(arm.path)
    arm.execution.on_instruction("another", arm.now)
    arm.step(200)
    arm.chunk([TOOL + [0, 0.01 * i, 0] for i in range(1, 5)])
    arm.step(150)
    STOPS[stop](arm.execution, arm.now)
    arm.step(100)
    STOPS[stop](arm.execution, arm.now)
    arm.step(1500)
    assert arm.used(begun)[0] < 0.3


def test_a_motion_after_a_rest_within_the_chunks_timeout_begins_slowly_too():
    """The arm was moved, and its controller with it, while the executor waited for a chunk."""
    arm = Arm(timeouts=Timeouts(chunk_ns=5000 * MS))
    arm.begin()
    arm.chunk([TOOL + [0, 0.01 * i, 0] for i in range(1, 5)])
    arm.step(1500)
    assert arm.state is State.MOVING
    arm.stop_itself()
    begin = arm.at
    for share in np.linspace(0, 1, 50):
        arm.at = begin + share * 0.15 * np.eye(7)[0]
        arm.step(10)
    arm.released = True
    begun = len(arm.path)
    arm.chunk([TOOL + [0, 0.01 * i, 0] for i in range(4, 8)])
    arm.step(600)
    assert arm.used(begun)[0] < 0.3


@pytest.mark.parametrize("stop", STOPS)
def test_also_an_arm_that_is_stopped_already_brakes_there(stop):
    arm, stuck = stands_it_says()
    arm.step(100)
    stops_on_its_way(arm, stop, False, arm.measured)
    assert np.abs(arm.at - stuck).max() > 0.02  # it would have gone on
    assert arm.state is State.STOPPED
    expected = EMERGENCY if stop == "emergency" else STOOD
    assert arm.execution.reason.startswith(expected)  # whoever resets it knows what for


@pytest.mark.parametrize("reset", [False, True], ids=["", "reset"])
@pytest.mark.parametrize("when", ["in motion", "at rest", "after the leap"])
def test_a_stopped_arm_makes_no_way_to_joints_that_leapt(when, reset):
    """The lie is believed after the stop, or was before it."""
    arm = works()
    if when == "in motion":
        STOPS["emergency"](arm.execution, arm.now)
    elif when == "at rest":
        STOPS["empty"](arm.execution, arm.now)
        arm.step(1500)
    arm.measured = lambda _: HOME + 1.5 * np.eye(7)[0]
    arm.step(400)
    begun, at = len(arm.path), arm.at
    if when != "in motion":
        STOPS["emergency"](arm.execution, arm.now)
    arm.step(100)
    if reset:
        assert arm.execution.reset(arm.now)
    arm.step(4000)
    assert np.abs(np.array(arm.path[begun:]) - at).max() < 0.02
    if not reset:
        assert arm.state is State.STOPPED
        assert "more than 0.2 rad from its command, by a leap: it stays" in arm.execution.reason


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize(
    ("period_ms", "noise"),
    [
        (1, lambda generator: generator.normal(size=7) * 3e-5),
        (20, lambda generator: generator.normal(size=7) * 3e-5),
        (20, lambda generator: 0.00153 * generator.integers(0, 2, size=7)),  # 4096 counts a turn
    ],
)
def test_the_first_hold_stays_slow_with_the_noise_of_encoders(period_ms, noise, stopped):
    """Joint states are a driver's default; the controller may take `first_hold_ns` to get there."""
    generator = np.random.default_rng(0)
    arm = Arm(Pace(first_hold_ns=1000 * MS), lambda _: HOME + LIE + noise(generator), period_ms)
    arm.begin()
    arm.chunk([TOOL] * 3)
    assert arm.messages == 1
    arm.step(400)
    if stopped:
        arm.execution.on_emergency_stop(arm.now)
    arm.step(900)
    speed, acceleration = arm.used()
    assert speed < 0.52 and acceleration < 1.0


@pytest.mark.parametrize("sag_rad", [0.01, 0.03, 0.06])
def test_an_arm_that_sags_begins_its_first_motion_at_its_command(sag_rad):
    sag = sag_rad * np.array([0, 1, 0, -1, 0, 0, 0])
    arm = Arm(Pace(first_hold_ns=1000 * MS))
    arm.measured = lambda at: at if arm.execution.command.running is None else at - sag
    arm.begin()
    for _ in range(16):
        arm.chunk([TOOL + [0, 0.01 * i, 0] for i in range(1, 4)])
        arm.step(100)
    assert arm.state is State.MOVING
    assert arm.used()[1] < 1.01


@pytest.mark.parametrize("stop", ["emergency", "chunk"])
def test_an_arm_that_strays_in_motion_is_braked_within_the_limits(stop):
    arm, stuck = strays(240)
    gap = np.abs(arm.at - stuck).max()
    begun = len(arm.path)
    assert gap > 0.2 and np.abs(arm.path[-1] - arm.path[-2]).max() > 1e-3
    if stop == "chunk":
        arm.chunk([TOOL + [0, 0.08 * i, 0] for i in range(4, 8)])
        assert "more than 0.2 rad from its command" in arm.execution.reason
    else:
        arm.execution.on_emergency_stop(arm.now)
    arm.step(400)
    assert arm.used(begun)[1] < 1.01
    arm.step(2500)
    assert arm.used(begun)[1] < 1.01
    np.testing.assert_allclose(arm.at, stuck, atol=1e-9)  # it is held where it is


@pytest.mark.parametrize("lead_ms", [30, 150, 300])
def test_until_a_motion_begins_the_old_one_goes_on_as_it_was_checked(lead_ms):
    arm = Arm(Pace(lead_ns=lead_ms * MS, soft_start_s=0.0))
    arm.begin()
    arm.chunk([TOOL + [0, 0.05 * i, 0] for i in range(1, 5)])
    arm.step(400)
    for round_index in range(12):
        tool, _ = BODY.forward(arm.at)
        side = -1 if (round_index // 4) % 2 == 0 else 1
        steps = np.arange(1, 5)[:, None] * [0, side * 0.05, 0]
        arm.chunk(np.clip(tool + steps, TOOL - [1, 0.3, 1], TOOL + [1, 0.3, 1]))
        arm.step(100)
    arm.step(600)
    assert arm.execution.accepted > 5
    assert arm.used()[1] < 1.01


@pytest.mark.parametrize("lag_ms", [30, 100, 200, 350])
def test_an_arm_that_lags_may_rest_and_go_on(lag_ms):
    """As at every grasp: it moves, stands for the fingers, and moves on."""
    arm = Arm()
    arm.measured = lambda at: arm.path[max(0, len(arm.path) - 1 - lag_ms)]
    arm.begin()
    for round_index in range(60):
        lifted_m = 0.01 * (min(round_index, 20) + max(0, round_index - 40))
        arm.chunk([TOOL + [0, 0, min(0.01 * i + lifted_m, 0.3)] for i in range(1, 4)])
        arm.step(100)
        assert arm.state is not State.STOPPED, arm.execution.reason


@pytest.mark.parametrize("speed_rad_s", [0.03, 0.06, 0.2])
def test_an_arm_that_is_led_by_hand_begins_no_motion_far_from_where_it_is(speed_rad_s):
    led = np.zeros(7)
    arm = Arm(Pace(first_hold_ns=1000 * MS), measured=lambda _: HOME + led)
    arm.begin()
    gaps = []
    for _ in range(60):
        tool, _rotation = BODY.forward(HOME + led)
        before = arm.execution.accepted
        arm.chunk([tool + [0, 0.01 * i, 0] for i in range(1, 4)])
        if arm.execution.accepted > before:
            start = arm.execution.command.running.positions[0]
            gaps.append(float(np.abs(start - HOME - led).max()))
            break
        led[0] += speed_rad_s * 0.1 if led[0] < 0.2 else 0.0
        arm.step(100)
    assert gaps and gaps[0] <= Pace().sag_rad


def test_another_executor_is_no_reason_to_say_the_same_hold_again_and_again():
    arm = Arm(Pace(first_hold_ns=1000 * MS))
    arm.begin()
    arm.chunk([TOOL] * 3)
    for _ in range(50):
        arm.execution.forbid("expected one executor, got 2", arm.now)
        arm.step(10)
    assert arm.messages <= 2


@pytest.mark.parametrize("step_m", [0.005, 0.01, 0.02])
def test_an_arm_that_was_stopped_by_its_own_means_does_not_go_on_by_itself(step_m):
    arm = Arm()
    arm.begin()

    def ask():
        """From where the arm is, to one side, and later back."""
        tool, _ = BODY.forward(arm.at)
        side = -1 if len(arm.path) > 3000 else 1
        arm.chunk([tool + [0, side * step_m * i, 0] for i in range(1, 9)], age_ms=100)
        arm.step(100)

    for _ in range(12):
        ask()
    assert arm.state is State.MOVING
    arm.stop_itself()
    stood = arm.at
    for _ in range(30):
        ask()
    assert arm.state is State.STOPPED
    assert arm.execution.reason.startswith(STOOD)
    arm.released, let_go = True, len(arm.path)
    for text in ("go", "go", "", "go", "another"):  # of programs that know nothing of it
        arm.execution.on_instruction(text, arm.now)
        ask()
    np.testing.assert_array_equal(arm.at, stood)
    assert arm.execution.reset(arm.now)
    arm.step(50)
    ask()
    np.testing.assert_array_equal(arm.at, stood)
    arm.execution.on_instruction("go", arm.now)
    arm.step(50)
    for _ in range(8):
        ask()
    assert arm.state is State.MOVING, arm.execution.reason
    assert arm.used(let_go)[1] < 1.01
