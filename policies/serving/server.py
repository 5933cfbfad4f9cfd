"""A websocket server in openpi's protocol around one policy.

As openpi's own (`src/openpi/serving/websocket_policy_server.py`): `GET /healthz` says OK; on
connecting the metadata is sent; then every binary frame is an observation, answered by a binary
frame with `actions` and `server_timing`, or by a text frame that says what was wrong. Otherwise
than with openpi's, that is no traceback, and the connection goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import http
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from policies.interface import ActionError, Observation, ObservationError, Policy
from policies.remote.codec import pack, read
from policies.remote.connection import PING_INTERVAL_S, PING_TIMEOUT_S
from policies.remote.envelope import KEY, Answer, Question
from policies.remote.errors import MessageError
from policies.remote.settings import MIN_TOKEN, SettingsError, is_exposed
from policies.remote.table import KeyTable
from policies.remote.translate import actions_to_message, observation_from_message
from policies.serving.describe import describe, remembers
from policies.serving.line import Line, Reset, Served

logger = logging.getLogger(__name__)

MAX_QUEUED_FRAMES = 2  # of one connection; then TCP makes it wait


@dataclass(frozen=True)
class ServerSettings:
    """Where to listen, who may connect, and how much of it."""

    host: str = "127.0.0.1"
    port: int = 8000  # 0: any free one
    table: KeyTable = field(default_factory=KeyTable)
    token: str | None = field(default=None, repr=False)
    without_token: bool = False  # let everybody in who can reach `host`
    certificate: Path | None = None  # PEM; then only wss:// is spoken
    key: Path | None = None
    max_batch: int = 1
    max_clients: int = 32
    max_frame_bytes: int = 16 * 2**20

    def __post_init__(self) -> None:
        if self.token is None and not self.without_token and is_exposed(self.host):
            raise SettingsError(
                f"token: expected one, since other machines can reach {self.host}; see --token-file"
            )
        if self.token is not None and len(self.token) < MIN_TOKEN:
            raise SettingsError(
                f"token: expected {MIN_TOKEN} or more characters, got {len(self.token)}"
            )
        if (self.certificate is None) != (self.key is None):
            raise SettingsError("certificate: expected a certificate and its key, got one of them")
        if not 0 <= self.port <= 65535:
            raise SettingsError(f"port: expected 0 to 65535, got {self.port}")
        for name in ("max_batch", "max_clients", "max_frame_bytes"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name}: expected 1 or more, got {getattr(self, name)}")

    def tls(self) -> ssl.SSLContext | None:
        """Raises `SettingsError` for files that are no certificate and key."""
        if self.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"certificate: {self.certificate}, {self.key}: {error}") from error
        return context


@dataclass
class Counters:
    """Since the server started."""

    connections: int = 0
    answers: int = 0
    refusals: int = 0  # questions answered with an error
    rejected: int = 0  # connections of web pages, without the token, or one too many


class PolicyServer:
    """Serves a policy that `describe.check_policy` has passed.

    Raises `TableError` when the table lacks what the policy looks at. `clock_ns` is the wall clock.
    """

    def __init__(
        self,
        policy: Policy,
        settings: ServerSettings,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._policy, self._settings, self._clock_ns = policy, settings, clock_ns
        self._welcome = describe(policy, settings.table)
        self._welcome_frame = self._welcome.as_frame()
        self._most_clients, self._full = settings.max_clients, "all places are taken"
        if remembers(policy):
            self._most_clients = 1
            self._full = f"{policy.name} remembers what it saw, so it serves one robot at a time"
        self._expected = f"Api-Key {settings.token}".encode()
        self._tls = settings.tls()
        self._clients = 0
        self.counters = Counters()

    async def run(self, stop: asyncio.Event, on_ready: Callable[[int], None]) -> None:
        """Serve until `stop` is set; `on_ready` gets the port. Raises `OSError`."""
        settings = self._settings
        self._line = Line(self._policy, settings.max_batch)
        async with serve(
            self._handle,
            settings.host,
            settings.port,
            ssl=self._tls,
            process_request=self._admit,
            compression=None,  # images are noise to it
            max_size=settings.max_frame_bytes,
            max_queue=MAX_QUEUED_FRAMES,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
        ) as server:
            line = asyncio.create_task(self._line.run())
            stopping = asyncio.create_task(stop.wait())
            on_ready(next(iter(server.sockets)).getsockname()[1])
            await asyncio.wait((line, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            server.close(code=CloseCode.SERVICE_RESTART, reason="the server stops")
            line.cancel()  # whoever waits in it hears so, and its connection can end
            with contextlib.suppress(asyncio.CancelledError):
                await line

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer a health check; refuse who is a web page, has no token or is one too many."""
        if request.path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if "Origin" in request.headers:
            # Browsers let any page connect to this machine, and say whose it is; robots have none.
            self.counters.rejected += 1
            logger.warning("%s: refused, a web page", connection.remote_address)
            return connection.respond(http.HTTPStatus.FORBIDDEN, "not for web pages\n")
        if self._settings.token is not None:
            given = " ".join(request.headers.get_all("Authorization"))
            if not hmac.compare_digest(given.encode(errors="surrogateescape"), self._expected):
                self.counters.rejected += 1
                logger.warning("%s: refused, no valid token", connection.remote_address)
                return connection.respond(http.HTTPStatus.UNAUTHORIZED, "a valid token is needed\n")
        if self._clients >= self._most_clients:
            self.counters.rejected += 1
            logger.warning("%s: refused, %s", connection.remote_address, self._full)
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, f"{self._full}\n")
        return None

    async def _handle(self, connection: ServerConnection) -> None:
        """One robot, from its welcome to its end."""
        if self._clients >= self._most_clients:  # two were admitted at the same moment
            self.counters.rejected += 1
            await connection.close(CloseCode.TRY_AGAIN_LATER, self._full)
            return
        self._clients += 1
        self.counters.connections += 1
        address = connection.remote_address  # later there is none
        logger.info("%s: connected (%d in all)", address, self._clients)
        fresh = True  # a policy that remembers must not go on with another robot's episode
        gone = asyncio.create_task(connection.wait_closed())
        try:
            await connection.send(self._welcome_frame)
            async for frame in connection:
                work = asyncio.create_task(self._answer(frame, self._clock_ns(), fresh))
                await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
                if not work.done():  # a robot that hung up may be back: its place is free, and
                    work.cancel()  # what it asked is not computed before what it asks then
                    break
                answer = work.result()
                fresh = fresh and isinstance(answer, str)  # a refused frame began no episode
                await connection.send(answer)
        except ConnectionClosed as error:
            logger.info("%s: %s", address, error)
        finally:
            gone.cancel()
            self._clients -= 1
            logger.info("%s: gone (%d left)", address, self._clients)

    async def _answer(self, frame: bytes | str, received_ns: int, fresh: bool) -> bytes | str:
        """The frame to send back, whatever came."""
        question: Question | None = None
        try:
            if isinstance(frame, str):
                raise MessageError("expected a binary frame with msgpack, got text")
            message, text_keys = read(frame)
            if not isinstance(message, dict):
                raise MessageError(
                    f"expected an observation with keys, got {type(message).__name__}"
                )
            question = Question.of(message)
            # Decompressing images takes milliseconds; others are heard meanwhile.
            observation = await asyncio.to_thread(self._read, message, question, received_ns)
            reset = Reset() if fresh else None
            if question is not None and question.reset:
                reset = Reset(question.seed)
            served = await self._line.ask(observation, reset)
            answer = self._actions(served, question, received_ns, text_keys)
        except Exception as error:
            self.counters.refusals += 1
            return self._refusal(error, question, received_ns)
        self.counters.answers += 1
        return answer

    def _read(
        self, message: dict[str, Any], question: Question | None, received_ns: int
    ) -> Observation:
        stamp_ns = received_ns if question is None else question.stamp_ns
        settings, cameras = self._settings, self._welcome.cameras
        return observation_from_message(message, settings.table, cameras, stamp_ns)

    def _actions(
        self, served: Served, question: Question | None, received_ns: int, text_keys: bool
    ) -> bytes:
        chunk, table = served.chunk, self._settings.table
        message: dict[str, Any] = {
            table.actions: actions_to_message(chunk, table),
            "server_timing": {"infer_ms": served.inference_ms, "queue_ms": served.queue_ms},
        }
        if question is not None:
            message[KEY] = Answer(
                id=question.id,
                received_ns=received_ns,
                answered_ns=self._clock_ns(),
                queue_ms=served.queue_ms,
                inference_ms=served.inference_ms,
                dt_s=chunk.dt_s,
                mode=chunk.mode,
                frame=chunk.frame,
                statistics_hash=chunk.statistics_hash,
                diagnostics=dict(chunk.diagnostics),
            ).as_dict()
        return pack(message, text_keys)  # as it was asked

    def _refusal(
        self, error: Exception, question: Question | None, received_ns: int
    ) -> bytes | str:
        """What was wrong, in words; as a text frame for clients that are not ours."""
        kind = type(error).__name__
        if isinstance(error, ObservationError | ActionError | MessageError | ConnectionError):
            text = str(error)
            logger.debug("refused: %s: %s", kind, text)
        else:
            text = f"the policy failed: {kind}: {error}"
            # It may fail 30 times a second: where it did, only on request.
            logger.error(text, exc_info=error if logger.isEnabledFor(logging.DEBUG) else None)
        if question is None:
            return f"{kind}: {text}"
        answer = Answer(question.id, received_ns, self._clock_ns(), kind=kind, error=text)
        return pack({KEY: answer.as_dict()})
