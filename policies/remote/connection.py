"""A websocket to a policy server: openpi's handshake, and errors that say what to do."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Protocol

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection, connect

from policies.remote.answers import MAX_REASON
from policies.remote.errors import ConnectionLostError, RemoteError
from policies.remote.settings import TOKEN_FILE_VARIABLE, TOKEN_VARIABLE, RemoteSettings
from policies.remote.tls_socket import share

MAX_ANSWER_BYTES = 8 * 2**20  # a chunk takes kilobytes
# While nothing is asked, a machine that is gone is noticed after both; one that is only busy must
# not be taken for it.
PING_INTERVAL_S, PING_TIMEOUT_S = 10.0, 20.0
OTHER_NAME = "use an address that is in the certificate (subjectAltName)"
CERTIFICATE_MENDS = {  # by OpenSSL's X509_V_ERR_... (ssl.SSLCertVerificationError.verify_code)
    9: "it is not valid yet, or this machine's clock is behind",
    10: "make a new one, or set this machine's clock, if that is ahead",
    62: OTHER_NAME,
    64: OTHER_NAME,
}
TRUST = "`ca=FILE` names a certificate to trust"
GOODBYE_S = 1.0  # for a polite end; then without


class Connection(Protocol):
    """What a remote policy needs of a websocket; tests have their own."""

    def send(self, data: bytes, timeout_s: float) -> None:
        """Raises `TimeoutError`, after which only `abandon` is left, and `ConnectionLostError`."""

    def receive(self, timeout_s: float) -> bytes | str:
        """The next frame. Raises `TimeoutError`, `ConnectionLostError`."""

    def close(self) -> None:
        """Say goodbye. Returns soon whatever the network does, and never raises."""

    def abandon(self) -> None:
        """Hang up without a word. Returns at once and never raises."""


class Websocket:
    """An open connection.

    It is written to in a thread of its own: a network that takes no more bytes blocks whoever
    writes, for minutes, and nothing but the end of the socket frees him.
    """

    def __init__(self, connection: ClientConnection, end: Callable[[], None]) -> None:
        self._connection, self._end = connection, end
        # Never shut down: it ends with this object.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="remote-policy")

    def send(self, data: bytes, timeout_s: float) -> None:
        with self._hanging_up_if_interrupted():
            self._thread.submit(self._connection.send, data).result(timeout_s)

    def receive(self, timeout_s: float) -> bytes | str:
        with self._hanging_up_if_interrupted():
            return self._connection.recv(timeout_s)

    @contextlib.contextmanager
    def _hanging_up_if_interrupted(self) -> Iterator[None]:
        """After Ctrl-C Python would wait at its end for who is still writing; and whoever goes on
        would take the answer that nobody heard for the one to his next question."""
        try:
            yield
        except TimeoutError:
            raise
        except (ConnectionClosed, OSError) as error:
            raise ConnectionLostError(f"the connection was lost: {error}") from error
        except BaseException:
            self.abandon()
            raise

    def close(self) -> None:
        try:
            with contextlib.suppress(OSError, RuntimeError):  # in time; and not while Python ends
                self._thread.submit(self._end).result(GOODBYE_S)
        finally:  # also when Ctrl-C comes in that second
            self.abandon()

    def abandon(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            # Not TLS's own, after which another thread could go on in plain text.
            socket.socket.shutdown(self._connection.socket, socket.SHUT_RDWR)
        with contextlib.suppress(RuntimeError):
            self._thread.submit(self._end)


def open_websocket(settings: RemoteSettings, timeout_s: float) -> Connection:
    """Connect and authenticate as `openpi-client` does (`Authorization: Api-Key ...`).

    Raises `ConnectionLostError` when there is no server yet, `RemoteError` when it refuses.
    """
    headers = {"Authorization": f"Api-Key {settings.token}"} if settings.token else None
    stack = ExitStack()
    try:
        connection = stack.enter_context(
            connect(
                settings.uri,
                ssl=_tls(settings),
                additional_headers=headers,
                compression=None,  # images are noise to it
                max_size=MAX_ANSWER_BYTES,
                open_timeout=timeout_s,
                ping_interval=PING_INTERVAL_S,
                ping_timeout=PING_TIMEOUT_S,
                close_timeout=0.5,  # [s] a dead server does not say goodbye
                proxy=None,  # the shell's web proxy is not on the way to the robot's server
            )
        )
    except InvalidStatus as error:
        raise _refusal(error) from error
    except ssl.SSLError as error:
        raise _no_tls(error) from error
    except InvalidURI as error:
        raise RemoteError(str(error)) from error
    except (InvalidHandshake, EOFError) as error:  # also of a server that is going down
        raise ConnectionLostError(f"no policy server answers: {error}") from error
    except TimeoutError as error:
        raise ConnectionLostError(f"no answer within {timeout_s:g} s") from error
    except OSError as error:
        raise ConnectionLostError(f"cannot connect: {error.strerror or error}") from error
    return Websocket(connection, stack.close)


def _tls(settings: RemoteSettings) -> ssl.SSLContext | None:
    if not settings.uri.startswith("wss:"):
        return None
    try:
        return share(ssl.create_default_context(cafile=settings.ca_file))
    except OSError as error:
        raise RemoteError(f"ca: {settings.ca_file} is no certificate: {error}") from error


def _no_tls(error: ssl.SSLError) -> RemoteError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return RemoteError(f"TLS: {error}; {CERTIFICATE_MENDS.get(error.verify_code, TRUST)}")
    # A server that takes the handshake for a bad request hangs up, or answers in plain text.
    if isinstance(error, ssl.SSLEOFError) or error.reason == "WRONG_VERSION_NUMBER":
        return RemoteError("the server seems not to speak TLS; ws:// instead of wss:// is without")
    return RemoteError(f"TLS: {error}")


def _refusal(error: InvalidStatus) -> RemoteError:
    status = error.response.status_code
    reason = (error.response.body or b"").decode(errors="replace").strip()[:MAX_REASON]
    if status == 401:
        return RemoteError(
            "the server refuses the token: set the one it was started with in "
            f"{TOKEN_VARIABLE} or {TOKEN_FILE_VARIABLE}"
        )
    if status == 503:
        return ConnectionLostError(f"the server is busy: {reason or status}")
    return RemoteError(f"the server refuses the connection: status {status} {reason}")
