"""Makes .venv complete: the pinned packages, this project, off-screen rendering.

Run by scripts/setup.sh with a Python 3.12, standard library only. Each step is remembered in
.venv/setup.json under a key of what it depends on, so a second run only compares keys.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import rendering
from console import Console, SetupError, seconds
from pip_runner import run_pip
from state import (
    LOG,
    PYTHON,
    ROOT,
    VENV,
    distributions_present,
    forget,
    installed_distributions,
    is_at_home,
    is_current,
    packages_key,
    project_key,
    read_state,
    remember,
    renders,
    requirement_files,
    ros_conflict,
    ros_distribution,
    site_packages,
)

VENV_GB = 7.0  # [GB] measured: 6.4 installed
DOWNLOAD_GB = 3.5  # [GB] measured: 2.5 to 3.2 downloaded, through the folder of temporary files
# Imported once after the packages changed: a library the machine lacks shows here, by name.
IMPORTS = ("numpy", "torch", "transformers", "timm", "mujoco", "gymnasium", "lerobot", "rclpy")


def main() -> int:
    ros = ros_distribution()
    if sys.argv[1:] == ["--check"]:
        return 0 if is_current(read_state(), ros) else 1
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with exclusive_lock(console) as lock_fd:
            set_up(console, ros, lock_fd)
    except SetupError as error:
        console.failure(error.what, error.mend)
        return 1
    except KeyboardInterrupt:
        console.failure("interrupted", "run it again: it goes on where it stopped")
        return 130
    except OSError as error:
        mends = {
            errno.ENOSPC: "free about 10 GB, then run it again",
            errno.EACCES: "give the folder back to you: sudo chown -R $(id -u) .venv",
        }
        mend = mends.get(error.errno or 0, "`make clean setup` starts from nothing")
        console.failure(f"{error.strerror}: {error.filename}", mend)
        return 1
    return 0


def set_up(console: Console, ros: str, lock_fd: int) -> None:
    start_s = time.monotonic()
    if is_current(read_state(), ros):  # another set-up did it while this one waited
        return
    first = "" if read_state() else ": about 4 minutes and 3 GB to download, this first time"
    console.title(f"vla_ros set-up{first}")
    if conflict := ros_conflict(read_state(), ros):
        raise conflict
    ensure_venv(console, ros)
    state = read_state()
    if state.get("packages") != packages_key(ros) or not distributions_present(state):
        forget("packages")
        install_packages(console, ros, lock_fd)
        remember("packages", packages_key(ros))
        remember("ros", ros)
        remember("distributions", sorted(installed_distributions()))
    if read_state().get("project") != project_key() or not (VENV / "bin" / "vla-ros").exists():
        forget("project")
        install_project(console, lock_fd)
        remember("project", project_key())
    if not renders(read_state()):
        forget("rendering")
        console.progress("rendering", "drawing a picture off-screen")
        backend = rendering.ensure(PYTHON, LOG)
        remember("rendering", backend)
        console.done("rendering", f"MuJoCo draws off-screen (MUJOCO_GL={backend})")
    console.title(f"ready after {seconds(time.monotonic() - start_s)}")


def ensure_venv(console: Console, ros: str) -> None:
    reason = why_rebuild(ros)
    if reason is None:
        return
    if VENV.exists():
        console.done(".venv", f"making it anew: {reason}")
    check_disk()
    try:
        import ensurepip
        import venv

        del ensurepip
        venv.EnvBuilder(
            clear=True, symlinks=True, with_pip=True, system_site_packages=bool(ros)
        ).create(VENV.resolve())
    except ImportError as error:
        raise SetupError(
            f"{sys.executable} cannot make a virtual environment: {error.name} is missing",
            "sudo apt-get install python3.12-venv",
        ) from error
    except subprocess.CalledProcessError as error:
        raise SetupError(
            f"{sys.executable} could not put pip into .venv",
            "sudo apt-get install python3.12-venv; where that is installed, free some disk",
        ) from error
    ros_text = f", with ROS {ros} from this machine" if ros else ""
    console.done(".venv", f"Python {platform.python_version()} ({sys.executable}){ros_text}")


def why_rebuild(ros: str) -> str | None:
    """Why .venv cannot be used as it is, or None."""
    if not VENV.exists():
        return "there is none"
    probe = "import pip, sys; print('{}.{}'.format(*sys.version_info))"
    try:
        result = subprocess.run(
            [str(PYTHON), "-c", probe], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return "its Python does not run"
    if result.returncode != 0:
        return "its Python or pip is broken"
    if result.stdout.strip() != "{}.{}".format(*sys.version_info):
        return f"it has Python {result.stdout.strip()}"
    if not is_at_home():
        return "the folder was moved or copied"
    if ros and "include-system-site-packages = true" not in (VENV / "pyvenv.cfg").read_text():
        return f"ROS {ros} is sourced now"
    return None


def check_disk() -> None:
    """Say so before the download rather than in its last minute."""
    needs: dict[int, tuple[Path, float]] = {}
    for folder, need_gb in ((ROOT, VENV_GB), (Path(tempfile.gettempdir()), DOWNLOAD_GB)):
        device = folder.stat().st_dev
        _, before_gb = needs.get(device, (folder, 0.0))
        needs[device] = (folder, before_gb + need_gb)
    for folder, need_gb in needs.values():
        old_venv_gb = VENV_GB if VENV.exists() and folder == ROOT and read_state() else 0.0
        free_gb = shutil.disk_usage(folder).free / 1e9 + old_venv_gb
        if free_gb < need_gb:
            raise SetupError(
                f"the disk of {folder} has {free_gb:.1f} GB free; set-up needs {need_gb:.0f} GB",
                "free some (`pip cache purge` helps), or set TMPDIR to a folder on another disk",
            )


def install_packages(console: Console, ros: str, lock_fd: int) -> None:
    start_s = time.monotonic()
    remove_half_installed(site_packages())
    arguments = ["install", "-c", "constraints.txt"]
    for file in requirement_files(ros):
        arguments += ["-r", str(file.relative_to(ROOT))]
    os.chdir(ROOT)
    run_pip(PYTHON, arguments, LOG, lock_fd, lambda text: console.progress("packages", text))
    console.progress("packages", "importing them once")
    check_imports()
    count = len(installed_distributions())
    console.done("packages", f"{count} installed in {seconds(time.monotonic() - start_s)}")


def remove_half_installed(folder: Path) -> list[str]:
    """Forget what a killed pip left behind, so that pip installs it again.

    pip writes a package's RECORD anew, naming INSTALLER, as the very last file; a RECORD without
    it is the wheel's own, so the package's files may be missing.
    """
    removed = []
    for info in sorted({*folder.glob("*.dist-info"), *folder.glob("~*")}):
        record = info / "RECORD"
        whole = record.is_file() and "/INSTALLER," in record.read_text(errors="replace")
        if info.name.startswith("~") or not whole:
            shutil.rmtree(info, ignore_errors=True)
            removed.append(info.name)
    return removed


def check_imports() -> None:
    program = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    print(name, flush=True)\n"
        "    importlib.import_module(name)\n"
    )
    result = subprocess.run(
        [str(PYTHON), "-c", program, *IMPORTS], capture_output=True, text=True, cwd=VENV
    )
    if result.returncode == 0:
        return
    with LOG.open("a") as log:
        log.write(f"\n$ importing {' '.join(IMPORTS)}\n{result.stderr}\n")
    culprit = (result.stdout.split() or ["python"])[-1]
    reason = (result.stderr.strip().splitlines() or [f"exit status {result.returncode}"])[-1]
    raise SetupError(
        f"{culprit} was installed but cannot be imported: {reason}",
        f"install the system library it names; or `make clean setup`; details: {LOG}",
    )


def install_project(console: Console, lock_fd: int) -> None:
    console.progress("vla_ros", "installing for editing")
    run_pip(
        PYTHON,
        ["install", "--no-deps", "--no-build-isolation", "-e", "."],
        LOG,
        lock_fd,
        lambda text: None,
    )
    console.done("vla_ros", "installed for editing: .venv/bin/vla-ros")


@contextlib.contextmanager
def exclusive_lock(console: Console) -> Iterator[int]:
    """One set-up at a time per checkout; the lock is this file itself, so nothing is left over."""
    with open(__file__, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.title("another set-up is at work in this folder; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


if __name__ == "__main__":
    sys.exit(main())
