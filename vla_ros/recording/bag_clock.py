"""Whether a bag's recorder had its clock set back: readers sort messages by it, and would mix those
of before with those of after.

The order in which messages were written tells; `rosbags` does not, so the storage is looked into.
"""

from __future__ import annotations

import re
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

MAX_BACK_NS = 100_000_000  # by which messages of one topic may be out of order
MAGIC_BYTES = 8
MESSAGE, CHUNK, MESSAGE_INDEX, DATA_END = 0x05, 0x06, 0x07, 0x0F  # opcodes of MCAP's records


def set_back_ns(bag: Path) -> int:
    """By how much at most the clock was set back while a bag was recorded; 0: it was not."""
    files = [bag] if bag.is_file() else [*bag.glob("*.mcap"), *bag.glob("*.db3")]
    newest: dict[int, int] = {}  # topic's number -> when its newest message was received
    most_ns = 0
    for file in sorted(files, key=_by_numbers):
        read = _mcap if file.suffix == ".mcap" else _sqlite
        newest.clear()  # another file has other numbers
        for topic, received_ns in read(file):
            most_ns = max(most_ns, newest.get(topic, received_ns) - received_ns)
            newest[topic] = max(received_ns, newest.get(topic, received_ns))
    return most_ns if most_ns > MAX_BACK_NS else 0


def _by_numbers(file: Path) -> list[tuple[int, str]]:
    """bag_2 comes before bag_10."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", file.name)]


def _sqlite(file: Path) -> Iterator[tuple[int, int]]:
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?immutable=1", uri=True)) as database:
        yield from database.execute("SELECT topic_id, timestamp FROM messages ORDER BY id")


def _mcap(file: Path) -> Iterator[tuple[int, int]]:
    """From the messages, or from their index: what lies in chunks may be compressed."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        stream.seek(MAGIC_BYTES)
        chunk: list[tuple[int, int, int]] = []  # offset, topic, received
        while stream.tell() < size:
            opcode, length = struct.unpack("<BQ", stream.read(9))
            next_record = stream.tell() + length
            if opcode == MESSAGE:
                topic, _, received_ns = struct.unpack("<HIQ", stream.read(14))
                yield topic, received_ns
            elif opcode == MESSAGE_INDEX:
                topic, array_bytes = struct.unpack("<HI", stream.read(6))
                entries = struct.iter_unpack("<QQ", stream.read(array_bytes))
                chunk += [(offset, topic, received_ns) for received_ns, offset in entries]
            elif opcode in (CHUNK, DATA_END):
                yield from ((topic, received_ns) for _, topic, received_ns in sorted(chunk))
                chunk = []
                if opcode == DATA_END:
                    return
            stream.seek(next_record)
