"""When the robot moves and when it holds: the executor's logic, without ROS and without a clock.

Whatever ends the work goes the same way: first nothing more can be sent from the old work, then the
safe command goes out: come to rest within the limits, and hold the *measured* joints. Repeating the
last command would replay a displacement. The fingers stay at what they are told at that moment:
what they grip stays gripped, and no opening that is still to come is carried out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.interface import ActionError
from vla_ros.checks import BodyLike
from vla_ros.clock_watch import ClockWatch
from vla_ros.command import Command
from vla_ros.executor_state import State
from vla_ros.fingers import Fingers
from vla_ros.joint_watch import JointRange, JointWatch
from vla_ros.limits import Limits
from vla_ros.motions import NEVER_NS, Motions, Pace
from vla_ros.planning import Motion, PoseChunk
from vla_ros.standstill import Standstill
from vla_ros.trajectory import Trajectory


@dataclass(frozen=True)
class Timeouts:
    """How old input may get [ns]."""

    chunk_ns: int = 500_000_000  # since the last usable chunk arrived: then hold
    chunk_age_ns: int = 1_000_000_000  # of a chunk's observation when it arrives: then refuse
    joints_ns: int = 200_000_000  # since the last joint state: then send nothing
    heartbeat_ns: int = 1_000_000_000  # since the policy node's last: then hold


LONGEST_REASON = 500  # characters, whatever a library or a sender has to say
PRESS_NS = 1_000_000_000  # between two presses of a button that people press
SOON_S = 2.0  # who waits longer is told
STARTED, RESET = "started", "reset"  # after which it waits for an instruction
ALONE = "the other executor has gone"  # likewise
ELSEWHERE = "joint states came back elsewhere"  # likewise
GOES_ON = "; it may still go, slowly, to where it was measured: only the robot's own stop ends that"
STOOD = "the arm stood still though told to move (a stop of its own? an obstacle?)"
GO_ON = "call /executor/reset to go on"
EMERGENCY = f"emergency stop; {GO_ON}"
NEW = "the instruction is new"
WITHDRAWN = "the instruction is empty"


@dataclass(frozen=True)
class Hold:
    """Come to rest and stay there."""

    trajectory: Trajectory
    reason: str
    opening: float | None = None  # 0 to 1, of the fingers from now on; None: they are told nothing

    @property
    def joints(self) -> NDArray[np.float64]:
        """(n,) [rad], where it ends."""
        return self.trajectory.positions[-1]


class Execution:
    """Feed it what arrives, with the time; it calls `send` with a `Motion` or a `Hold`."""

    def __init__(
        self,
        body: BodyLike,
        limits: Limits,
        send: Callable[[Motion | Hold], None],
        timeouts: Timeouts | None = None,
        pace: Pace | None = None,
        clock: Callable[[], int] | None = None,
        steady_clock: Callable[[], int] | None = None,
    ) -> None:
        """`clock` tells the time after planning; None: planning takes no time, as in simulation.

        Whether it was set, a `steady_clock` [ns] tells; None: only when times go back.
        """
        self._send = send
        self._clock = clock
        self._clock_watch = ClockWatch(clock, steady_clock)
        self._timeouts = timeouts or Timeouts()
        self._pace = pace or Pace()
        ends = np.asarray(limits.position_lower_rad), np.asarray(limits.position_upper_rad)
        joint_range = JointRange(body.joint_names, *ends)
        self._joints = JointWatch(limits.velocity_rad_s, self._timeouts.joints_ns, joint_range)
        self._motions = Motions(body, limits, self._pace, self._joints, clock)
        self._standstill = Standstill(self._timeouts.joints_ns)
        self._stood = False  # and is stopped for it
        self._fingers = Fingers()
        self._instruction = ""
        self._instruction_ns = 0
        self._counts_from_ns: int | None = None  # instructions that were published later count
        self._waits_since = ""  # `STARTED`, `RESET`, `ALONE`: nobody has given an instruction yet
        self.outdated = ""  # what is to be said of an instruction that came, but does not count
        self._last_chunk_ns = 0
        self._moving_since_ns = 0
        self._ramps_from_ns = 0  # its first motion begins
        self._heartbeat_ns = 0
        self._forbidden = ""  # why nothing may move
        self._pressed_ns = NEVER_NS  # an emergency stop was last heard
        self._hold_pending = False
        self._settle_at_ns: int | None = None
        self.state = State.WAITING
        self.reason = "no action chunk has arrived yet"
        self.accepted = 0  # chunks that moved the robot
        self.refused = 0  # chunks that did not
        self.limited = 0  # chunks that a limit changed

    @property
    def command(self) -> Command:
        """What the arm has been told."""
        return self._motions.command

    @property
    def late(self) -> int:
        """Chunks whose motion was ready when it should have begun already."""
        return self._motions.late

    # --- what arrives -----------------------------------------------------------------------

    def on_joints(
        self, positions: NDArray[np.float64], now_ns: int, stamp_ns: int | None = None
    ) -> None:
        """Measured positions (n,) [rad], in the order of the limits; without a stamp: of now."""
        stepped = self._notice_clock(now_ns)
        working = bool(self._instruction) and self.state is not State.STOPPED
        stamp_ns = now_ns if stamp_ns is None else stamp_ns
        believed = self._joints.add(positions, stamp_ns, now_ns, working)
        if stepped and self.state is State.MOVING:
            self._stop(State.HOLDING, stepped, now_ns)
        elif believed and self._hold_pending:
            self._hold(now_ns)
        elif believed:
            self._check_that_it_moves(positions, now_ns)

    def _check_that_it_moves(self, positions: NDArray[np.float64], now_ns: int) -> None:
        """Nothing goes on by itself when an arm is let go: somebody may have a hand there, and
        instructions may come from a program that knows nothing of it."""
        if self.state is not State.MOVING:
            self._standstill.forget()
            return
        stamp_ns = self._joints.stamp_ns
        if self._standstill.add(positions, self.command.at(stamp_ns).positions, stamp_ns):
            self._stood = True
            self._stop(State.STOPPED, f"{STOOD}; {GO_ON}", now_ns)

    @property
    def fingers_told(self) -> bool:
        """Whether the fingers were sent anything."""
        return self._fingers.told

    def on_fingers(self, opening: float) -> None:
        """Measured, 0 to 1: where they begin when they are told something for the first time."""
        self._fingers.on_measured(opening)

    def on_instruction(self, text: str, now_ns: int, published_ns: int | None = None) -> None:
        """A new wish ends the work on the old one; none at all means: stop and hold.

        After `wait_for_instruction` one that was published before counts for nothing, and the same
        text counts if it is published again. `published_ns` None: now.
        """
        if self._is_outdated(text, now_ns if published_ns is None else published_ns):
            return
        again = text == self._instruction and not self._waits_since
        if again and (text or not self._motions.creeps(now_ns)):
            return
        self._waits_since = self.outdated = ""
        self._motions.begin_anew()
        self._instruction, self._instruction_ns = text, now_ns
        if not text:
            self._stop(State.HOLDING, WITHDRAWN, now_ns, creeping=True)
        elif self.state is State.MOVING:  # the policy may refuse it, and nothing would come
            self._stop(State.HOLDING, NEW, now_ns)
        elif self.state is not State.STOPPED:
            self.reason = NEW

    def wait_for_instruction(self, now_ns: int, since: str = STARTED) -> None:
        """From now on nothing moves until an instruction comes that is published later."""
        self._counts_from_ns, self._waits_since, self.outdated = now_ns, since, ""
        self.reason = self._what_it_waits_for

    @property
    def instruction(self) -> str:
        """What it works on; empty: nothing."""
        return self._instruction

    @property
    def awaits_instruction(self) -> bool:
        """Whether it was started so or reset, and nobody has given an instruction since."""
        return bool(self._waits_since)

    @property
    def idle(self) -> bool:
        """Whether it holds for no other reason than that it has nothing to do."""
        waits = self._waits_since and self.reason == self._what_it_waits_for
        return self.state is State.HOLDING and bool(waits or self.reason in (NEW, WITHDRAWN))

    @property
    def _what_it_waits_for(self) -> str:
        outdated = f"; {self.outdated}" if self.outdated else ""
        return f"{self._waits_since}: waiting for an instruction{outdated}"

    def _is_outdated(self, text: str, published_ns: int) -> bool:
        """What ends the work is never too old; nothing moves for it."""
        if self._counts_from_ns is None or published_ns > self._counts_from_ns:
            return False
        if not text:
            return bool(self._waits_since)
        before_s = (self._counts_from_ns - published_ns) / 1e9
        self.outdated = (
            f"one that was published {before_s:.1f} s before, by its sender's clock, "
            "does not count: publish it anew"
        )
        if self._waits_since:
            self.reason = self._what_it_waits_for
        return True

    def on_chunk(self, chunk: PoseChunk, now_ns: int) -> None:
        """Follow `chunk`, or refuse it and hold."""
        self._check_clock(now_ns)
        if self._waits_since:
            self.refused += 1
            self.reason = self._what_it_waits_for
            return
        if self.state is State.STOPPED or not self._instruction:
            self.refused += 1
            return
        if self._forbidden:
            self.refused += 1
            self.reason = self._forbidden
            return
        age_ns = now_ns - chunk.stamp_ns
        if chunk.stamp_ns < self._instruction_ns:  # an answer to the old one, or a clock is behind
            if age_ns > self._timeouts.chunk_age_ns and self.state is not State.MOVING:
                self.refused += 1
                self.reason = self._too_old(age_ns)
            return
        joints = self.fresh_joints(now_ns)
        if joints is None:
            self.refused += 1
            if self.state is not State.MOVING:
                self.reason = self._blind
            return
        try:
            if not -self._timeouts.joints_ns <= age_ns <= self._timeouts.chunk_age_ns:
                raise ActionError(self._too_old(age_ns))
            resting = self.state is not State.MOVING
            if resting and (self.command.end_ns > now_ns or self._motions.settles(now_ns)):
                left_s = max(0, self.command.end_ns - now_ns) / 1e9
                if left_s > SOON_S:
                    self.reason = f"on its way to where it is held: {left_s:.0f} s left"
                return  # it comes to rest first, and then begins softly
            if resting and self._motions.must_take_over(joints):
                self._take_over(joints, now_ns)
                return  # the next one begins there
            self._motions.check_that_it_follows(joints, not resting)
            if resting:
                self._moving_since_ns = self._ramps_from_ns = now_ns
            moving, share = self.state is State.MOVING, self.speed_share(now_ns)
            motion = self._motions.follow(chunk, joints, now_ns, moving, share)
        except ActionError as error:
            self._refuse(str(error), now_ns)
            return
        except Exception as error:  # what a library makes of strange numbers must not end us
            self._refuse(f"{type(error).__name__}: {error}", now_ns)
            return
        if motion is None:  # it no longer joins the old motion, which goes on to its end at rest
            if resting:
                self.reason = "planning took too long: the motion should have begun before"
            return
        if resting:
            self._ramps_from_ns = motion.trajectory.start_ns
        self.accepted += 1
        self.limited += bool(motion.notes)
        self._last_chunk_ns = now_ns
        self._hold_pending = False
        self._settle_at_ns, self._stood = None, False
        self._joints.trust()
        self.state = State.MOVING
        self.reason = "; ".join(motion.notes)
        self.command.replace(motion.trajectory, motion.reached_ns, motion.meant_ns)
        self._fingers.follow(motion, now_ns if self._clock is None else self._clock())
        self._send(motion)

    def _too_old(self, age_ns: int) -> str:
        return (
            f"the chunk's observation is {age_ns / 1e6:.0f} ms old; "
            f"0 to {self._timeouts.chunk_age_ns / 1e6:.0f} ms expected"
        )

    def on_heartbeat(self, now_ns: int) -> None:
        """Who sends the chunks is alive. Counts only while it beats: others need not."""
        self._heartbeat_ns = now_ns

    def on_emergency_stop(self, now_ns: int) -> None:
        """Stop and hold until `reset`. A button that goes on saying so was pressed once."""
        passed_ns, self._pressed_ns = now_ns - self._pressed_ns, now_ns
        if self.state is State.STOPPED and self.reason == EMERGENCY and 0 <= passed_ns < PRESS_NS:
            return
        self._waits_since = ""
        if self._stood:  # who resets that stop shall not end this one unawares
            self._stood, self.reason = False, EMERGENCY
        self._stop(State.STOPPED, EMERGENCY, now_ns, creeping=True)

    def on_invalid(self, reason: str, now_ns: int) -> None:
        """Something arrived that cannot even be read as a chunk: an arm in motion holds."""
        self._refuse(reason, now_ns)

    def forbid(self, reason: str, now_ns: int) -> None:
        """While there is a `reason` nothing moves; when there is none any more, it waits for an
        instruction: who took the cause away may still have a hand there."""
        began, ended = reason and not self._forbidden, self._forbidden and not reason
        self._forbidden = reason
        if (reason and self.state is State.MOVING) or (began and self._motions.creeps(now_ns)):
            self._stop(State.HOLDING, reason, now_ns, creeping=True)
        if ended and self.state is not State.STOPPED:
            self.wait_for_instruction(now_ns, ALONE)

    def on_end(self, now_ns: int) -> None:
        """Who feeds it is about to end: an arm in motion would go on to the motion's own end."""
        if self.state is State.MOVING or self._motions.creeps(now_ns):
            self._stop(State.HOLDING, "the executor ends", now_ns, creeping=True)

    def _refuse(self, reason: str, now_ns: int) -> None:
        """Ends a motion. An arm that was told nothing is told nothing for it, either."""
        self.refused += 1
        refusal = f"action refused: {reason[:LONGEST_REASON]}"
        if self.state is State.MOVING:
            self._stop(State.HOLDING, refusal, now_ns)
        elif self.state is not State.STOPPED and not self._waits_since:
            self.reason = refusal

    def reset(self, now_ns: int) -> bool:
        """End an emergency stop. False when there is none to end.

        It moves nothing (ISO 13850): the arm holds until somebody gives an instruction.
        """
        if self.state is not State.STOPPED:
            return False
        self.state = State.HOLDING
        self.wait_for_instruction(now_ns, RESET)
        return True

    def tick(self, now_ns: int) -> None:
        """The watchdog; call it often."""
        self._check_clock(now_ns)
        if self.fresh_joints(now_ns) is None:
            if self.state is State.MOVING:
                self._stop(State.WAITING, "", now_ns)
            if self.state is State.WAITING:
                self.reason = self._blind
            return
        if self.state is State.WAITING and self._waits_since:
            self.reason = self._what_it_waits_for
        if self._settle_at_ns is not None and now_ns >= self._settle_at_ns:
            self._settle(now_ns)
        idle_ns = now_ns - self._last_chunk_ns
        if self.state is State.MOVING and idle_ns > self._timeouts.chunk_ns:
            limit_ms = self._timeouts.chunk_ns / 1e6
            self._stop(
                State.HOLDING, f"no usable action chunk for more than {limit_ms:.0f} ms", now_ns
            )
        silent_ns = now_ns - self._heartbeat_ns
        beat = self._heartbeat_ns >= self._moving_since_ns > 0
        if self.state is State.MOVING and beat and silent_ns > self._timeouts.heartbeat_ns:
            limit_ms = self._timeouts.heartbeat_ns / 1e6
            self._stop(
                State.HOLDING, f"policy_node is silent for more than {limit_ms:.0f} ms", now_ns
            )

    @property
    def joints_problem(self) -> str:
        """What is wrong with the joint states that come; empty: nothing, or none come."""
        return self._joints.problem

    @property
    def _blind(self) -> str:
        return f"{self.joints_problem or 'joint states are missing or stale'}; nothing is sent"

    def _check_clock(self, now_ns: int) -> None:
        """After a clock was set nobody knows what is old: hold."""
        stepped = self._notice_clock(now_ns)
        if stepped and self.state is State.MOVING:
            self._stop(State.HOLDING, stepped, now_ns)

    def _notice_clock(self, now_ns: int) -> str:
        """What the arm was told goes on in real time: its times move along with the clock, so that
        it can be braked from there. Returns by how much the clock was set; empty: it was not."""
        step_ns = self._clock_watch.step_ns(now_ns)
        if step_ns == 0:
            return ""
        self._motions.shift(step_ns)
        self._fingers.shift(step_ns)
        self._joints.forget()
        self._instruction_ns = min(self._instruction_ns, now_ns)
        self._last_chunk_ns = min(self._last_chunk_ns, now_ns)
        if self._counts_from_ns is not None:
            self._counts_from_ns = min(self._counts_from_ns, now_ns)
        self._heartbeat_ns = 0
        self._settle_at_ns = None
        way = "back" if step_ns < 0 else "ahead"
        return f"the clock went {way} by {abs(step_ns) / 1e9:.1f} s"

    # --- moving -----------------------------------------------------------------------------

    def speed_share(self, now_ns: int) -> float:
        """Share of the speed limits in use: it ramps up after the arm stood still."""
        if self._pace.soft_start_s <= 0:
            return 1.0
        passed_s = (now_ns - self._ramps_from_ns) / 1e9
        first = self._pace.soft_start_share
        return float(np.clip(first + (1 - first) * passed_s / self._pace.soft_start_s, first, 1.0))

    # --- stopping ---------------------------------------------------------------------------

    def _stop(self, state: State, reason: str, now_ns: int, creeping: bool = False) -> None:
        """End the work, then send the safe command: at once, or when there are joints to hold.

        `creeping`: also an arm that holds or is stopped, but is still on its way to where it was
        measured. Only `reset` ends that it is stopped.
        """
        self._notice_clock(now_ns)
        creeps = self._motions.creeps(now_ns)
        if self.state is State.STOPPED:
            if creeping and creeps:
                self._brake(now_ns)
            return
        was_holding = self.state is State.HOLDING and not self._hold_pending
        self.state, self.reason = state, reason
        if was_holding and state is not State.STOPPED and not (creeping and creeps):
            return
        self._hold_pending = True
        if self.fresh_joints(now_ns) is not None:
            self._hold(now_ns)
        else:
            self._brake(now_ns)
            self._hold_pending = not creeps  # stopped on its way to the measured joints, it stays

    def _brake(self, now_ns: int) -> None:
        """To rest from what is commanded, wherever the arm is: the rest of the old motion must not
        be carried out."""
        self._settle_at_ns = None
        trajectory = self._motions.brake(now_ns)
        if trajectory is not None:
            self._hold_along(trajectory)

    def _hold(self, now_ns: int) -> None:
        joints = self.fresh_joints(now_ns)
        assert joints is not None
        self._hold_pending = False
        if self.state is State.WAITING:
            self.state, self.reason = State.HOLDING, "joint states are back"
            if self._came_back_elsewhere(joints):  # a driver started anew may have a default pose
                self.wait_for_instruction(now_ns, ELSEWHERE)
        if self._motions.stops_anywhere(now_ns):
            if self._stays(joints):
                self._brake(now_ns)
                return
        elif self._motions.creeps(now_ns):
            self.reason += GOES_ON
        # Stopped on its way to the measured joints it stays, and these are not held twice.
        settles = not (self._motions.creeps(now_ns) or self._motions.stands(now_ns))
        trajectory = self._motions.to_rest_in_time(joints, now_ns)
        self._settle_at_ns = trajectory.end_ns + self._pace.settle_ns if settles else None
        self._hold_along(trajectory)

    def _came_back_elsewhere(self, joints: NDArray) -> bool:
        """Whether nobody saw how the arm got far from its command."""
        if self.command.running is None or self._motions.follows(joints):
            return False
        return self._joints.leapt and not self._joints.lies

    def _settle(self, now_ns: int) -> None:
        """The arm has come to rest: hold where it is measured, if that is not what it was told."""
        joints = self.fresh_joints(now_ns)
        assert joints is not None
        self._settle_at_ns = None
        if self._stays(joints):
            return
        if not self._motions.rests_where_told(joints):
            self._hold_along(self._motions.to_rest(joints, now_ns))

    def _stays(self, joints: NDArray) -> bool:
        """Whether the arm is to stay at its command though measured far from it; then it says so.

        Nobody expects a far way of a stopped arm, nor one while there is no instruction, and joint
        states that leapt may lie. One that something holds up did not leap: its command comes
        to it, or it would press on, and leap when it is let go.
        """
        at_work = self._instruction and not (self._waits_since or self._forbidden)
        stopped = self.state is State.STOPPED or not at_work
        if not (stopped and self._joints.leapt) or self.command.running is None:
            return False
        if self._motions.follows(joints):
            return False
        most_rad = self._pace.follow_rad
        self.reason += (
            f"; measured more than {most_rad:g} rad from its command, by a leap: it stays there"
        )
        return True

    def _take_over(self, joints: NDArray, now_ns: int) -> None:
        """The arm is not where it was told to be: hold it where it is, before it moves."""
        self.state, self.reason = State.HOLDING, "holding the arm where it is before it moves"
        self._hold_pending = False
        self._settle_at_ns = None
        self._hold_along(self._motions.take_over(joints, now_ns))

    def _hold_along(self, trajectory: Trajectory) -> None:
        self.command.replace(trajectory)
        opening = self._fingers.hold(trajectory.start_ns)
        self._send(Hold(trajectory, self.reason, opening))

    def fresh_joints(self, now_ns: int) -> NDArray | None:
        """The measured joints (n,) [rad]; None when they are missing or stale."""
        return self._joints.fresh(now_ns)
