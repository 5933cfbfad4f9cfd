"""`vla-ros serve`: a policy for robots elsewhere, over a websocket, in openpi's protocol."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from policies.factory import DEFAULT_POLICY, DTYPES, QUANTIZATIONS, load_policy
from policies.remote.settings import (
    TOKEN_FILE_VARIABLE,
    TOKEN_VARIABLE,
    is_exposed,
    is_remote,
    read_token,
)
from policies.remote.table import PRESETS, read_table
from policies.serving.describe import check_policy, remembers
from policies.serving.server import PolicyServer, ServerSettings
from vla_ros.errors import UserError

MEGABYTE = 2**20


def command(
    policy: Annotated[str, typer.Option(help="A policy that ships here, or a folder.")] = (
        DEFAULT_POLICY
    ),
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0: every one.")
    ] = ServerSettings.host,
    port: Annotated[int, typer.Option(help="0: any free one.")] = ServerSettings.port,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:<index>.")] = "cpu",
    dtype: Annotated[str, typer.Option(help=f"One of {', '.join(DTYPES)}.")] = DTYPES[0],
    quantize: Annotated[
        str | None, typer.Option(help=f"The policy's weights: {', '.join(QUANTIZATIONS)}.")
    ] = None,
    compiled: Annotated[
        bool,
        typer.Option("--compile", help="Decode token by token faster, after half a minute."),
    ] = False,
    unnorm_key: Annotated[
        str | None, typer.Option(help="Data set whose statistics un-normalize.")
    ] = None,
    table: Annotated[
        str, typer.Option(help=f"Keys on the wire: {', '.join(PRESETS)}, or a JSON file.")
    ] = "default",
    token_file: Annotated[
        Path | None,
        typer.Option(
            help=f"File with the token that robots must have; else ${TOKEN_FILE_VARIABLE} or "
            f"${TOKEN_VARIABLE}."
        ),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Let everybody in who can reach this address.")
    ] = False,
    certificate: Annotated[
        Path | None, typer.Option(help="PEM file; then robots connect with wss://.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file with the certificate's key.")] = None,
    batch: Annotated[
        int, typer.Option(help="Robots whose questions are computed together.")
    ] = ServerSettings.max_batch,
    max_clients: Annotated[
        int, typer.Option(help="Robots at the same time.")
    ] = ServerSettings.max_clients,
    max_frame_mb: Annotated[int, typer.Option(help="Largest message that is read, in MB.")] = (
        ServerSettings.max_frame_bytes // MEGABYTE
    ),
    verbose: Annotated[bool, typer.Option(help="Also say why questions are refused.")] = False,
) -> None:
    """Offer a policy to robots elsewhere, in openpi's protocol.

    A robot uses it as `policy:=ws://HOST:PORT`; so do `vla-ros evaluate` and `vla-ros demo`. The
    policy passes its gate first. Ctrl-C ends it.
    """
    if compiled and batch > 1:
        raise UserError(f"compile: expected --batch 1, got {batch}: each size is compiled anew")
    if is_remote(policy):
        raise UserError(f"policy: expected one that this machine computes, got {policy!r}")
    settings = ServerSettings(
        host=host,
        port=port,
        table=read_table(table),
        token=None if no_token else read_token(file=token_file),
        without_token=no_token,
        certificate=certificate,
        key=key,
        max_batch=batch,
        max_clients=max_clients,
        max_frame_bytes=max_frame_mb * MEGABYTE,
    )
    settings.tls()
    check_port(host, port)
    console = Console(highlight=False, soft_wrap=True)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("policies.serving").setLevel(logging.DEBUG if verbose else logging.INFO)
    console.print(f"Loading {policy} on {device}", style="dim")
    loaded = load_policy(policy, device, unnorm_key, dtype, quantize, compiled)
    check_policy(loaded)
    server = PolicyServer(loaded, settings)
    if settings.token and not certificate and is_exposed(host):
        console.print(
            "the token travels unencrypted; --certificate and --key encrypt", style="yellow"
        )

    def show(port: int) -> None:
        scheme = "wss" if certificate else "ws"
        robots = "one robot" if remembers(loaded) else f"{max_clients} robots at most"
        entry = "with a token" if settings.token else "without a token"
        console.print(f"Serving {loaded.name} at {scheme}://{host}:{port}, {robots}, {entry}")

    asyncio.run(_run(server, show))
    done = server.counters
    console.print(
        f"{done.answers} answers, {done.refusals} questions refused, {done.connections} "
        f"connections, {done.rejected} rejected",
        style="dim",
    )


def check_port(host: str, port: int) -> None:
    """Raise `UserError` when nobody can listen there: said before a policy is loaded."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"port: cannot listen on {host}:{port}: {reason}") from error


async def _run(server: PolicyServer, show: Callable[[int], None]) -> None:
    """Until SIGTERM or Ctrl-C, either of which is the ordinary end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await server.run(stop, show)
