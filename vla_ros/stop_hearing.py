"""Hears every emergency stop, whatever else is said on its topic. Its neighbour: `stop_latch`.

Somebody may say many times a second that a button is not pressed, and the executor be busy with a
plan just then: no such message may push out a stop, nor keep it waiting for a turn of each.
"""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from std_msgs.msg import Bool

from vla_ros.runtime import subscribe_latched

# Messages, of each kind of publisher; Fast DDS has room for 5000, and full it takes nothing more.
WAITING = 4000
AT_ONCE = 1000  # are taken in one turn, in some 20 ms: a flood has to end some time


def subscribe_stops(node: Node, topic: str, on_stop: Callable[[], None]) -> None:
    """Call `on_stop` when somebody says true. False means nothing: only a reset ends a stop."""

    def hear(message: Bool) -> None:
        if message.data or any(said_besides()):
            on_stop()

    def said_besides() -> list[bool]:
        """What waits in all three queues."""
        said: list[bool] = []
        for subscription in subscriptions:
            with subscription.handle:
                while len(said) < AT_ONCE:
                    taken = subscription.handle.take_message(Bool, False)
                    if taken is None:
                        break
                    said.append(taken[0].data)
        return said

    subscriptions = subscribe_latched(node, Bool, topic, hear, WAITING)
