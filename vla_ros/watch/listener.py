"""Whether an executor hears what a page commands."""

from __future__ import annotations

import math

SILENT_S = 1.0  # its heartbeat comes 10 times a second


class Listener:
    """Goes by the executor's heartbeat: others subscribe to the emergency stop, too, as a recorded
    bag or `ros2 topic echo`, and a killed executor's subscription outlives it for seconds.

    Times are seconds of any clock that does not jump.
    """

    def __init__(self) -> None:
        self._heard_s = -math.inf

    def on_heartbeat(self, now_s: float) -> None:
        self._heard_s = now_s

    def silence(self, now_s: float, subscriptions: int) -> str:
        """Why nobody hears a command, or nothing; `subscriptions` to the emergency stop."""
        if subscriptions == 0 or self._heard_s == -math.inf:
            return "nobody listens: there is no executor_node"
        silent_s = now_s - self._heard_s
        if silent_s > SILENT_S:
            return f"nobody may listen: executor_node has been silent for {silent_s:.1f} s"
        return ""
