"""What a remote policy's name says: `wss://host:port?table=libero&images=jpeg`, and its token."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from policies.remote.images import ENCODINGS
from policies.remote.table import KeyTable, TableError, read_table

TOKEN_VARIABLE = "VLA_ROS_TOKEN"
TOKEN_FILE_VARIABLE = "VLA_ROS_TOKEN_FILE"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
MIN_TOKEN = 8  # characters, of one that this side chooses; others' servers have what they have
OPTIONS = ("table", "images", "timeout_s", "start_timeout_s", "patience_s", "ca")


class SettingsError(ValueError):
    """A remote policy's name, or a token, that cannot be used."""


@dataclass(frozen=True)
class RemoteSettings:
    """Where the server is and how to talk to it."""

    uri: str  # ws://host:port or wss://host:port, without options
    table: KeyTable | None = None  # None: the server says it, which only ours does
    images: str = "raw"  # one of ENCODINGS
    timeout_s: float = 2.0  # for an answer
    start_timeout_s: float = 10.0  # the server may start later than the robot
    patience_s: float = 0.0  # keep asking that long before an error; a robot holds meanwhile
    ca_file: Path | None = None  # the certificate to trust, for wss; None: the system's
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.images not in ENCODINGS:
            raise SettingsError(
                f"images: expected one of {', '.join(ENCODINGS)}, got {self.images!r}"
            )
        for name, least in (("timeout_s", 0.001), ("start_timeout_s", 0.0), ("patience_s", 0.0)):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= least):
                raise SettingsError(f"{name}: expected {least:g} or more seconds, got {value:g}")
        if self.ca_file is not None and not self.ca_file.is_file():
            raise SettingsError(f"ca: expected a certificate file, got {str(self.ca_file)!r}")
        if self.ca_file is not None and not self.uri.startswith("wss:"):
            raise SettingsError("ca: only wss:// is encrypted, got ws://")


def is_remote(name: str) -> bool:
    """Whether a policy's name is a server's address."""
    return name.startswith(("ws://", "wss://"))


def parse_remote(name: str, environment: Mapping[str, str] | None = None) -> RemoteSettings:
    """The settings in an address; the token comes from the environment. Raises `SettingsError`."""
    try:
        parts = urlsplit(name)
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"policy: {name!r}: {error}") from error
    if not is_remote(name) or not parts.hostname or port is None:
        raise SettingsError(f"policy: expected ws://host:port or wss://host:port, got {name!r}")
    if parts.username is not None or parts.fragment:
        raise SettingsError("policy: expected nothing but a host and a port before the options")
    given = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(given)
    if "token" in options:
        raise SettingsError(
            f"token: expected in the environment ({TOKEN_VARIABLE} or {TOKEN_FILE_VARIABLE}), "
            "since addresses are shown and logged"
        )
    unknown = [key for key in options if key not in OPTIONS]
    if unknown or len(options) != len(given):
        raise SettingsError(
            f"policy: expected each of {', '.join(OPTIONS)} at most once after the question mark, "
            f"got {parts.query!r}"
        )
    try:
        table = read_table(options["table"]) if "table" in options else None
    except TableError as error:
        raise SettingsError(str(error)) from error
    return RemoteSettings(
        uri=f"{parts.scheme}://{parts.netloc}{parts.path}",
        table=table,
        images=options.get("images", RemoteSettings.images),
        timeout_s=_seconds(options, "timeout_s", RemoteSettings.timeout_s),
        start_timeout_s=_seconds(options, "start_timeout_s", RemoteSettings.start_timeout_s),
        patience_s=_seconds(options, "patience_s", RemoteSettings.patience_s),
        ca_file=Path(options["ca"]).expanduser() if "ca" in options else None,
        token=read_token(environment),
    )


def read_token(
    environment: Mapping[str, str] | None = None, file: Path | None = None
) -> str | None:
    """The token in `file`, or the one the environment holds or names a file for; None: none.

    Raises `SettingsError` for an empty one or one that no HTTP header can carry.
    """
    environment = os.environ if environment is None else environment
    if file is None and environment.get(TOKEN_FILE_VARIABLE):
        file = Path(environment[TOKEN_FILE_VARIABLE]).expanduser()
    if file is None:
        text = environment.get(TOKEN_VARIABLE)
        if text is None:
            return None
        source = TOKEN_VARIABLE
    else:
        source = str(file)
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"token: cannot read {source}: {error}") from error
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError(f"token: expected printable ASCII without spaces in {source}")
    return token


def is_exposed(host: str) -> bool:
    """Whether others than this machine can reach what listens on `host`."""
    return host not in LOOPBACK


def _seconds(options: Mapping[str, str], name: str, default: float) -> float:
    try:
        return float(options.get(name, default))
    except ValueError:
        raise SettingsError(f"{name}: expected seconds, got {options[name]!r}") from None
