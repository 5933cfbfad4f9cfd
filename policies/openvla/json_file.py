"""The JSON files of a checkpoint folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from policies.openvla.errors import CheckpointError


def read_object(path: Path, what: str = "") -> dict[str, Any]:
    """The JSON object in a file of a folder that should be `what`; raises `CheckpointError`."""
    try:
        values = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        wanted = f"{what}, found no {path.name}" if what else f"{path.name}, found none"
        raise CheckpointError(f"{path.parent}: expected {wanted}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({error}); is the file truncated?") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(values).__name__}")
    return values
