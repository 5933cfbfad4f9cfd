"""scripts/install.py and its helpers: what is checked again, what resumed, what a failure says."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Load = Callable[[str], Any]


@pytest.fixture
def checkout(
    root: Path, tmp_path: Path, setup_module: Load, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder whose set-up is complete, as the scripts see it."""
    for name in ("requirements", "scripts"):
        shutil.copytree(root / name, tmp_path / name)
    for name in ("constraints.txt", "setup.py", "setup.cfg", "package.xml"):
        shutil.copy(root / name, tmp_path)
    state = setup_module("state")
    for name in ("ROOT", "VENV", "PYTHON", "STATE", "LOG"):
        monkeypatch.setattr(state, name, tmp_path / getattr(state, name).relative_to(root))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    bin_folder = tmp_path / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "vla-ros").touch()
    (bin_folder / "pip").write_text(f"#!{tmp_path}/.venv/bin/python\n")
    (state.site_packages() / "torch-2.11.0.dist-info").mkdir(parents=True)
    state.write_state(
        {
            "packages": state.packages_key(""),
            "project": state.project_key(),
            "rendering": "cgl",
            "ros": "",
            "distributions": ["torch-2.11.0.dist-info"],
        }
    )
    return tmp_path


def test_a_complete_set_up_is_current(checkout: Path, setup_module: Load) -> None:
    state = setup_module("state")
    assert state.is_current(state.read_state(), "")


@pytest.mark.parametrize(
    "name", ["constraints.txt", "requirements/core.txt", "requirements/ros.txt", "setup.py"]
)
def test_an_edited_file_is_noticed(checkout: Path, setup_module: Load, name: str) -> None:
    state = setup_module("state")
    with (checkout / name).open("a") as file:
        file.write("# edited\n")
    assert not state.is_current(state.read_state(), "")


def test_a_new_package_folder_is_noticed(checkout: Path, setup_module: Load) -> None:
    """An editable install maps the packages there were, by name."""
    state = setup_module("state")
    (checkout / "world_models").mkdir()
    (checkout / "world_models" / "__init__.py").touch()
    assert not state.is_current(state.read_state(), "")


def test_a_removed_or_upgraded_package_is_noticed(checkout: Path, setup_module: Load) -> None:
    state = setup_module("state")
    info = state.site_packages() / "torch-2.11.0.dist-info"
    info.rename(info.with_name("torch-2.12.0.dist-info"))
    assert not state.is_current(state.read_state(), "")


def test_a_moved_folder_is_noticed(checkout: Path, setup_module: Load) -> None:
    state = setup_module("state")
    (checkout / ".venv" / "bin" / "pip").write_text("#!/old/place/.venv/bin/python\n")
    assert not state.is_current(state.read_state(), "")


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_cut_off_memory_is_no_memory(checkout: Path, setup_module: Load, text: str) -> None:
    state = setup_module("state")
    state.STATE.write_text(text)
    assert state.read_state() == {}
    assert not state.is_current({}, "")


def test_remembering_keeps_the_rest(checkout: Path, setup_module: Load) -> None:
    state = setup_module("state")
    state.forget("project")
    state.remember("rendering", "egl")
    kept = json.loads(state.STATE.read_text())
    assert kept["rendering"] == "egl"
    assert kept["distributions"] == ["torch-2.11.0.dist-info"]
    assert "project" not in kept


def source_ros(
    monkeypatch: pytest.MonkeyPatch, folder: Path, distribution: str, python: str
) -> None:
    home = folder / "ros" / "lib" / python / "site-packages"
    (home / "rclpy").mkdir(parents=True)
    monkeypatch.setenv("ROS_DISTRO", distribution)
    monkeypatch.setenv("PYTHONPATH", str(home))


