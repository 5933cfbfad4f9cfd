"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, summary: dict[str, Any]) -> None:
    """Write atomically: readers see the old file or the new one, never half of it."""
    write_bytes(path, (json.dumps(summary, indent=1) + "\n").encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write atomically, making the folders above."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
