"""What our client and server add to openpi's messages, under one key that others ignore.

A question carries its number and times, an answer repeats the number: an answer that comes too late
is not taken for the next one. `openpi-client` sends none of it and is served all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

from policies.remote.errors import MessageError

KEY = "vla_ros"
VERSION = 1


@dataclass(frozen=True)
class Question:
    """Goes along with an observation."""

    id: int
    stamp_ns: int  # of the observation, the client's clock
    reset: bool = False  # forget the last episode first
    seed: int | None = None  # for that reset

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Question | None:
        """None for a client that is not ours. Raises `MessageError`."""
        values = message.get(KEY)
        return None if values is None else cls(**_checked(cls, values))


@dataclass(frozen=True)
class Answer:
    """Goes along with actions, or alone when there are none (`error`)."""

    id: int
    received_ns: int  # the server's clock
    answered_ns: int  # the server's clock
    queue_ms: float = 0.0  # waiting for other robots' turns
    inference_ms: float = 0.0
    dt_s: float = 0.0  # [s] between actions
    mode: str = "delta"
    frame: str = "base"
    statistics_hash: str = ""
    diagnostics: dict[str, Any] = field(default_factory=dict)
    kind: str = ""  # of the error: "ObservationError", "ActionError" or another; "": none
    error: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Answer:
        """Raises `MessageError`."""
        return cls(**_checked(cls, message.get(KEY)))


TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "str": (str,),
    "bool": (bool,),
    "int | None": (int, type(None)),
    "dict[str, Any]": (dict,),
}


def _checked(cls: Any, values: Any) -> dict[str, Any]:
    """`values` if they are fields of `cls` with the right types; unknown ones are left out."""
    if not isinstance(values, dict):
        raise MessageError(f"{KEY}: expected fields, got {type(values).__name__}")
    known = {}
    for each in fields(cls):
        if each.name in values:
            value = values[each.name]
            if type(value) not in TYPES[str(each.type)]:
                raise MessageError(f"{KEY}.{each.name}: expected {each.type}, got {value!r:.80}")
            known[each.name] = value
        elif each.default is MISSING and each.default_factory is MISSING:
            raise MessageError(f"{KEY}.{each.name} is missing")
    return known
