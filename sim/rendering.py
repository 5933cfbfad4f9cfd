"""Choose how MuJoCo renders, before anything imports it.

MuJoCo reads `MUJOCO_GL` once, when it is imported. Without a display only `egl` (GPU or Mesa) and
`osmesa` work; this module picks the one whose libraries are installed.
"""

from __future__ import annotations

import ctypes.util
import os
import sys
from collections.abc import Callable

BACKENDS = {"egl": ("EGL", "GL"), "osmesa": ("OSMesa",)}  # name -> libraries it loads
APT_LINE = "apt-get install -y libegl1 libgl1    (or: libosmesa6)"


class RenderingError(OSError):
    """No off-screen renderer works here; the message says what to install."""


def choose_backend(find_library: Callable[[str], str | None] | None = None) -> str | None:
    """Set `MUJOCO_GL` unless it is set, and return it.

    None when no library for off-screen rendering is installed, or when MuJoCo was imported before
    with a backend of its own: physics works then, and images raise `RenderingError`.
    """
    chosen = os.environ.get("MUJOCO_GL")
    if chosen or sys.platform != "linux" or "mujoco" in sys.modules:
        return chosen or None
    find_library = find_library or ctypes.util.find_library
    for backend, libraries in BACKENDS.items():
        if all(find_library(library) for library in libraries):
            os.environ["MUJOCO_GL"] = backend
            return backend
    return None


def explain(error: Exception) -> RenderingError:
    """The error to show when MuJoCo could not make a renderer."""
    backend = os.environ.get("MUJOCO_GL") or "none chosen (no library found)"
    return RenderingError(
        f"cannot render off screen (MUJOCO_GL: {backend}): {error}\n"
        f"install the libraries with: {APT_LINE}"
    )
