"""Checks that MuJoCo draws off-screen here, and installs or names the system packages it needs."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

from console import SetupError

APT_PACKAGES = ("libegl1", "libgl1", "libosmesa6")
LIBRARIES = {"egl": ("libEGL.so.1",), "osmesa": ("libOSMesa.so.8", "libOSMesa.so.6")}
PROBE = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><light pos='0 0 3'/><geom type='sphere' size='.5'/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 48, 64) as renderer:
    renderer.update_scene(data)
    if renderer.render().max() == 0:
        raise SystemExit("the picture is black")
"""


def backends_to_try() -> tuple[str, ...]:
    """MuJoCo's off-screen backends, best first; the user's own MUJOCO_GL goes before."""
    wanted = os.environ.get("MUJOCO_GL", "").lower()
    if wanted in LIBRARIES:
        return (wanted,)
    return tuple(LIBRARIES)


def library_loads(backend: str) -> bool:
    """A cheap check, done at every run: is the backend's library still there?"""
    for name in LIBRARIES[backend]:
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)
            return True
    return False


def ensure(python: Path, log_path: Path) -> str:
    """The backend that draws, after installing Mesa's libraries where that is possible."""
    if backend := working_backend(python, log_path):
        return backend
    command = f"apt-get update && apt-get install -y {' '.join(APT_PACKAGES)}"
    if shutil.which("apt-get") is None:
        raise SetupError(
            "MuJoCo cannot draw off-screen: EGL, OpenGL or OSMesa is missing",
            "install Mesa's EGL and OpenGL libraries (Fedora: sudo dnf install mesa-libEGL "
            "mesa-libGL mesa-dri-drivers), then run it again",
        )
    if os.geteuid() != 0:
        privileged = " && ".join(f"sudo {part}" for part in command.split(" && "))
        raise SetupError(
            f"MuJoCo cannot draw off-screen: system libraries are missing ({missing()})",
            f"{privileged}",
        )
    install_with_apt(log_path, command)
    if backend := working_backend(python, log_path):
        return backend
    raise SetupError(
        f"MuJoCo still cannot draw off-screen with {', '.join(APT_PACKAGES)} installed",
        f"see the end of {log_path}; if MUJOCO_GL is set, try without it",
    )


def working_backend(python: Path, log_path: Path) -> str | None:
    if sys.platform == "darwin":
        return "cgl"  # part of the system
    for backend in backends_to_try():
        if library_loads(backend) and draws(python, backend, log_path):
            return backend
    return None


def draws(python: Path, backend: str, log_path: Path) -> bool:
    """Render one small picture in a process of its own: a bad driver may crash or hang."""
    try:
        result = subprocess.run(
            [str(python), "-c", PROBE],
            env=os.environ | {"MUJOCO_GL": backend},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
    except subprocess.TimeoutExpired:
        failure = "no picture after 120 s"
    else:
        if result.returncode == 0:
            return True
        failure = f"exit status {result.returncode}\n{result.stderr}"
    with log_path.open("a") as log:
        log.write(f"\nMUJOCO_GL={backend}: {failure}\n")
    return False


def missing() -> str:
    absent = [names[0] for backend, names in LIBRARIES.items() if not library_loads(backend)]
    return ", ".join(absent) or "the libraries load, but no picture comes"


def install_with_apt(log_path: Path, command: str) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    # Distributions with Mesa 25.1 and newer have no OSMesa; EGL alone is enough.
    for packages in (APT_PACKAGES, APT_PACKAGES[:2]):
        with log_path.open("a") as log:
            for arguments in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
                log.write(f"\n$ apt-get {' '.join(arguments)}\n")
                log.flush()
                returncode = subprocess.run(
                    ["apt-get", *arguments],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                ).returncode
        if returncode == 0:
            return
    raise SetupError(
        f"apt-get could not install {', '.join(APT_PACKAGES)} (details: {log_path})",
        f"check the network and apt's sources, then type: {command}",
    )
