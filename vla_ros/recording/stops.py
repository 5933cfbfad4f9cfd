"""Whether an emergency stop keeps episodes from beginning. No ROS.

After its reset the executor moves for an instruction that is published then, be it one that a
script has repeated all the time. Only the executor knows; that it moves tells the recorder.
"""

from __future__ import annotations

from vla_ros.executor_state import State


class Stop:
    """Feed it what `/executor/state` tells, and emergency stops that count."""

    def __init__(self) -> None:
        self.in_force = False
        self._executor = ""  # its state; empty: none has been heard

    def begin(self) -> None:
        self.in_force = True

    def on_executor(self, state: str) -> bool:
        """Returns whether it is stopped and this is new: not every stop is heard by everybody."""
        self._executor = state
        return state == State.STOPPED and not self.in_force

    def end(self, text: str) -> bool:
        """Whether it ends now; `text` is the instruction. Without an executor any one ends it."""
        ends = self.in_force and bool(text) and self._executor in ("", State.MOVING)
        self.in_force &= not ends
        return ends
