"""A policy server beside other work, in a thread: for tests, benchmarks and notebooks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from policies.serving.server import PolicyServer

START_TIMEOUT_S = 30.0


@contextmanager
def serving(server: PolicyServer) -> Iterator[int]:
    """Yields the port on which `server` listens; it has stopped afterwards. Raises `OSError`."""
    stop = asyncio.Event()
    ready: Future[tuple[int, asyncio.AbstractEventLoop]] = Future()

    def main() -> None:
        try:
            asyncio.run(
                server.run(stop, lambda port: ready.set_result((port, asyncio.get_running_loop())))
            )
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=main, name="policy-server", daemon=True)
    thread.start()
    port, loop = ready.result(START_TIMEOUT_S)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(START_TIMEOUT_S)
