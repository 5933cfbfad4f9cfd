"""A TLS socket that one thread may read while another writes.

OpenSSL's connections are for one thread at a time (openssl-threads(7)), and Python 3.12's sockets
do not see to it. websockets' client reads in a thread of its own; when that takes the session
tickets, which a TLS 1.3 server sends after the handshake, just while the first request is written,
the request is never sent, and both wait for ever: about one connection in 500.
"""

from __future__ import annotations

import select
import ssl
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

LOOK_S = 0.5  # whether somebody has closed it: nothing wakes who waits for a closed socket


class SharedTlsSocket(ssl.SSLSocket):
    """Reads and writes take turns, and who waits for the network waits outside of them.

    After the handshake it does not block underneath; `recv` and `sendall` wait as `settimeout`
    says. Made by `ssl.SSLContext.wrap_socket` of a context with this `sslsocket_class`.
    """

    _turn: threading.Lock | None = None  # None: not before the handshake is done
    _patience_s: float | None = None

    def do_handshake(self, block: bool = False) -> None:
        super().do_handshake(block)
        self._patience_s = self.gettimeout()
        super().settimeout(0.0)
        self._turn = threading.Lock()

    def settimeout(self, value: float | None) -> None:
        if self._turn is None:
            super().settimeout(value)
        else:
            self._patience_s = value

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Raises `TimeoutError`, and `OSError` once it is closed."""
        data: bytes = self._in_turn(partial(super().recv, buflen, flags))
        return data

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Raises `TimeoutError`, and `OSError` once it is closed."""
        left = memoryview(data).cast("B")
        while left:
            left = left[self._in_turn(partial(super().send, left, flags)) :]

    def _in_turn(self, work: Callable[[], Any]) -> Any:
        if self._turn is None:
            return work()
        waited_s = 0.0
        while True:
            try:
                with self._turn:
                    return work()
            except ssl.SSLWantReadError:
                event = select.POLLIN
            except ssl.SSLWantWriteError:
                event = select.POLLOUT
            waited_s += self._wait(event, waited_s)

    def _wait(self, event: int, waited_s: float) -> float:
        """Until there is something to do, or for a while; how long at most [s]."""
        if self.fileno() < 0:
            raise OSError("the socket is closed")
        left_s = LOOK_S if self._patience_s is None else self._patience_s - waited_s
        if left_s <= 0:
            raise TimeoutError("timed out")
        turn_s = min(LOOK_S, left_s)
        poller = select.poll()
        poller.register(self.fileno(), event)
        return 0.0 if poller.poll(1e3 * turn_s) else turn_s


def share(context: ssl.SSLContext) -> ssl.SSLContext:
    """Sockets of this context may be read and written by two threads."""
    context.sslsocket_class = SharedTlsSocket
    return context
