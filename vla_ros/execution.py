"""When the robot moves and when it holds: the executor's logic, without ROS and without a clock.

Whatever ends the work goes the same way: first nothing more can be sent from the old work, then the
safe command goes out, which is to hold the *measured* joints. Repeating the last command would
replay a displacement. The gripper is never commanded when holding: what it grips stays gripped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from policies.interface import ActionError
from vla_ros.planning import KinematicsLike, Limits, Motion, PoseChunk, plan


class State(Enum):
    """What the executor is doing."""

    WAITING = "waiting"  # has nothing to do yet, or cannot see the joints: sends nothing
    MOVING = "moving"
    HOLDING = "holding"
    STOPPED = "stopped"  # emergency stop, until it is reset


@dataclass(frozen=True)
class Timeouts:
    """How old input may get [ns]."""

    chunk_ns: int = 500_000_000  # since the last usable chunk arrived: then hold
    chunk_age_ns: int = 1_000_000_000  # of a chunk's observation when it arrives: then refuse
    joints_ns: int = 200_000_000  # since the last joint state: then send nothing


@dataclass(frozen=True)
class Hold:
    """Stay at the joints (n,) [rad] measured when the work ended."""

    joints: NDArray[np.float64]
    reason: str


class Execution:
    """Feed it what arrives, with the time; it calls `send` with a `Motion` or a `Hold`."""

    def __init__(
        self,
        kinematics: KinematicsLike,
        limits: Limits,
        send: Callable[[Motion | Hold], None],
        timeouts: Timeouts | None = None,
    ) -> None:
        self._kinematics = kinematics
        self._limits = limits
        self._send = send
        self._timeouts = timeouts or Timeouts()
        self._joints: tuple[int, NDArray] | None = None  # (arrival [ns], positions (n,) [rad])
        self._instruction = ""
        self._instruction_ns = 0
        self._last_chunk_ns = 0
        self._hold_pending = False
        self.state = State.WAITING
        self.reason = "no action chunk has arrived yet"
        self.accepted = 0  # chunks that moved the robot
        self.refused = 0  # chunks that did not

    # --- what arrives -----------------------------------------------------------------------

    def on_joints(self, positions: NDArray[np.float64], now_ns: int) -> None:
        """Measured positions (n,) [rad], in the order of the limits."""
        self._joints = (now_ns, np.asarray(positions, dtype=float))
        if self._hold_pending:
            self._hold()

    def on_instruction(self, text: str, now_ns: int) -> None:
        """A new wish ends the work on the old one; none at all means: stop and hold."""
        if text == self._instruction:
            return
        self._instruction, self._instruction_ns = text, now_ns
        if not text:
            self._stop(State.HOLDING, "the instruction is empty", now_ns)
        elif self.state is not State.STOPPED:
            self.reason = "the instruction is new"

    def on_chunk(self, chunk: PoseChunk, now_ns: int) -> None:
        """Follow `chunk`, or refuse it and hold."""
        if self.state is State.STOPPED or not self._instruction:
            self.refused += 1
            return
        if chunk.stamp_ns < self._instruction_ns:
            return  # seen before the instruction came: an answer to the old one
        joints = self._fresh_joints(now_ns)
        if joints is None:
            self.refused += 1
            return
        try:
            age_ns = now_ns - chunk.stamp_ns
            if not -self._timeouts.joints_ns <= age_ns <= self._timeouts.chunk_age_ns:
                raise ActionError(
                    f"the chunk's observation is {age_ns / 1e6:.0f} ms old; "
                    f"0 to {self._timeouts.chunk_age_ns / 1e6:.0f} ms expected"
                )
            motion = plan(chunk, joints, now_ns, self._limits, self._kinematics)
        except ActionError as error:
            self.refused += 1
            self._stop(State.HOLDING, f"action refused: {error}", now_ns)
            return
        self.accepted += 1
        self._last_chunk_ns = now_ns
        self._hold_pending = False
        self.state = State.MOVING
        self.reason = "; ".join(motion.notes)
        self._send(motion)

    def on_emergency_stop(self, now_ns: int) -> None:
        """Stop and hold until `reset`."""
        self._stop(State.STOPPED, "emergency stop; call /executor/reset to go on", now_ns)

    def on_invalid(self, reason: str, now_ns: int) -> None:
        """Something arrived that cannot even be read as a chunk: hold."""
        self.refused += 1
        self._stop(State.HOLDING, f"action refused: {reason}", now_ns)

    def reset(self) -> bool:
        """End an emergency stop: hold until the next chunk. False when there is none to end."""
        if self.state is not State.STOPPED:
            return False
        self.state, self.reason = State.HOLDING, "reset after an emergency stop"
        return True

    def tick(self, now_ns: int) -> None:
        """The watchdog; call it often."""
        if self._fresh_joints(now_ns) is None:
            if self.state is State.MOVING:
                self._stop(State.WAITING, "", now_ns)
            if self.state is State.WAITING:
                self.reason = "joint states are missing or stale; nothing is sent"
            return
        idle_ns = now_ns - self._last_chunk_ns
        if self.state is State.MOVING and idle_ns > self._timeouts.chunk_ns:
            limit_ms = self._timeouts.chunk_ns / 1e6
            self._stop(
                State.HOLDING, f"no usable action chunk for more than {limit_ms:.0f} ms", now_ns
            )

    # --- stopping ---------------------------------------------------------------------------

    def _stop(self, state: State, reason: str, now_ns: int) -> None:
        """End the work, then send the safe command: at once, or when there are joints to hold."""
        if self.state is State.STOPPED:
            return  # it holds already, and only `reset` ends that
        was_holding = self.state is State.HOLDING and not self._hold_pending
        self.state, self.reason = state, reason
        if was_holding and state is not State.STOPPED:
            return
        self._hold_pending = True
        if self._fresh_joints(now_ns) is not None:
            self._hold()

    def _hold(self) -> None:
        assert self._joints is not None
        self._hold_pending = False
        if self.state is State.WAITING:
            self.state, self.reason = State.HOLDING, "joint states are back"
        self._send(Hold(self._joints[1], self.reason))

    def _fresh_joints(self, now_ns: int) -> NDArray | None:
        if self._joints is None or now_ns - self._joints[0] > self._timeouts.joints_ns:
            return None
        return self._joints[1]
