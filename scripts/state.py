"""What set-up has done already, and what that depended on.

Kept in .venv/setup.json: one key a step, so that a second run only compares keys.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from pathlib import Path

import rendering
from console import SetupError

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STATE = VENV / "setup.json"
LOG = VENV / "setup.log"


def is_current(state: dict[str, object], ros: str) -> bool:
    return (
        ros_conflict(state, ros) is None
        and state.get("packages") == packages_key(ros)
        and state.get("project") == project_key()
        and (VENV / "bin" / "vla-ros").exists()
        and is_at_home()
        and distributions_present(state)
        and renders(state)
    )


def renders(state: dict[str, object]) -> bool:
    """True if the backend that once drew a picture is still wanted, and its library still there."""
    backend = state.get("rendering")
    if backend == "cgl":  # macOS: part of the system
        return True
    return backend in rendering.backends_to_try() and rendering.library_loads(str(backend))


def read_state() -> dict[str, object]:
    try:
        state = json.loads(STATE.read_text())
    except (OSError, ValueError):  # none yet, or cut off: then everything is checked again
        return {}
    return state if isinstance(state, dict) else {}


def remember(name: str, value: object) -> None:
    write_state(read_state() | {name: value})


def forget(name: str) -> None:
    write_state({key: value for key, value in read_state().items() if key != name})


def write_state(state: dict[str, object]) -> None:
    partial = STATE.with_suffix(".partial")
    partial.write_text(json.dumps(state, indent=1))
    os.replace(partial, STATE)


def packages_key(ros: str) -> str:
    return digest(
        [ROOT / "constraints.txt", *requirement_files(ros)],
        "{}.{}".format(*sys.version_info),
        platform.machine(),
        ros,
    )


def project_key() -> str:
    """Changes with what an editable install copies: the description, not the code it links to."""
    packages = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
    return digest([ROOT / name for name in ("setup.py", "setup.cfg", "package.xml")], *packages)


def digest(files: list[Path], *words: str) -> str:
    sha = hashlib.sha256(" ".join(words).encode())
    for file in sorted(files):
        sha.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return sha.hexdigest()


def site_packages() -> Path:
    return VENV / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"


def installed_distributions() -> set[str]:
    return {path.name for path in site_packages().glob("*.dist-info")}


def distributions_present(state: dict[str, object]) -> bool:
    recorded = state.get("distributions")
    return isinstance(recorded, list) and installed_distributions().issuperset(recorded)


def is_at_home() -> bool:
    """False in a copied or moved folder: its scripts would start the old folder's Python."""
    try:
        first_line = (VENV / "bin" / "pip").open("rb").readline()
    except OSError:
        return False
    # Very long paths stand in the second line of a small shell script instead.
    return first_line.startswith((f"#!{VENV.resolve()}/bin/".encode(), b"#!/bin/sh"))


def requirement_files(ros: str) -> list[Path]:
    names = ["core", "dev"] if ros else ["core", "dev", "ros"]
    return [ROOT / "requirements" / f"{name}.txt" for name in names]


def ros_distribution() -> str:
    """The sourced ROS distribution whose rclpy is for this Python, or "" for ROS from PyPI."""
    name = os.environ.get("ROS_DISTRO", "")
    suffix = "python{}.{}".format(*sys.version_info)
    return name if any(suffix in home.parts for home in sourced_rclpy()) else ""


def sourced_rclpy() -> list[Path]:
    folders = [Path(folder) for folder in os.environ.get("PYTHONPATH", "").split(":") if folder]
    return [folder for folder in folders if (folder / "rclpy").is_dir()]


def ros_conflict(state: dict[str, object], ros: str) -> SetupError | None:
    """The two mixtures of ROS installations that would fail later, and obscurely."""
    if sourced_rclpy() and not ros:
        return SetupError(
            f"a ROS is sourced in this terminal ({sourced_rclpy()[0]}), but not for Python 3.12",
            "use a terminal where it is not sourced (set-up then brings ROS 2 Kilted), "
            "or a distribution on Python 3.12: Jazzy or Kilted",
        )
    built_for = state.get("ros")
    if built_for and not ros:
        return SetupError(
            f".venv was made for ROS {built_for}, which is not sourced in this terminal",
            f"source /opt/ros/{built_for}/setup.sh, or `make clean` for ROS from PyPI",
        )
    return None
