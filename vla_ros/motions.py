"""One motion after the other: where that of a chunk begins, and how the arm comes to rest.

`vla_ros.execution` decides which it is to be, `vla_ros.planning` makes it. No ROS; the clock, if
there is one, only tells how long planning took.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.interface import ActionError
from vla_ros import shaping
from vla_ros.checks import BodyLike, tool_violations
from vla_ros.command import Command
from vla_ros.joint_watch import JointWatch
from vla_ros.limits import Limits
from vla_ros.planning import Begin, Motion, PoseChunk, gentle_stop, plan
from vla_ros.trajectory import Phase, Trajectory

LATE_NS = 15_000_000  # a way of braking that took longer to find begins where the arm was
NEVER_NS = -(2**62)
HOLD_ATTEMPTS = 3  # then it goes out late


@dataclass(frozen=True)
class Pace:
    """How motions begin and follow each other."""

    soft_start_s: float = 1.0  # after standing still the speed ramps to full within this
    soft_start_share: float = 0.2  # of the speed limits, at first
    lead_ns: int = 30_000_000  # planning and sending take this long; the old motion goes on
    longest_lead_ns: int = 300_000_000  # on a machine where planning has taken longer
    blend_ns: int = 50_000_000  # in which a new motion takes over from the old one
    follow_rad: float = 0.2  # an arm further than this from its command does not follow it
    settle_ns: int = 100_000_000  # after coming to rest the measured pose is held
    settle_rad: float = 0.005  # unless the command is this near to it
    sag_rad: float = 0.1  # a resting arm nearer to its command sags; further, it was moved
    sag_ns: int = 1_000_000_000  # after it was held anew it may sag for so long
    first_hold_ns: int = 0  # before the first motion the measured pose is held for this long


class Motions:
    """Knows what the arm has been told; `watch` when it was measured."""

    def __init__(
        self,
        body: BodyLike,
        limits: Limits,
        pace: Pace,
        watch: JointWatch,
        clock: Callable[[], int] | None = None,
    ) -> None:
        """`clock` tells the time after planning; None: planning takes no time, as in simulation."""
        self._body = body
        self._limits = limits
        self._pace = pace
        self._watch = watch
        self._clock = clock
        self._lead_ns = pace.lead_ns
        self._near_rad = min(pace.sag_rad, pace.follow_rad)
        self._taken_at_ns = NEVER_NS
        self._taken = False  # where it was measured, since the last motion or instruction
        self.command = Command()
        self.late = 0  # motions that were ready when they should have begun already

    def shift(self, step_ns: int) -> None:
        """The clock was set by so much; what was sent goes on all the same."""
        self.command.shift(step_ns)
        self._taken_at_ns += step_ns

    def begin_anew(self) -> None:
        """Somebody who looks at the arm wants it to move: if it must, it is held anew once more."""
        self._taken = False

    # --- moving -----------------------------------------------------------------------------

    def follow(
        self, chunk: PoseChunk, joints: NDArray, now_ns: int, moving: bool, share: float
    ) -> Motion | None:
        """The motion that carries out `chunk` at a `share` of the speed limits.

        `joints` (n,) [rad] are measured; `moving`: the motion that runs goes on until this one
        begins. None: planning took too long. Raises `ActionError` for what must not be done.
        """
        motion = plan(
            chunk,
            self._beginning(chunk.stamp_ns, joints, now_ns, moving),
            self._limits.scaled(share),
            self._body,
        )
        if self._is_late(motion, now_ns):
            return None
        self._taken = False
        return motion

    def must_take_over(self, joints: NDArray) -> bool:
        """Whether a resting arm is far from where it was told to be, or was told nothing yet.

        Somebody moved it, by hand or with another controller. Once is enough: an arm that sags so
        far would sink each time.
        """
        if self.command.running is None:
            beyond = bool(np.any(self._within_range(joints) != joints))
            return beyond or self._pace.first_hold_ns > 0
        return not self._taken and self._gap_rad(joints).max() > self._near_rad

    def take_over(self, joints: NDArray, now_ns: int) -> Trajectory:
        """Hold the arm where it is measured; a motion can begin from there afterwards."""
        self._taken = self.command.running is not None
        trajectory = self.to_rest(joints, now_ns)
        self._taken_at_ns = trajectory.end_ns
        return trajectory

    def rests_where_told(self, joints: NDArray) -> bool:
        """Whether a resting arm is at its command."""
        return bool(self._gap_rad(joints).max() <= self._pace.settle_rad)

    def settles(self, now_ns: int) -> bool:
        """Whether an arm that was taken over still turns: it sags, or somebody leads it."""
        return now_ns - self._taken_at_ns <= self._pace.sag_ns and self._watch.turning

    def check_that_it_follows(self, joints: NDArray, moving: bool) -> None:
        """Raise `ActionError` for an arm that was elsewhere than told when `joints` were measured;
        one at rest has been taken over if it must be."""
        if self.command.running is None:
            return
        if moving and not self.follows(joints):
            most_rad = self._pace.follow_rad
            raise ActionError(f"the arm is more than {most_rad:g} rad from its command")
        gap_rad = self._gap_rad(joints)
        if not moving and gap_rad.max() > self._near_rad:
            name = self._body.joint_names[int(np.argmax(gap_rad))]
            raise ActionError(
                f"joint {name} does not stay where it is told to: expected at most "
                f"{self._near_rad:g} rad from there, got {gap_rad.max():.2f}; "
                "if it was moved, publish the empty instruction, then another"
            )

    def follows(self, joints: NDArray) -> bool:
        """Whether the arm was near to where it was told to be when `joints` were measured."""
        return bool(self._gap_rad(joints).max() <= self._pace.follow_rad)

    def _gap_rad(self, joints: NDArray) -> NDArray[np.float64]:
        """(n,) between `joints` and what was commanded when they were measured."""
        return np.abs(joints - self.command.at(self._watch.stamp_ns).positions)

    def _is_late(self, motion: Motion, now_ns: int) -> bool:
        """Whether planning took longer than it may; the next motion then begins later."""
        ready_ns = now_ns if self._clock is None else self._clock()
        took_ns = ready_ns - now_ns
        self._lead_ns = max(self._pace.lead_ns, round(0.9 * self._lead_ns))
        if ready_ns <= motion.trajectory.start_ns:
            return False
        self._lead_ns = min(max(self._lead_ns, 2 * took_ns), self._pace.longest_lead_ns)
        self.late += 1
        return True

    def _beginning(self, stamp_ns: int, joints: NDArray, now_ns: int, moving: bool) -> Begin:
        """A motion goes on from its forerunner, smooth in speed; an arm that does not follow that
        one must have been taken over."""
        begin_ns = now_ns + self._lead_ns
        held_ns = self.command.behind_ns(stamp_ns, now_ns)
        running = self.command.running
        if running is None:
            return Begin(begin_ns, Phase.at_rest(joints), held_ns=held_ns, now_ns=now_ns)
        if moving and now_ns <= running.end_ns + self._pace.settle_ns:
            stands_ns = running.start_ns - begin_ns  # its forerunner has yet to begin
        else:
            # From wherever the controller holds it, the arm comes to its command slowly: it may
            # only sag, and stay as it is, or have been moved, and the controller started there.
            stands_ns = self._slowly_ns(joints, self.command.at(begin_ns).positions) - self._lead_ns
        if stands_ns > 0:
            begin_ns, held_ns = begin_ns + stands_ns, held_ns + stands_ns
        return Begin(
            begin_ns,
            self.command.at(begin_ns),
            running if moving else None,
            held_ns,
            self._pace.blend_ns,
            now_ns,
            self.command.at(stamp_ns).positions,
        )

    def _slowly_ns(self, begin: NDArray, end: NDArray) -> int:
        """How long the way between two poses (n,) [rad] takes at the speed of a soft start.

        A controller's way is straight in the joints; the tool, too, keeps its limits there.
        """
        if np.array_equal(begin, end):
            return 0
        slow = self._limits.scaled(self._pace.soft_start_share)
        least_ns = shaping.reach_ns(Phase.at_rest(begin), end, slow)
        with suppress(Exception):  # whatever kinematics make of strange numbers, it must stop
            way = shaping.creeping(Phase.at_rest(begin), end, 0, slow)
            found = tool_violations(way, self._limits, self._body)
            if found:
                return round(way.unsent_ns / (0.95 * min(each.slower for each in found)))
        return least_ns

    def _within_range(self, joints: NDArray) -> NDArray[np.float64]:
        """Measured beyond their range, joints are still not commanded there."""
        limits = self._limits
        return np.clip(joints, limits.position_lower_rad, limits.position_upper_rad)

    # --- coming to rest ---------------------------------------------------------------------

    def brake(self, now_ns: int) -> Trajectory | None:
        """To rest from what is commanded, wherever the arm is; None: it rests."""
        running = self.command.running
        if running is None or not self.stops_anywhere(now_ns):
            return None
        phase = self.command.at(now_ns)
        if phase.resting:
            if running.end_ns <= now_ns:
                return None
            # What was sent has yet to begin, or comes to its end.
            return shaping.standing(phase.positions, now_ns, max(0, running.start_ns - now_ns))
        return self._gentle_stop(phase, now_ns)

    def _gentle_stop(self, phase: Phase, now_ns: int) -> Trajectory | None:
        try:
            return gentle_stop(phase, now_ns, self._limits, self._body)
        except Exception:  # no number of a state that was checked leads here
            return None

    def to_rest_in_time(self, joints: NDArray, now_ns: int) -> Trajectory:
        """`to_rest`, from where the command is when that has been found."""
        for _ in range(HOLD_ATTEMPTS):
            trajectory = self.to_rest(joints, now_ns)
            if self._clock is None or self._clock() - now_ns <= LATE_NS:
                break
            now_ns = self._clock()  # the old motion went on meanwhile
        return trajectory

    def creeps(self, now_ns: int) -> bool:
        """Whether the arm is on its slow way to where it was measured."""
        running = self.command.running
        return running is not None and running.creeps(now_ns)

    def stops_anywhere(self, now_ns: int) -> bool:
        """Whether it is known where the controller is, so that it can be told to stop there."""
        running = self.command.running
        if running is None or running.known or not running.creeps(now_ns):
            return running is not None
        joints = self._watch.fresh(now_ns)
        if joints is None:
            return False
        gap_rad = self._gap_rad(joints).max()  # seen on its way, it is where the model is
        left_rad = np.abs(joints - running.positions[-1]).max()
        return bool(gap_rad <= self._near_rad and 2 * gap_rad < left_rad)

    def stands(self, now_ns: int) -> bool:
        """Whether the arm's last motion is over, and it turns no more."""
        over = self.command.running is not None and self.command.end_ns <= now_ns
        return over and not self._watch.turning

    def to_rest(self, joints: NDArray, now_ns: int) -> Trajectory:
        """From the command to rest; where it rests already, the measured joints are held.

        On the way to them it stays where it is: somebody may see what joint states hide.
        """
        phase = None if self.command.running is None else self.command.at(now_ns)
        if phase is not None and not phase.resting and self.stops_anywhere(now_ns):
            braking = self._gentle_stop(phase, now_ns)
            if braking is not None:
                return braking
        return self._stay(joints, phase, now_ns)

    def _stay(self, joints: NDArray, phase: Phase | None, now_ns: int) -> Trajectory:
        """At the measured joints, or at the command's `phase` if a resting arm is there."""
        inside = self._within_range(joints)
        back_ns = self._slowly_ns(joints, inside)
        running = self.command.running
        if running is None or phase is None:
            # Whatever the controller does now is unknown. What turns is stopped at once; else there
            # is time, should these joint states be a driver's default and not the arm's.
            first_ns = 0 if self._watch.turning else self._pace.first_hold_ns
            return shaping.standing(inside, now_ns, max(first_ns, back_ns))
        if running.creeps(now_ns) and not running.known:
            # Nobody knows where it is on its way: no other point is safe to be told in less time.
            left_ns = running.start_ns + running.unsent_ns - now_ns
            return shaping.standing(running.positions[-1], now_ns, left_ns)
        if phase.resting and self.rests_where_told(joints):
            slowly_ns = self._slowly_ns(joints, phase.positions)
            return shaping.standing(phase.positions, now_ns, slowly_ns)
        # One point: wherever the controller begins, at the arm or at its last command, it does not
        # go back to the old command first. Should the joint states lie, it has time to get there.
        slow = self._limits.scaled(self._pace.soft_start_share)
        least_ns = max(back_ns, self._slowly_ns(phase.positions, inside))
        # A controller that was left alone may have been started anew where the arm was moved to.
        followed = running.start_ns <= now_ns <= running.end_ns + 2 * self._pace.settle_ns
        known = followed or self._watch.lies
        return shaping.creeping(phase, inside, now_ns, slow, least_ns, known)
