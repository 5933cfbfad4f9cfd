"""An emergency stop outlives the executor: one that dies stopped is started anew stopped.

The mark is a file in the folder that whoever starts the graph makes for it (`graph.RUN_FOLDER`),
and goes with that graph. An executor that a person starts alone has none.
"""

from __future__ import annotations

import os
from pathlib import Path

from vla_ros.graph import RUN_FOLDER

NAME = "emergency_stop"


class StopLatch:
    """Remembers a stop, if there is a `folder` to remember it in."""

    def __init__(self, folder: str | None = None) -> None:
        """`folder` None: the one the environment names."""
        place = os.environ.get(RUN_FOLDER, "") if folder is None else folder
        self._file = Path(place) / NAME if place else None

    @property
    def is_set(self) -> bool:
        return self._file is not None and self._file.exists()

    def set(self) -> None:
        """Raises `OSError` when the mark cannot be made."""
        if self._file is not None:
            self._file.touch()

    def clear(self) -> None:
        if self._file is not None:
            self._file.unlink(missing_ok=True)
