"""Serves the page over HTTP from the standard library: reading for all, commands with a token."""

from __future__ import annotations

import hmac
import json
import secrets
import select
import socket
import sys
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from policies.interface import MAX_INSTRUCTION
from vla_ros.watch.state import WatchState

FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/cameras.js": ("cameras.js", "text/javascript; charset=utf-8"),
    "/watch.js": ("watch.js", "text/javascript; charset=utf-8"),
    "/watch.css": ("watch.css", "text/css; charset=utf-8"),
}
MAX_BODY_BYTES = 4096
HEADERS = {
    # Nothing from elsewhere is loaded, and no other page may frame the stop button.
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Commands(Protocol):
    """What a page with a token may do. Each is called from a thread of the server, and returns why
    nobody heard it, or nothing."""

    def instruct(self, text: str) -> str: ...

    def stop(self) -> str: ...

    def reset(self) -> str: ...


class WatchServer(ThreadingHTTPServer):
    """`token` None: nobody can command."""

    daemon_threads = True
    request_queue_size = 32  # a stop is not to wait behind what a page asked and gave up

    def __init__(
        self, state: WatchState, commands: Commands, host: str, port: int, token: str | None
    ) -> None:
        super().__init__((host, port), _Handler)
        self.state, self.commands, self.token = state, commands, token
        self.names = {host, "localhost", "127.0.0.1", "[::1]"}
        self.identity = secrets.token_hex(8)  # by which a page sees that all counts began anew

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that went before its answer came is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: WatchServer
    timeout = 10.0  # [s] for a client that says nothing

    def do_GET(self) -> None:
        if not self._is_ours():
            return
        path = unquote(urlsplit(self.path).path)
        if path in FILES:
            name, kind = FILES[path]
            self._answer(HTTPStatus.OK, Path(__file__).with_name(name).read_bytes(), kind)
        elif path == "/state":
            state = self.server.state.snapshot(time.monotonic())
            about = {
                "server": self.server.identity,
                "writable": self.server.token is not None,
                "authorized": self._has_token(),
            }
            self._json(HTTPStatus.OK, state | about)
        elif path.startswith("/image/"):
            jpeg = self.server.state.jpeg(path.removeprefix("/image/"))
            if jpeg is None:
                self._json(HTTPStatus.NOT_FOUND, {"error": "no image yet"})
            else:
                self._answer(HTTPStatus.OK, jpeg, "image/jpeg")
        else:
            self._json(HTTPStatus.NOT_FOUND, {"error": "no such page"})

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._json(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": "at most 4096 bytes"})
            return
        body = self.rfile.read(int(length))
        if not self._is_ours() or not self._may_command():
            return
        commands = self.server.commands
        if self.path != "/stop" and not self._is_awaited():
            self._json(HTTPStatus.REQUEST_TIMEOUT, {"error": "given up before it was heard"})
            return
        if self.path == "/instruction":
            try:
                text = json.loads(body)["text"]
                if not isinstance(text, str) or len(text) > MAX_INSTRUCTION:
                    raise ValueError
            except (ValueError, KeyError, TypeError):
                error = f"expected a text of at most {MAX_INSTRUCTION} characters"
                self._json(HTTPStatus.BAD_REQUEST, {"error": error})
                return
            silence = commands.instruct(text)
        elif self.path == "/stop":
            silence = commands.stop()
        elif self.path == "/reset":
            silence = commands.reset()
        else:
            self._json(HTTPStatus.NOT_FOUND, {"error": "no such command"})
            return
        self._json(HTTPStatus.OK, {"done": self.path[1:], "silence": silence})

    def _is_ours(self) -> bool:
        """A page elsewhere whose name was made to point here (DNS rebinding) is not."""
        host = self.headers.get("Host", "").rsplit(":", 1)[0]
        if host in self.server.names:
            return True
        self._json(HTTPStatus.FORBIDDEN, {"error": f"not served as {host}"})
        return False

    def _may_command(self) -> bool:
        if self.server.token is None:
            self._json(HTTPStatus.FORBIDDEN, {"error": "read-only; --token allows commands"})
            return False
        if not self._has_token():
            self._json(HTTPStatus.UNAUTHORIZED, {"error": "wrong token"})
            return False
        return True

    def _has_token(self) -> bool:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        token = self.server.token
        return token is not None and hmac.compare_digest(given.encode(), token.encode())

    def _is_awaited(self) -> bool:
        """A page that gave up has said so to its user: the arm is not to move later, when a server
        or a tunnel that hung goes on. A stop is never too late."""
        if not select.select([self.connection], [], [], 0)[0]:
            return True
        try:
            return bool(self.connection.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    # --- answers ----------------------------------------------------------------------------

    def _json(self, status: HTTPStatus, content: Any) -> None:
        self._answer(status, json.dumps(content).encode(), "application/json")

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Every picture would be a line."""
