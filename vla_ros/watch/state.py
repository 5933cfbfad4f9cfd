"""What the page shows, gathered from the topics. No ROS; safe to read from other threads."""

from __future__ import annotations

import io
import threading
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HISTORY = 200  # points of a plot
STALE_S = 3.0  # a node that has not reported for longer
LEVELS = ("OK", "WARN", "ERROR", "STALE")  # of diagnostic_msgs/DiagnosticStatus
JPEG_QUALITY = 85


class WatchState:
    """Times are seconds of any clock that does not jump."""

    def __init__(self, cameras: tuple[str, ...]) -> None:
        self._lock = threading.Lock()
        self._cameras = cameras
        # name -> count, when the last came [s], (h, w, 3)
        self._images: dict[str, tuple[int, float, NDArray[np.uint8]]] = {}
        self._nodes: dict[str, tuple[float, int, str, dict[str, str]]] = {}
        self._targets: deque[tuple[float, ...]] = deque(maxlen=HISTORY)  # s, x, y, z [m], opening
        self._latencies: deque[tuple[float, float]] = deque(maxlen=HISTORY)  # s, ms
        self._instruction: str | None = None

    def add_image(self, now_s: float, name: str, image: NDArray[np.uint8]) -> None:
        with self._lock:
            count = self._images[name][0] if name in self._images else 0
            self._images[name] = (count + 1, now_s, image)

    def add_status(
        self, now_s: float, name: str, level: int, message: str, values: dict[str, str]
    ) -> None:
        with self._lock:
            self._nodes[name] = (now_s, level, message, values)

    def add_target(self, now_s: float, position: tuple[float, ...], opening: float) -> None:
        with self._lock:
            self._targets.append((now_s, *position, opening))

    def add_latency(self, now_s: float, latency_ms: float) -> None:
        with self._lock:
            self._latencies.append((now_s, latency_ms))

    def set_instruction(self, text: str) -> None:
        with self._lock:
            self._instruction = text

    def snapshot(self, now_s: float) -> dict[str, Any]:
        """As plain values; plots' times are seconds before now."""
        with self._lock:
            nodes = [
                {
                    "name": name,
                    "level": "STALE" if now_s - heard_s > STALE_S else LEVELS[min(level, 3)],
                    "message": message,
                    "age_s": round(now_s - heard_s, 1),
                    "values": values,
                }
                for name, (heard_s, level, message, values) in sorted(self._nodes.items())
            ]
            return {
                "images": {
                    name: self._images[name][0] if name in self._images else 0
                    for name in self._cameras
                },
                "image_ages_s": {
                    name: round(now_s - heard_s, 1)
                    for name, (_, heard_s, _) in self._images.items()
                },
                "nodes": nodes,
                "instruction": self._instruction,
                "targets": [_finite(now_s, row) for row in self._targets],
                "latencies": [_finite(now_s, row) for row in self._latencies],
            }

    def jpeg(self, name: str) -> bytes | None:
        """The newest image of a camera; None: there is none."""
        with self._lock:
            found = self._images.get(name)
        if found is None:
            return None
        buffer = io.BytesIO()
        Image.fromarray(found[2]).save(buffer, "JPEG", quality=JPEG_QUALITY)
        return buffer.getvalue()


def _finite(now_s: float, row: tuple[float, ...]) -> list[float | None]:
    """[s before now, values]; what is no number is null, or the page could not read it."""
    values = [round(value, 4) if np.isfinite(value) else None for value in row[1:]]
    return [round(now_s - row[0], 2), *values]
