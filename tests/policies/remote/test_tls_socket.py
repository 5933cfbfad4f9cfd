"""Two threads on one TLS connection: neither waits for the other, nor for ever."""

import contextlib
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from policies.remote.tls_socket import share

PATIENCE_S = 30.0
TICKETS = 100  # that the server sends after the handshake; usually two
ROUNDS = 40


@pytest.fixture
def contexts(certificate):
    cert, key = certificate
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    server.num_tickets = TICKETS
    return share(ssl.create_default_context(cafile=cert)), server


@contextlib.contextmanager
def connected(contexts):
    """(client, server), a shared socket and an ordinary one."""
    client_context, server_context = contexts
    with contextlib.ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor())
        near, far = (stack.enter_context(each) for each in socket.socketpair())
        served = threads.submit(server_context.wrap_socket, far, server_side=True)
        client = stack.enter_context(client_context.wrap_socket(near, server_hostname="localhost"))
        client.settimeout(None)
        yield client, stack.enter_context(served.result(PATIENCE_S))


def test_who_writes_does_not_wait_for_who_reads(contexts):
    """With the tickets on their way: an ordinary socket hangs here after some rounds."""
    for _ in range(ROUNDS):
        with ThreadPoolExecutor() as threads, connected(contexts) as (client, server):
            server.settimeout(PATIENCE_S)
            answer = threads.submit(client.recv, 4096)
            client.sendall(b"question")
            assert server.recv(4096) == b"question"
            server.sendall(b"answer")
            assert answer.result(PATIENCE_S) == b"answer"


def test_more_than_fits_arrives_whole(contexts):
    sent = bytes(range(256)) * 2**14  # 4 MB

    def read_all(server):
        got = b""
        while len(got) < len(sent):
            got += server.recv(2**16)
        return got

    with ThreadPoolExecutor() as threads, connected(contexts) as (client, server):
        server.settimeout(PATIENCE_S)
        got = threads.submit(read_all, server)
        client.sendall(sent)
        assert got.result(PATIENCE_S) == sent


def test_it_waits_as_long_as_it_was_told(contexts):
    with connected(contexts) as (client, _server):
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(10)
        with pytest.raises(TimeoutError):
            client.sendall(b"\0" * 2**24)


@pytest.mark.parametrize("how", ["close", "shutdown", "peer"])
def test_the_end_is_heard_by_who_waits(contexts, how):
    with ThreadPoolExecutor() as threads, connected(contexts) as (client, server):
        ends = {
            "close": client.close,
            "shutdown": lambda: socket.socket.shutdown(client, socket.SHUT_RDWR),
            "peer": server.close,
        }
        waiting = threads.submit(client.recv, 10)
        time.sleep(0.1)
        ends[how]()
        with contextlib.suppress(OSError, ValueError):  # or it reads the end
            assert waiting.result(PATIENCE_S) == b""
