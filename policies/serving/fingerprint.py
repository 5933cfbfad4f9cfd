"""By which a robot tells the checkpoint that passed its gate from another one of the same name."""

from __future__ import annotations

import hashlib
from pathlib import Path

# Weights and what says how to use them; not pictures and words about them.
KINDS = (".safetensors", ".json", ".model", ".txt")


def fingerprint(folder: Path) -> str:
    """sha256, hexadecimal, over the names and bytes of a checkpoint folder's own files.

    Reads them all: seconds for gigabytes. An adapter's folder names its base's weights by a hash,
    which was checked when it was loaded.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in KINDS and path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{content} {path.name}\n".encode())
    return digest.hexdigest()
