"""The choice of a renderer, made before MuJoCo is imported."""

import os
import subprocess
import sys

import pytest

from sim import rendering


@pytest.fixture
def fresh(monkeypatch):
    """As if nothing had been chosen or imported."""
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.delitem(sys.modules, "mujoco", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    return monkeypatch


def test_egl_comes_first(fresh):
    assert rendering.choose_backend(lambda name: f"lib{name}.so") == "egl"
    assert os.environ["MUJOCO_GL"] == "egl"


def test_osmesa_where_there_is_no_egl(fresh):
    found = {"OSMesa": "libOSMesa.so.8", "GL": "libGL.so.1"}
    assert rendering.choose_backend(found.get) == "osmesa"
    assert os.environ["MUJOCO_GL"] == "osmesa"


def test_neither_leaves_the_choice_open(fresh):
    assert rendering.choose_backend(lambda name: None) is None
    assert "MUJOCO_GL" not in os.environ


def test_the_users_choice_stands(fresh):
    fresh.setenv("MUJOCO_GL", "glfw")
    assert rendering.choose_backend(lambda name: f"lib{name}.so") == "glfw"


def test_it_is_too_late_once_mujoco_is_imported(fresh):
    fresh.setitem(sys.modules, "mujoco", rendering)
    assert rendering.choose_backend(lambda name: f"lib{name}.so") is None


def test_the_error_names_the_packages():
    error = rendering.explain(RuntimeError("no display"))
    assert "no display" in str(error)
    assert "libegl1 libgl1" in str(error) and "libosmesa6" in str(error)


def test_images_without_a_choice_by_the_caller():
    """In a fresh process, with the variable unset, importing `sim` is enough to render."""
    code = (
        "from sim.env import TabletopEnv\n"
        "values, _ = TabletopEnv('Lift', cameras=('front',), image_size_px=64).reset(seed=0)\n"
        "print(values['front'].std() > 10)\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "MUJOCO_GL"}
    environment.pop("DISPLAY", None)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.parametrize("missing", ["OpenGL", "mujoco.egl"])
def test_a_backend_that_does_not_load_is_explained(missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from sim.env import TabletopEnv\n"
        "TabletopEnv('Lift', cameras=('front',)).reset(seed=0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "MUJOCO_GL": "egl"},
        timeout=120,
    )
    assert done.returncode != 0
    assert "RenderingError" in done.stderr and "libegl1 libgl1" in done.stderr
