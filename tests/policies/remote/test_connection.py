"""Over a real socket: a network that takes no more bytes blocks nobody for long."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from policies.remote.connection import Websocket, open_websocket
from policies.remote.errors import ConnectionLostError, RemoteError
from policies.remote.settings import parse_remote

PATIENCE_S = 30
MORE_THAN_FITS = b"\0" * 2**24
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


def shake_hands(line: socket.socket) -> None:
    """The server's part of a websocket's beginning."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += line.recv(4096)
    (key,) = re.findall(rb"(?i)sec-websocket-key: (\S+)", request)
    accepted = base64.b64encode(hashlib.sha1(key + GUID).digest())
    line.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accepted + b"\r\n\r\n"
    )


Open = Callable[[], Websocket]


@pytest.fixture(params=["ws", "wss"])
def deaf(request: Any, certificate: Any) -> Iterator[Open]:
    """Connects to a server that shakes hands and never reads again."""
    cert, key = certificate
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    ended = threading.Event()

    def serve(listener: socket.socket) -> None:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            line = stack.enter_context(listener.accept()[0])
            if request.param == "wss":
                line = stack.enter_context(tls.wrap_socket(line, server_side=True))
            shake_hands(line)
            ended.wait(10 * PATIENCE_S)

    options = f"?ca={cert}" if request.param == "wss" else ""
    with socket.socket() as listener, ThreadPoolExecutor() as threads:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        opened: list[Websocket] = []

        def open_it() -> Websocket:
            threads.submit(serve, listener)
            settings = parse_remote(f"{request.param}://127.0.0.1:{port}{options}", {})
            connection = open_websocket(settings, PATIENCE_S)
            assert isinstance(connection, Websocket)
            opened.append(connection)
            return connection

        yield open_it
        ended.set()
        for connection in opened:
            connection.abandon()


def assert_ended(connection: Websocket) -> None:
    """Nothing of it is left at work."""
    assert connection._connection.wait_closed(PATIENCE_S)
    connection._thread.submit(int).result(PATIENCE_S)  # the writer is free again
    with pytest.raises(ConnectionLostError):
        connection.send(b"more", PATIENCE_S)


def test_a_question_that_does_not_go_out_ends_in_time_and_hanging_up_frees_the_writer(
    deaf: Open,
) -> None:
    connection = deaf()
    with pytest.raises(TimeoutError):
        connection.send(MORE_THAN_FITS, 0.2)
    connection.abandon()
    assert_ended(connection)


def test_closing_waits_neither_for_the_network_nor_for_who_is_writing(deaf: Open) -> None:
    """As `policy_node` does in `on_cleanup` and on Ctrl-C, while its thread asks a question."""
    connection = deaf()
    with ThreadPoolExecutor() as threads:
        asking = threads.submit(connection.send, MORE_THAN_FITS, 10 * PATIENCE_S)
        with pytest.raises(TimeoutError):
            asking.result(0.2)
        threads.submit(connection.close).result(PATIENCE_S)
        with pytest.raises(ConnectionLostError):
            asking.result(PATIENCE_S)
    assert_ended(connection)


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[], None]]:
    """Does what Ctrl-C does, whatever other tests have left in its place."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_while_a_question_does_not_go_out_leaves_nobody_writing(
    deaf: Open, ctrl_c: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python waits for its threads when it ends: who is left writing keeps it from that."""
    connection = deaf()
    write = connection._connection.send

    def write_and_be_interrupted(data: bytes) -> None:
        ctrl_c()
        write(data)

    monkeypatch.setattr(connection._connection, "send", write_and_be_interrupted)
    with pytest.raises(KeyboardInterrupt):
        connection.send(MORE_THAN_FITS, 10 * PATIENCE_S)
    monkeypatch.undo()
    assert_ended(connection)


def test_ctrl_c_while_an_answer_is_awaited_hangs_up(
    deaf: Open, ctrl_c: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever goes on would take that answer for the one to his next question."""
    connection = deaf()
    listen = connection._connection.recv

    def listen_and_be_interrupted(timeout_s: float) -> Any:
        ctrl_c()
        return listen(timeout_s)

    monkeypatch.setattr(connection._connection, "recv", listen_and_be_interrupted)
    with pytest.raises(KeyboardInterrupt):
        connection.receive(PATIENCE_S)
    assert_ended(connection)


def test_ctrl_c_while_closing_still_hangs_up(
    deaf: Open, ctrl_c: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = deaf()
    with pytest.raises(TimeoutError):
        connection.send(MORE_THAN_FITS, 0.2)
    submit = connection._thread.submit

    def submit_and_be_interrupted(work: Callable[[], None]) -> Any:
        monkeypatch.undo()
        ctrl_c()
        return submit(work)

    monkeypatch.setattr(connection._thread, "submit", submit_and_be_interrupted)
    with pytest.raises(KeyboardInterrupt):
        connection.close()
    assert_ended(connection)


def test_closing_and_hanging_up_twice_is_once(deaf: Open) -> None:
    connection = deaf()
    for end in (connection.close, connection.abandon, connection.close):
        end()
    assert_ended(connection)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (10, "certificate has expired.*make a new one, or set this machine's clock"),
        (9, "not valid yet, or this machine's clock is behind"),
        (18, "`ca=FILE` names a certificate to trust"),
    ],
)
def test_what_is_wrong_with_a_certificate_has_its_own_mend(
    monkeypatch: pytest.MonkeyPatch, code: int, said: str
) -> None:
    error = ssl.SSLCertVerificationError(1, "certificate has expired")
    error.verify_code = code

    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("policies.remote.connection.connect", refuse)
    with pytest.raises(RemoteError, match=said):
        open_websocket(parse_remote("wss://gpu:8000", {}), PATIENCE_S)
