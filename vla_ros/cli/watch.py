"""`vla-ros watch`: a page on localhost that shows what a running graph does."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from policies.remote.settings import MIN_TOKEN
from sim.scene import CAMERAS
from vla_ros import topics
from vla_ros.errors import UserError
from vla_ros.graph import shared_environment
from vla_ros.watch.server import WatchServer

EVERY_ADDRESS = ("", "0", "0.0.0.0", "::")  # none of them is one by which a page can be asked for


def command(
    token: Annotated[
        str | None,
        typer.Option(help="Allow commands (instruct, stop, reset) to pages that have it."),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="The same, from a file: not seen in the list of processes.")
    ] = None,
    cameras: Annotated[str, typer.Option(help="Separated by commas.")] = ",".join(CAMERAS),
    host: Annotated[
        str, typer.Option(help="Where to listen: a name or an address that pages ask for.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8080,
) -> None:
    """Serve a page that shows cameras, imagined frames, actions, latencies and node states.

    Read-only without a token. With one, open the printed address: it can instruct, stop and reset.
    """
    secret = read_token(token, token_file)
    check_host(host)
    names = tuple(name.strip() for name in cameras.split(",") if name.strip())
    if not names:
        raise UserError(f"cameras: expected names, separated by commas, got {cameras!r}")
    topics.check_cameras(names)
    for name, value in shared_environment().items():  # before rclpy reads them
        os.environ.setdefault(name, value)
    import rclpy

    from vla_ros.runtime import command_session, spin_while
    from vla_ros.watch_node import WatchNode

    with command_session([]):
        node = WatchNode(names)
        server = None
        try:
            try:
                server = WatchServer(node.state, node, host, port, secret)
            except OSError as error:
                reason = error.strerror or error
                raise UserError(f"port: cannot listen on {host}:{port}: {reason}") from error
            threading.Thread(target=server.serve_forever, daemon=True).start()
            address = f"http://{host}:{server.server_port}/"
            how = f"{address}#token={secret}" if secret else f"{address} (read-only)"
            Console(highlight=False, soft_wrap=True).print(f"Watching at {how}", markup=False)
            spin_while(node, rclpy.ok)
        finally:
            if server is not None:
                server.shutdown()
                server.server_close()
            node.destroy_node()


def check_host(host: str) -> None:
    """The server answers to its own name only, so one that means every address has none."""
    if host in EVERY_ADDRESS:
        raise UserError(
            "host: expected the name or address by which pages ask for this machine, as "
            f"127.0.0.1 or 192.168.1.5, got {host!r}: they would be refused"
        )


def read_token(token: str | None, path: Path | None) -> str | None:
    if token is not None and path is not None:
        raise UserError("token: expected --token or --token-file, got both")
    if path is not None:
        try:
            token = path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"token-file: cannot read {path}: {reason}") from error
    if token is None:
        return None
    # Letters and digits: it stands in an address and in a header.
    if len(token) < MIN_TOKEN or not all(c.isascii() and (c.isalnum() or c in "-_") for c in token):
        raise UserError(
            f"token: expected {MIN_TOKEN} or more letters, digits, - and _, got {len(token)} "
            "characters"
        )
    return token
