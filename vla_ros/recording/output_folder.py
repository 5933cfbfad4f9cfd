"""A dataset that appears whole or not at all: it is written beside its place, and then renamed."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sim.episode_files import DatasetError


@contextmanager
def whole_or_not_at_all(output: Path) -> Iterator[Path]:
    """A folder to write in, which becomes `output` at the end, or goes with an error.

    Raises `DatasetError` when `output` holds something, another process is writing to it, or one
    of the two is a link, and `OSError`.
    """
    _check_free(output)
    incomplete = output.with_name(f".{output.name}.incomplete")
    _check_no_link(incomplete)
    incomplete.mkdir(parents=True, exist_ok=True)
    lock = os.open(incomplete, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _take(lock, incomplete, output)
        try:
            _check_free(output)  # another one may have ended meanwhile
            _empty(incomplete)  # of what one that was killed has left
            yield incomplete
            if output.exists():
                output.rmdir()  # empty, as checked
            os.replace(incomplete, output)
        except BaseException:
            shutil.rmtree(incomplete, ignore_errors=True)
            raise
    finally:
        os.close(lock)


def _check_free(output: Path) -> None:
    _check_no_link(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DatasetError(f"output {output} already exists; choose another or remove it")


def _check_no_link(folder: Path) -> None:
    """Nothing is renamed onto a link, and what a link leads to is not ours to empty."""
    if folder.is_symlink():
        raise DatasetError(f"output: expected a folder, {folder} is a link; remove it")


def _take(lock: int, incomplete: Path, output: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        taken = os.path.samestat(os.fstat(lock), os.lstat(incomplete))
    except (BlockingIOError, FileNotFoundError):
        taken = False
    if not taken:  # another has it, or has just renamed or removed it
        raise DatasetError(f"output {output} is being written to by another process")


def _empty(folder: Path) -> None:
    for each in folder.iterdir():
        shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
