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

from sim.bags import is_bag
from sim.evaluation import write_json
from sim.evaluation.provenance import machine, versions
from vla_ros.errors import UserError

# A file that makes a folder what it is, and what its text holds; the names alone are common ones.
MARKS = {
    "a rosbag2": ("metadata.yaml", "rosbag2_bagfile_information"),
    "a LeRobotDataset": ("meta/info.json", "codebase_version"),
}
Named = tuple[str, Path | str | None]  # an option, and what was given for it


def check_writable(
    path: Path | None,
    option: str = "json",
    others: Iterable[Named] = (),
) -> None:
    """Raise `UserError` when a file cannot be written there. None: nothing is to be written.

    `others` are what else the command reads or writes, each with its option: the file must be none
    of them, nor lie in what is read as a whole. Names that are no paths may be among them.
    """
    if path is None:
        return
    others = list(others)
    if path.is_dir():
        raise UserError(f"{option}: expected a file, {path} is a folder")
    for other_option, other in others:
        if other is not None and os.path.realpath(other) == os.path.realpath(path):
            raise UserError(
                f"{option}: expected a file of its own, {path} is given for {other_option}, too"
            )
    check_outside(path, option, others)
    _probe(path.parent, f"{option}: cannot write {path}")


def check_folder(folder: Path, dataset: bool = False) -> None:
    """Raise `UserError` when no files can be written into `folder`, which is made if need be.

    `dataset`: it may be a dataset, which is continued.
    """
    check_outside(folder, itself=not dataset)
    if folder.is_file():
        raise UserError(f"output: expected a folder, {folder} is a file")
    _probe(folder, f"output: cannot write into {folder}")


def check_outside(
    path: Path, option: str = "output", others: Iterable[Named] = (), itself: bool = False
) -> None:
    """Raise `UserError` when `path` would lie in a folder that readers take as a whole.

    Such are datasets and bags, whether the command reads them or not, and among `others` folders of
    them: what is put there makes them something else for whoever reads them next. `itself`: nor may
    `path` be a dataset or a bag.
    """
    given = {os.path.realpath(other): f"given for {name}"
             for name, other in others if other is not None and _holds_logs(other)}  # fmt: skip
    place = Path(os.path.realpath(path))
    for folder in (place, *place.parents) if itself else place.parents:
        kind = _kind(folder) or given.get(str(folder))
        if kind:
            raise UserError(
                f"{option}: expected a place outside {folder} ({kind}), which is read as a whole; "
                f"got {path}"
            )


def _kind(folder: Path) -> str:
    """Of a dataset or a bag; empty: it is neither."""
    for kind, (name, text) in MARKS.items():
        try:
            if text in (folder / name).read_text(errors="replace"):
                return kind
        except OSError:
            continue
    return ""


def _holds_logs(folder: Path | str) -> bool:
    if not os.path.isdir(folder):
        return False
    return any(is_bag(each) or _kind(each) for each in Path(folder).iterdir())


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
