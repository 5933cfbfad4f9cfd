"""What a result was made with: machine, versions, the checkpoint's files."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
from pathlib import Path

PACKAGES = ("mujoco", "mink", "numpy", "torch", "transformers", "timm", "lerobot", "gymnasium")


def versions() -> dict[str, str]:
    """Of Python and of the packages that can change a result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """The processor and how many cores there are, in a line."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def fingerprint(policy: str) -> str:
    """Changes when a file of the checkpoint does: names, sizes and times, not contents.

    Reading the weights of a large model would take minutes. Of a server only the address is known.
    """
    from policies.factory import policy_folder
    from policies.remote.settings import is_remote

    if is_remote(policy):
        return policy
    folder = policy_folder(policy)
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            status = path.stat()
            name = path.relative_to(folder)
            digest.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
