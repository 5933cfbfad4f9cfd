"""Results: whether they can be written, asked before the work; and what they were made with."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sim.evaluation import write_json
from sim.evaluation.provenance import machine, versions
from vla_ros.errors import UserError


def check_writable(
    path: Path | None,
    option: str = "json",
    others: Iterable[tuple[str, Path | str | None]] = (),
) -> None:
    """Raise `UserError` when a file cannot be written there. None: nothing is to be written.

    `others` are what else the command reads or writes, each with its option: the file must be none
    of them. Names that are no paths may be among them.
    """
    if path is None:
        return
    if path.is_dir():
        raise UserError(f"{option}: expected a file, {path} is a folder")
    for other_option, other in others:
        if other is not None and os.path.realpath(other) == os.path.realpath(path):
            raise UserError(
                f"{option}: expected a file of its own, {path} is given for {other_option}, too"
            )
    _probe(path.parent, f"{option}: cannot write {path}")


def check_folder(folder: Path) -> None:
    """Raise `UserError` when no files can be written into `folder`, which is made if need be."""
    _probe(folder, f"output: cannot write into {folder}")


def _probe(folder: Path, complaint: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b" " * 4096)
    except OSError as error:
        raise UserError(f"{complaint}: {error.strerror or error}") from None


def write_result(path: Path | None, result: dict[str, Any]) -> None:
    """Write it whole or not at all; call it when everything has been shown."""
    if path is None:
        return
    try:
        write_json(path, result)
    except OSError as error:
        raise UserError(f"json: cannot write {path}: {error.strerror or error}") from None


def made_with(duration_s: float) -> dict[str, Any]:
    """The command that was typed, the machine, the versions and the date."""
    return {
        "command": shlex.join(["vla-ros", *sys.argv[1:]]),
        "machine": machine(),
        "versions": versions(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "duration_s": round(duration_s, 1),
    }
