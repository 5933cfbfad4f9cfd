"""What a server says when a robot connects: openpi's metadata, with our own part in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from policies.remote.codec import pack, unpack
from policies.remote.envelope import KEY, VERSION
from policies.remote.errors import MessageError, RemoteError
from policies.remote.images import ENCODINGS
from policies.remote.settings import RemoteSettings
from policies.remote.table import KeyTable, TableError, table_from

STATISTICS_FIELDS = ("key", "q01", "q99", "mask")


@dataclass(frozen=True)
class Welcome:
    """A server and its policy. Two that are equal serve the same."""

    policy: str  # its name
    cameras: tuple[str, ...]
    table: KeyTable
    is_ours: bool = True
    checked: bool = False  # it has passed its own gate, where it has one
    rate_hz: float | None = None  # of its actions
    statistics: dict[str, Any] | None = None  # STATISTICS_FIELDS of its actions, plain numbers
    checkpoint: str = ""  # hash of its files: names repeat; "": the server does not say
    encodings: tuple[str, ...] = ENCODINGS  # of images
    foreign: bytes = b""  # the metadata of a server that is not ours

    def as_message(self) -> dict[str, Any]:
        """The metadata that `vla-ros serve` sends."""
        return {
            KEY: {
                "version": VERSION,
                "policy": self.policy,
                "cameras": list(self.cameras),
                "table": self.table.as_dict(),
                "checked": self.checked,
                "rate_hz": self.rate_hz,
                "statistics": self.statistics,
                "checkpoint": self.checkpoint,
                "images": list(self.encodings),
            }
        }

    def as_frame(self) -> bytes:
        return pack(self.as_message())

    @property
    def title(self) -> str:
        """The policy's name and which of that name it is."""
        return f"{self.policy} {self.checkpoint[:12]}".rstrip()

    @classmethod
    def of(cls, frame: bytes | str, settings: RemoteSettings) -> Welcome:
        """Raises `MessageError` for what is no metadata, `RemoteError` for what does not go
        together with `settings`.
        """
        if isinstance(frame, str):
            raise MessageError(f"expected the server's metadata, got text: {frame[:80]!r}")
        message = unpack(frame)
        if not isinstance(message, dict):
            raise MessageError(f"expected the server's metadata, got {type(message).__name__}")
        if KEY not in message:
            return _foreign(frame, settings)
        welcome = _ours(message[KEY])
        if settings.table not in (None, welcome.table):
            raise RemoteError("table: this server says its own; leave `table=` out of the address")
        if settings.images not in welcome.encodings:
            raise RemoteError(
                f"images: the server takes {', '.join(welcome.encodings)}, not {settings.images}"
            )
        return welcome


def _foreign(frame: bytes, settings: RemoteSettings) -> Welcome:
    if settings.table is None:
        raise RemoteError(
            "an openpi server does not say which keys it uses; add `?table=libero` or "
            "`?table=FILE.json` to the address"
        )
    if settings.images != "raw":
        raise RemoteError("images: openpi's servers take raw ones only")
    cameras = tuple(settings.table.images)
    return Welcome("openpi", cameras, settings.table, is_ours=False, foreign=bytes(frame))


def _ours(values: Any) -> Welcome:
    if not isinstance(values, dict) or values.get("version") != VERSION:
        version = values.get("version") if isinstance(values, dict) else None
        raise MessageError(f"{KEY}.version: expected {VERSION}, got {version!r:.20}")
    rate_hz, statistics = values.get("rate_hz"), values.get("statistics")
    checkpoint = values.get("checkpoint", "")
    texts = [values.get("policy"), *_list(values, "cameras"), *_list(values, "images")]
    if not all(isinstance(text, str) for text in texts):
        raise MessageError(f"{KEY}: expected names of the policy, its cameras and image encodings")
    if not isinstance(checkpoint, str):
        raise MessageError(f"{KEY}.checkpoint: expected a hash, got {checkpoint!r:.80}")
    if type(rate_hz) not in (float, int, type(None)):
        raise MessageError(f"{KEY}.rate_hz: expected a number, got {rate_hz!r:.80}")
    if statistics is not None and (
        not isinstance(statistics, dict)
        or set(statistics) != set(STATISTICS_FIELDS)
        or not all(isinstance(value, str | list) for value in statistics.values())
    ):
        raise MessageError(f"{KEY}.statistics: expected lists of {', '.join(STATISTICS_FIELDS)}")
    try:
        table = table_from(values.get("table"))
        table.check_readable(tuple(values["cameras"]))
    except TableError as error:
        raise MessageError(f"{KEY}.table: {error}") from error
    return Welcome(
        policy=values["policy"],
        cameras=tuple(values["cameras"]),
        table=table,
        checked=values.get("checked") is True,
        rate_hz=rate_hz,
        statistics=statistics,
        checkpoint=checkpoint,
        encodings=tuple(values["images"]),
    )


def _list(values: dict[str, Any], name: str) -> list[Any]:
    found = values.get(name)
    if not isinstance(found, list):
        raise MessageError(f"{KEY}.{name}: expected a list, got {type(found).__name__}")
    return found
