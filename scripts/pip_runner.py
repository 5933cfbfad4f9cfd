"""Runs pip quietly: its output goes to a log, its progress to one line, its failure to a mend."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from console import SetupError

UNITS_MB = {"kB": 0.001, "MB": 1.0, "GB": 1000.0}

# What pip's log says, what that means, and what to do; the first match counts.
CAUSES = (
    (
        r"No space left on device|Disk quota exceeded",
        "the disk is full",
        "free about 10 GB (`pip cache purge` helps; TMPDIR moves the temporary files), "
        "then run it again",
    ),
    (
        r"name resolution|Name or service not known|getaddrinfo failed|Network is unreachable"
        r"|Failed to establish a new connection|Connection refused|ProxyError"
        r"|Connection to \S+ timed out|Read timed out|Connection reset by peer|IncompleteRead",
        "the package index cannot be reached",
        "check the network, or the proxy or mirror that `pip config list` shows, then run it "
        "again: what has been downloaded is kept",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED",
        "the package index's certificate is not trusted",
        "install ca-certificates, or name your company's certificate: "
        "pip config set global.cert FILE",
    ),
    (
        r"Permission denied",
        "a file in .venv cannot be written",
        "give the folder back to you: sudo chown -R $(id -u) .venv",
    ),
    (
        r"No matching distribution found for (\S+)",
        "the package index has no {0} for this machine",
        "vla_ros needs Linux on x86_64 or aarch64 with glibc 2.28 or newer (`ldd --version`); "
        "a mirror may lag behind (`pip config list`)",
    ),
    (
        r"conflicting dependencies|ResolutionImpossible",
        "requirements/ and constraints.txt disagree",
        "set them right, then write constraints.txt anew with `make constraints`",
    ),
)


def run_pip(
    python: Path,
    arguments: list[str],
    log_path: Path,
    lock_fd: int,
    on_progress: Callable[[str], None],
) -> None:
    """Run `python -m pip`, reporting progress from its log until it ends.

    pip writes to the log itself and holds the set-up's lock (`lock_fd`): should set-up be killed,
    pip comes to its end alone, and the next set-up waits for it instead of racing it.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_ROOT")  # would miss .venv
    }
    environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_USER": "0"}
    site_packages = next((python.parent.parent / "lib").glob("python3*/site-packages"))
    progress = PipProgress(site_packages)
    with log_path.open("a") as log:
        start = log.tell()
        log.write(f"\n$ pip {' '.join(arguments)}\n")
        log.flush()
        process = subprocess.Popen(
            [str(python), "-m", "pip", *arguments, "--progress-bar", "off"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=(lock_fd,),
        )
        try:
            with log_path.open() as reader:
                reader.seek(start)
                while process.poll() is None:
                    on_progress(progress.update(reader.read()))
                    time.sleep(0.3)
                reader.seek(start)
                output = reader.read()
        except BaseException:
            process.terminate()  # Ctrl-C: pip stops between two files, and the next run resumes
            process.wait()
            raise
    if process.returncode != 0:
        raise explain(output, process.returncode, log_path)


class PipProgress:
    """Turns pip's output, read piece by piece, into one line of progress."""

    def __init__(self, site_packages: Path) -> None:
        self._site_packages = site_packages
        self._present_at_start = self._count_installed()
        self._unfinished_line = ""
        self._found = 0
        self._downloaded_mb = 0.0
        self._to_install = 0

    def update(self, text: str) -> str:
        *lines, self._unfinished_line = (self._unfinished_line + text).split("\n")
        for line in lines:
            if re.match(r"\s*(Collecting |Requirement already satisfied: )", line):
                self._found += 1
            elif match := re.search(r"Downloading .*\(([\d.]+) ([kMG]B)\)", line):
                self._downloaded_mb += float(match[1]) * UNITS_MB[match[2]]
            elif match := re.match(r"Installing collected packages: (.*)", line):
                self._to_install = match[1].count(",") + 1
        if self._to_install:
            installed = max(self._count_installed() - self._present_at_start, 0)
            return f"unpacking {min(installed, self._to_install)} of {self._to_install}"
        if self._downloaded_mb < 1.0:
            return f"looking up: {self._found} packages"
        return f"downloading: {self._found} packages, {self._downloaded_mb / 1000:.1f} GB"

    def _count_installed(self) -> int:
        return sum(1 for _ in self._site_packages.glob("*.dist-info"))


def explain(output: str, returncode: int, log_path: Path) -> SetupError:
    """The likeliest cause of pip's failure, named, with its mend."""
    if returncode == -9:
        return SetupError(
            "pip was killed, most likely for want of memory",
            "free about 2 GB of memory, then run it again",
        )
    for pattern, what, mend in CAUSES:
        if match := re.search(pattern, output):
            return SetupError(f"{what.format(*match.groups())} (details: {log_path})", mend)
    errors = [line for line in output.splitlines() if line.startswith("ERROR: ")]
    reason = errors[-1].removeprefix("ERROR: ") if errors else f"exit status {returncode}"
    return SetupError(
        f"pip failed: {reason}", f"see {log_path}; `make clean setup` starts from nothing"
    )
