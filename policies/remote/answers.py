"""From an answer to an `ActionChunk` with latencies, for either kind of server."""

from __future__ import annotations

from typing import Any

import numpy as np

from policies.interface import (
    ActionChunk,
    ActionError,
    InstructionError,
    Observation,
    ObservationError,
)
from policies.remote.clock import ClockOffset, Exchange
from policies.remote.envelope import Answer
from policies.remote.errors import ConnectionLostError, RemoteError
from policies.remote.table import KeyTable
from policies.remote.translate import actions_from_message

ERRORS: dict[str, type[Exception]] = {
    "InstructionError": InstructionError,
    "ObservationError": ObservationError,
    "ActionError": ActionError,
    "ConnectionError": ConnectionLostError,  # the server stops: another may start
}
MAX_REASON = 300  # characters of a server's text in an error


def chunk_of_ours(
    message: dict[str, Any],
    observation: Observation,
    table: KeyTable,
    sent_ns: int,
    heard_ns: int,
    clocks: ClockOffset,
) -> ActionChunk:
    """Raises what the policy raised on the server; the exchange is added to `clocks`."""
    answer = Answer.of(message)
    exchange = Exchange(sent_ns, answer.received_ns, answer.answered_ns, heard_ns)
    clocks.add(exchange)
    if answer.kind:
        raise ERRORS.get(answer.kind, RemoteError)(answer.error[:MAX_REASON])
    offset_ns, error_ns = clocks.estimate_ns() or (0, 0)
    return ActionChunk(
        actions=actions_from_message(message, table),
        stamp_ns=observation.stamp_ns,
        dt_s=answer.dt_s,
        mode=answer.mode,  # type: ignore[arg-type]  # the chunk checks it
        frame=answer.frame,
        statistics_hash=answer.statistics_hash,
        diagnostics={
            **numbers(answer.diagnostics),
            "remote_queue_ms": answer.queue_ms,
            "remote_inference_ms": answer.inference_ms,
            "remote_server_ms": exchange.server_ns / 1e6,
            "remote_network_ms": exchange.network_ns / 1e6,
            "remote_clock_offset_ms": offset_ns / 1e6,
            "remote_clock_error_ms": error_ns / 1e6,
            "remote_question": answer.id,
        },
    )


def chunk_of_openpi(
    message: dict[str, Any],
    observation: Observation,
    table: KeyTable,
    sent_ns: int,
    heard_ns: int,
) -> ActionChunk:
    """openpi tells how long inference took (`server_timing`); the rest is network and queue."""
    round_trip_ms = (heard_ns - sent_ns) / 1e6
    timing = message.get("server_timing")
    inference_ms = numbers(timing).get("infer_ms") if isinstance(timing, dict) else None
    return ActionChunk(
        actions=actions_from_message(message, table),
        stamp_ns=observation.stamp_ns,
        dt_s=1.0 / table.rate_hz,
        diagnostics={
            "remote_inference_ms": inference_ms or 0.0,
            "remote_network_ms": round_trip_ms - (inference_ms or 0.0),
        },
    )


def numbers(values: dict[Any, Any]) -> dict[str, float]:
    """Those of `values` that are numbers with a name."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(name, str) and isinstance(value, int | float | np.number)
    }
