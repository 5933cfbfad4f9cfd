"""A policy that another machine computes: one of ours (`vla-ros serve`) or an openpi server.

Whatever goes wrong is an error at once, so that the robot holds; the next call connects again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.interface import ActionChunk, Observation, ToolLimits, UnfitPolicyError
from policies.probes import check_answers_differ
from policies.remote.answers import MAX_REASON, chunk_of_openpi, chunk_of_ours
from policies.remote.clock import ClockOffset
from policies.remote.codec import pack, unpack
from policies.remote.connection import Connection, open_websocket
from policies.remote.envelope import KEY, Answer, Question
from policies.remote.errors import ConnectionLostError, MessageError, RemoteError
from policies.remote.fit import check_actions, check_description
from policies.remote.images import encode_jpeg
from policies.remote.settings import RemoteSettings
from policies.remote.translate import observation_to_message
from policies.remote.welcome import Welcome

CONNECT_TIMEOUT_S = 2.0  # of one attempt
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0  # between attempts: doubled each time


class _TooSoonError(ConnectionLostError):
    """The last attempt failed a moment ago; says when the next one may be made."""


class RemotePolicy:
    """Connects when built; raises `RemoteError` when the server does not come up in time.

    `clock_ns` is the wall clock (for the offset to the server's), `monotonic_s` and `sleep` are for
    waiting; tests pass their own, and their own `open_connection`.
    """

    def __init__(
        self,
        settings: RemoteSettings,
        open_connection: Callable[[RemoteSettings, float], Connection] = open_websocket,
        clock_ns: Callable[[], int] = time.time_ns,
        monotonic_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._open = open_connection
        self._clock_ns, self._monotonic_s, self._sleep = clock_ns, monotonic_s, sleep
        self._connection: Connection | None = None
        self._pause_s, self._next_try_s, self._problem = FIRST_PAUSE_S, -math.inf, ""
        self._clocks = ClockOffset()
        self._limits: ToolLimits | None = None
        self._reset: tuple[int | None] | None = (None,)  # the seed of a reset not yet carried out
        self._question = 0  # the number of the last
        self.connections = 0  # made so far
        self._first_welcome: Welcome | None = None
        self._patiently(settings.start_timeout_s, self._connected)
        self.name = f"{self.welcome.policy} at {settings.uri}"
        self.cameras: tuple[str, ...] = self.welcome.cameras

    @property
    def welcome(self) -> Welcome:
        """What the server said about itself when it was first met."""
        if self._first_welcome is None:
            raise RemoteError("not connected yet")
        return self._first_welcome

    def reset(self, seed: int | None = None) -> None:
        """Takes effect with the next question. An openpi server knows no reset."""
        self._reset = (seed,)

    def predict_chunk(self, observation: Observation) -> ActionChunk:
        """Ask the server. Raises `RemoteError`, and what the policy there raises."""
        return self._patiently(self._settings.patience_s, lambda: self._ask(observation))

    def check_fit(self, limits: ToolLimits) -> None:
        """Raises `UnfitPolicyError` for a policy that does not fit this robot, or that its own
        server has not passed.

        A server that says nothing about its policy is tried with three pictures and two
        instructions. Without statistics, every chunk is held against the limits from now on.
        """
        if self.welcome.is_ours:
            check_description(self.welcome, limits)
        else:
            check_answers_differ(self.predict_chunk, self.cameras)
        self._limits = limits

    def close(self) -> None:
        """Hang up, which takes a second at most; the next question would connect again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # --- connecting -------------------------------------------------------------------------

    def _patiently[Result](self, patience_s: float, attempt: Callable[[], Result]) -> Result:
        """Try again until the time is over, but only where trying again may help."""
        give_up_s = self._monotonic_s() + patience_s
        while True:
            try:
                return attempt()
            except ConnectionLostError as error:
                now_s = self._monotonic_s()
                if now_s >= give_up_s:
                    if patience_s > 0 and isinstance(error, _TooSoonError):
                        raise ConnectionLostError(self._problem) from error  # there is no next
                    raise
                self._sleep(min(give_up_s - now_s, max(0.0, self._next_try_s - now_s)))

    def _connected(self) -> Connection:
        """The connection, made anew if need be, but not too often."""
        if self._connection is not None:
            return self._connection
        wait_s = self._next_try_s - self._monotonic_s()
        if wait_s > 0:
            raise _TooSoonError(f"{self._problem}; next attempt in {wait_s:.1f} s")
        try:
            connection = self._greet()
        except (RemoteError, UnfitPolicyError) as error:
            self._problem = str(error)
            self._next_try_s = self._monotonic_s() + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            raise
        self._pause_s = FIRST_PAUSE_S
        self.connections += 1
        self._connection = connection
        return connection

    def _greet(self) -> Connection:
        """Connect, and hear what the server says about itself before anything is asked of it."""
        try:
            connection = self._open(self._settings, CONNECT_TIMEOUT_S)
        except RemoteError as error:
            raise self._placed(error) from error
        try:
            welcome = Welcome.of(connection.receive(CONNECT_TIMEOUT_S), self._settings)
            if welcome != (self._first_welcome or welcome):
                raise UnfitPolicyError(
                    f"{self._settings.uri}: the server now offers another policy or configuration "
                    f"({welcome.title}, before {self.welcome.title}) that has not been checked; "
                    "configure the node again"
                )
        except TimeoutError:
            connection.abandon()
            raise ConnectionLostError(f"{self._settings.uri}: the server says nothing") from None
        except (MessageError, RemoteError) as error:
            connection.close()
            raise self._placed(error) from error
        except UnfitPolicyError:
            connection.close()
            raise
        self._first_welcome = welcome
        return connection

    def _placed(self, error: Exception) -> RemoteError:
        """The error with the server's address; still one that asking again may mend, if it was."""
        kind = ConnectionLostError if isinstance(error, ConnectionLostError) else RemoteError
        return kind(f"{self._settings.uri}: {error}")

    # --- asking -----------------------------------------------------------------------------

    def _ask(self, observation: Observation) -> ActionChunk:
        """One question, one answer."""
        connection = self._connected()
        welcome, resetting = self.welcome, self._reset
        message = observation_to_message(observation, welcome.table, self.cameras, self._encode)
        self._question += 1
        if welcome.is_ours:
            seed = None if resetting is None else resetting[0]
            question = Question(self._question, observation.stamp_ns, resetting is not None, seed)
            message[KEY] = question.as_dict()
        data = pack(message)
        sent_ns = self._clock_ns()
        answer = self._exchange(connection, data)
        times = (sent_ns, self._clock_ns())
        if welcome.is_ours:
            chunk = chunk_of_ours(answer, observation, welcome.table, *times, self._clocks)
        else:
            chunk = chunk_of_openpi(answer, observation, welcome.table, *times)
        if self._reset is resetting:  # another may have come meanwhile
            self._reset = None
        if self._limits is not None and welcome.statistics is None:
            check_actions(chunk, self._limits)
        counts = {"remote_connections": float(self.connections)}
        return replace(chunk, diagnostics={**chunk.diagnostics, **counts})

    def _encode(self, image: NDArray[np.uint8]) -> Any:
        return encode_jpeg(image) if self._settings.images == "jpeg" else image

    def _exchange(self, connection: Connection, data: bytes) -> dict[str, Any]:
        """Send a question and hear its answer; whatever is wrong with that ends the connection."""
        timeout_s = self._settings.timeout_s
        deadline_s = self._monotonic_s() + timeout_s
        try:
            connection.send(data, timeout_s)
            return self._hear(connection, deadline_s)
        except TimeoutError:
            # What is under way on it would come first; and a network that went silent may pass a
            # new connection long before it wakes the old one.
            self._connection = None
            connection.abandon()
            raise ConnectionLostError(
                f"{self._settings.uri}: no answer within {timeout_s:g} s"
            ) from None
        except (RemoteError, MessageError) as error:
            self.close()
            raise self._placed(error) from error

    def _hear(self, connection: Connection, deadline_s: float) -> dict[str, Any]:
        """The answer to the last question; an answer to an earlier one is passed over."""
        while True:
            frame = connection.receive(max(0.0, deadline_s - self._monotonic_s()))
            if isinstance(frame, str):  # openpi sends a traceback; its last line says what it was
                lines = [line for line in frame.splitlines() if line.strip()] or ["nothing"]
                raise RemoteError(f"the server answers: {lines[-1].strip()[:MAX_REASON]}")
            answer = unpack(frame)
            if not isinstance(answer, dict):
                raise MessageError(f"expected an answer with keys, got {type(answer).__name__}")
            if not self.welcome.is_ours:
                return answer
            number = Answer.of(answer).id
            if number == self._question:
                return answer
            if number > self._question:
                raise MessageError(
                    f"expected the answer to question {self._question}, got {number}"
                )