def test_a_sourced_ros_replaces_the_wheels(
    checkout: Path, setup_module: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = setup_module("state")
    source_ros(monkeypatch, checkout, "jazzy", "python3.12")
    assert state.ros_distribution() == "jazzy"
    assert state.ros_conflict({}, "jazzy") is None
    assert [file.stem for file in state.requirement_files("jazzy")] == ["core", "dev"]
    assert not state.is_current(state.read_state(), "jazzy")  # it was made with the wheels


def test_a_ros_for_another_python_is_refused(
    checkout: Path, setup_module: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = setup_module("state")
    source_ros(monkeypatch, checkout, "humble", "python3.10")
    assert state.ros_distribution() == ""
    conflict = state.ros_conflict(state.read_state(), "")
    assert "not for Python 3.12" in conflict.what
    assert not state.is_current(state.read_state(), "")


def test_a_venv_made_for_a_ros_wants_it_sourced(checkout: Path, setup_module: Load) -> None:
    conflict = setup_module("state").ros_conflict({"ros": "jazzy"}, "")
    assert "made for ROS jazzy" in conflict.what
    assert "source /opt/ros/jazzy/setup.sh" in conflict.mend


def test_the_variable_alone_is_no_ros(
    checkout: Path, setup_module: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Container images set ROS_DISTRO without sourcing anything."""
    monkeypatch.setenv("ROS_DISTRO", "humble")
    state = setup_module("state")
    assert state.is_current(state.read_state(), "")


def test_what_a_killed_pip_left_is_installed_again(setup_module: Load, tmp_path: Path) -> None:
    def distribution(name: str, record: str | None) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        if record is not None:
            (folder / "RECORD").write_text(record)
        return folder

    whole = distribution("whole-1.dist-info", "a.py,,\nwhole-1.dist-info/INSTALLER,,\n")
    unpacked = distribution("unpacked-1.dist-info", "a.py,,\n")  # the wheel's own RECORD
    empty = distribution("empty-1.dist-info", None)
    moved = distribution("~oved-1.dist-info", "~oved-1.dist-info/INSTALLER,,\n")
    removed = setup_module("install").remove_half_installed(tmp_path)
    assert sorted(removed) == sorted(folder.name for folder in (unpacked, empty, moved))
    assert [folder.name for folder in tmp_path.iterdir()] == [whole.name]


@pytest.mark.parametrize(
    ("log", "what", "mend"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full", "free about 10 GB"),
        ("Temporary failure in name resolution", "cannot be reached", "check the network"),
        (
            "Retrying (...) after connection broken by 'ProxyError'\n"
            "ERROR: No matching distribution found for rich",
            "cannot be reached",  # not: there is no `rich`
            "proxy",
        ),
        (
            "ERROR: No matching distribution found for mujoco==4.0.0",
            "the package index has no mujoco==4.0.0",
            "glibc",
        ),
        ("ERROR: Something new", "pip failed: Something new", "setup.log"),
    ],
)
def test_a_failing_pip_is_explained(setup_module: Load, log: str, what: str, mend: str) -> None:
    error = setup_module("pip_runner").explain(log, 1, Path("setup.log"))
    assert what in error.what
    assert mend in error.mend


def test_progress_counts_downloads_then_packages(setup_module: Load, tmp_path: Path) -> None:
    progress = setup_module("pip_runner").PipProgress(tmp_path)
    assert progress.update("Collecting torch\n") == "looking up: 1 packages"
    progress.update("  Downloading torch.whl (530.7 MB)\nCollec")
    text = progress.update("ting rich\n  Downloading rich.whl (300 kB)\n")
    assert text == "downloading: 2 packages, 0.5 GB"
    (tmp_path / "rich-1.dist-info").mkdir()
    assert progress.update("Installing collected packages: rich, torch\n") == "unpacking 1 of 2"


def test_too_little_disk_is_said_before_the_download(
    setup_module: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install = setup_module("install")
    monkeypatch.setattr(install, "VENV", tmp_path / "absent")
    monkeypatch.setattr(
        install.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(9e9, 8e9, 1e9)
    )
    with pytest.raises(setup_module("console").SetupError, match=r"has 1\.0 GB free"):
        install.check_disk()


# --- off-screen rendering -------------------------------------------------------------------


@pytest.fixture
def rendering(setup_module: Load, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, on a pretended Debian where no backend draws."""
    module = setup_module("rendering")
    monkeypatch.setattr(module, "library_loads", lambda backend: False)
    monkeypatch.setattr(module.shutil, "which", lambda name: f"/usr/bin/{name}")
    return module


def test_a_user_is_given_the_line_to_type(
    rendering: Any, setup_module: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rendering.os, "geteuid", lambda: 1000)
    with pytest.raises(setup_module("console").SetupError) as caught:
        rendering.ensure(Path("python"), tmp_path / "log")
    assert "libEGL.so.1, libOSMesa.so.8" in caught.value.what
    assert caught.value.mend == (
        "sudo apt-get update && sudo apt-get install -y libegl1 libgl1 libosmesa6"
    )


def test_root_installs_them(
    rendering: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands: list[list[str]] = []

    def run(arguments: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        commands.append(arguments)
        gone = arguments[0] == "apt-get" and "libosmesa6" in arguments  # as in newer Debians
        if arguments[:2] == ["apt-get", "install"] and not gone:
            monkeypatch.setattr(rendering, "library_loads", lambda backend: backend == "egl")
        return subprocess.CompletedProcess(arguments, 100 if gone else 0, "", "")

    monkeypatch.setattr(rendering.os, "geteuid", lambda: 0)
    monkeypatch.setattr(rendering.subprocess, "run", run)
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    assert rendering.ensure(Path("python"), tmp_path / "log") == "egl"
    assert [command[:2] for command in commands[:2]] == [
        ["apt-get", "update"],
        ["apt-get", "install"],
    ]
    assert commands[3][-2:] == ["libegl1", "libgl1"]


def test_the_users_own_choice_of_backend_counts(
    setup_module: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = setup_module("rendering")
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    assert module.backends_to_try() == ("egl", "osmesa")
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert module.backends_to_try() == ("osmesa",)
