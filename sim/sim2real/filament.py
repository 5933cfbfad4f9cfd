"""MuJoCo's other renderer, Filament: other shading, shadows and tone mapping than the usual one.

Off screen it needs Vulkan; without a GPU Mesa's software driver does (about 80 ms a picture of
224 px on one core). Where Vulkan cannot be opened Filament ends the process, so it is tried in a
process of its own first.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import mujoco
import numpy as np
from numpy.typing import NDArray

from sim.rendering import RenderingError

if TYPE_CHECKING:
    from mujoco.rendering.filament.model_scene import ModelScene

APT_LINE = "apt-get install -y libvulkan1 mesa-vulkan-drivers"
PROBE_TIMEOUT_S = 60.0
_TRIED = "VLA_ROS_FILAMENT_WORKS"  # worker processes need not try again


def check_available() -> None:
    """Raise `RenderingError` with what to install where Filament cannot draw off screen."""
    problem = _problem()
    if problem:
        raise RenderingError(
            f"cannot render with Filament: {problem}; install Vulkan with: {APT_LINE}"
        )


@lru_cache(maxsize=1)
def _problem() -> str:
    """Why it does not work here; empty if it does."""
    if os.environ.get(_TRIED):
        return ""
    code = "import sim; from sim.sim2real import filament; filament._context()"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"it did not start within {PROBE_TIMEOUT_S:.0f} s"
    if done.returncode == 0:
        os.environ[_TRIED] = "1"
        return ""
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[-1] if lines else f"the process ended with status {done.returncode}"


@lru_cache(maxsize=1)
def _context():
    """The engine, one for each process: it takes seconds to start."""
    import mujoco.studio._studio  # noqa: F401  registers the renderer's materials
    from mujoco import mjrf
    from mujoco.rendering.filament.renderer import Renderer

    api = mjrf.GraphicsApi.GRAPHICS_API_VULKAN
    return Renderer(mjrf.Context(mjrf.ContextConfig(graphics_api=api)))


class FilamentCamera:
    """Pictures of one model.

    The engine draws one model at a time: with a second one's resources it fails ("Caught an unknown
    exception!", MuJoCo 4.0). So whoever renders takes the place of who did before; by turns that
    costs each time what a new model costs.
    """

    _at_work: ClassVar[FilamentCamera | None] = None

    def __init__(self, model: mujoco.MjModel) -> None:
        check_available()
        self._model = model
        self._name = f"scene {id(self)}"
        self._scene: ModelScene | None = None
        self._view_scene = mujoco.MjvScene(model, 1)
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED

    def render(
        self, data: mujoco.MjData, camera: str, height: int, width: int
    ) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 RGB."""
        from mujoco.rendering.filament.renderer import View

        renderer = _context()
        self._camera.fixedcamid = self._model.camera(camera).id
        mujoco.mjv_updateCamera(self._model, data, self._camera, self._view_scene)
        self._open().update(data)
        image = np.zeros((height, width, 3), np.uint8)
        target = f"image {height} {width}"
        renderer.target(target, image)
        eye = mujoco.mjv_averageCamera(self._view_scene.camera[0], self._view_scene.camera[1])
        renderer.render([View(self._name, target, camera=eye)])
        return image

    def _open(self) -> ModelScene:
        """The scene, in the place of another camera's."""
        from mujoco.rendering.filament.model_scene import ModelScene

        if self._scene is None:
            before = FilamentCamera._at_work
            if before is not None:
                before.close()
            renderer = _context()
            self._scene = ModelScene(renderer.context, self._model, renderer.scene(self._name))
            FilamentCamera._at_work = self
        return self._scene

    def close(self) -> None:
        """Free the scene, until it is asked for again; the engine stays."""
        if self._scene is None:
            return
        _context()._scenes.pop(self._name, None)
        self._scene = None
        FilamentCamera._at_work = None
