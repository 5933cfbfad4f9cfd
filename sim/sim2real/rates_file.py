"""Success rates of policies in a CSV file: columns are found by their names, never by position."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from sim.sim2real.correlation import PolicyRates, RatesError
from sim.yaml_file import shortened

REQUIRED = ("policy", "simulation", "real")
OPTIONAL = ("simulation_episodes", "real_episodes")
MAX_DIGITS = 15  # of a number of episodes


def read_rates(path: Path, episodes: int | None = None) -> list[PolicyRates]:
    """The rows of `path`; `episodes` stands in where the file gives no numbers of episodes."""
    try:
        # utf-8-sig: spreadsheets begin their files with a byte order mark.
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise RatesError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise RatesError(f"{path}: expected a CSV file in UTF-8") from None
    if episodes is not None and episodes < 1:
        raise RatesError(f"episodes: expected 1 or more, got {episodes}")
    (_, header), *rows = _lines(path, text) or [(0, [])]
    _check_header(path, header)
    rates = []
    for line, cells in rows:
        if not any(cells):
            continue
        where = f"{path.name}, line {line}"
        if len(cells) != len(header):
            raise RatesError(f"{where}: expected {len(header)} cells, got {len(cells)}")
        row = dict(zip(header, cells, strict=True))
        if not row["policy"]:
            raise RatesError(f"{where}: policy: expected a name, got an empty cell")
        counts = {name: _count(row.get(name, ""), name, where) or episodes for name in OPTIONAL}
        rates.append(
            PolicyRates(
                row["policy"],
                _rate(row["simulation"], "simulation", where),
                _rate(row["real"], "real", where),
                **counts,
            )
        )
    return rates


def write_rates(path: Path, rates: Sequence[PolicyRates]) -> None:
    """Write the file that `read_rates` reads, whole or not at all."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, REQUIRED + OPTIONAL)
    writer.writeheader()
    for row in rates:
        cells: Mapping[str, object] = vars(row)
        writer.writerow({name: "" if cells[name] is None else cells[name] for name in cells})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(buffer.getvalue())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _lines(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """The number of every line and its cells, stripped."""
    reader = csv.reader(io.StringIO(text))
    try:
        return [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:  # a cell of more than 131072 characters, say
        raise RatesError(f"{path.name}, line {reader.line_num}: no CSV: {error}") from None


def _check_header(path: Path, header: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise RatesError(
            f"{path.name}: columns: expected {', '.join(REQUIRED)} (and, if known, "
            f"{', '.join(OPTIONAL)}); missing {', '.join(missing)}, "
            f"got {', '.join(header) or 'none'}"
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise RatesError(f"{path.name}: columns: {', '.join(twice)} given more than once")
    unknown = [name for name in header if name not in REQUIRED + OPTIONAL]
    if unknown:  # a misspelt `real_episode` must not go unnoticed
        raise RatesError(
            f"{path.name}: columns: expected only {', '.join(REQUIRED + OPTIONAL)}, "
            f"got {', '.join(name or '(no name)' for name in unknown)}"
        )


def _rate(cell: str, name: str, where: str) -> float:
    try:
        return float(cell)
    except ValueError:
        hint = "; divide percentages by 100" if cell.endswith("%") else ""
        raise RatesError(
            f"{where}: {name}: expected a success rate from 0 to 1, got {shortened(cell)}{hint}"
        ) from None


def _count(cell: str, name: str, where: str) -> int | None:
    if not cell:
        return None
    if not cell.isascii() or not cell.isdigit() or len(cell) > MAX_DIGITS or int(cell) < 1:
        raise RatesError(f"{where}: {name}: expected a whole number from 1, got {shortened(cell)}")
    return int(cell)
