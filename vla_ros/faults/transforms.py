"""What happens to messages on their way: lost, late, twice, out of order, changed. No ROS.

Each is a `channel.Transform`. Random numbers come from the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

from numpy.random import Generator

from vla_ros.faults.channel import Delivery, Transform

Change = Callable[[Any, Generator], Any]  # of a message's own copy, in place or by a new one


def drop(share: float, generator: Generator) -> Transform:
    """That share of the messages is lost."""

    def transform(message: Any, _now_ns: int) -> list[Delivery]:
        return [] if generator.random() < share else [Delivery(message)]

    return transform


def delay(delay_ns: int, good: bool) -> Transform:
    """Every message comes that much later; `good`: still early enough to act on."""

    def transform(message: Any, _now_ns: int) -> list[Delivery]:
        return [Delivery(message, delay_ns, good)]

    return transform


def duplicate(times: int) -> Transform:
    def transform(message: Any, _now_ns: int) -> list[Delivery]:
        return [Delivery(message)] * times

    return transform


def reorder(block: int, generator: Generator) -> Transform:
    """Messages wait until there are `block`, and then come in another order."""
    waiting: list[Any] = []

    def transform(message: Any, _now_ns: int) -> list[Delivery]:
        waiting.append(message)
        if len(waiting) < block:
            return []
        order = generator.permutation(block)
        while block > 1 and (order == sorted(order)).all():
            order = generator.permutation(block)
        shuffled = [Delivery(waiting[index]) for index in order]
        waiting.clear()
        return shuffled

    return transform


def change(
    how: Change, generator: Generator, good: bool = False, refusable: bool = False
) -> Transform:
    """Every message is changed by `how`."""

    def transform(message: Any, _now_ns: int) -> list[Delivery]:
        changed = how(deepcopy(message), generator)
        return [Delivery(changed, good=good, refusable=refusable)]

    return transform


def marking(transform: Transform, refusable: Callable[[Any], bool]) -> Transform:
    """The same, but `refusable` says which messages the executor has to hold at."""

    def marked(message: Any, now_ns: int) -> list[Delivery]:
        return [
            replace(each, refusable=refusable(each.message)) for each in transform(message, now_ns)
        ]

    return marked
