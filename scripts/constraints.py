"""Writes constraints.txt: the exact versions of everything set-up installed into this .venv."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "constraints.txt"
HEADER = """\
# Exact versions of everything set-up installs, tested together. Written by `make constraints`
# from a .venv; requirements/ says which of them vla_ros itself uses, and why.
"""
NOT_PINNED = ("pip", "vla-ros")  # pip comes with Python; vla_ros is this folder


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> dict[str, str]:
    versions = {}
    for distribution in importlib.metadata.distributions():
        # ROS's wheels carry a second, inner description (`rclpy` inside `ros-rclpy`) that no
        # index knows; only what pip itself installed names its installer.
        if distribution.read_text("INSTALLER") is None:
            continue
        versions[normalized(distribution.name)] = distribution.version.split("+")[0]
    return {name: version for name, version in versions.items() if name not in NOT_PINNED}


def optional() -> dict[str, str]:
    """Pins of extras that set-up does not install: they stay as somebody wrote them."""
    text = "".join(file.read_text() for file in (ROOT / "requirements").glob("*.txt"))
    wanted = {normalized(name) for name in re.findall(r"^[\w.-]+", text, re.MULTILINE)}
    old = re.findall(r"^([\w.-]+)==(\S+)", FILE.read_text(), re.MULTILINE) if FILE.exists() else []
    return {name: version for name, version in old if name in wanted}


if __name__ == "__main__":
    pins = optional() | installed()
    FILE.write_text(HEADER + "".join(f"{name}=={pins[name]}\n" for name in sorted(pins)))
    print(f"constraints.txt: {len(pins)} packages")
