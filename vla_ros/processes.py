"""Starts a graph's processes with nothing but Python, and sees that none outlives its parent.

Each process leads a group of its own, so that Ctrl-C reaches only the parent, which then ends them
in order; on Linux the kernel kills them when the parent dies without a chance to. If wanted, what
dies is started anew, as ROS's launch does with `respawn`.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from vla_ros.graph import (
    HOPELESS,
    MOST_QUICK_DEATHS,
    QUICK_S,
    RESPAWN_DELAY_S,
    RUN_FOLDER,
    Graph,
    NodeDescription,
)

ROOT = Path(__file__).resolve().parent.parent
SIGNALS_AND_PATIENCE_S = ((signal.SIGINT, 4.0), (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0))
PR_SET_PDEATHSIG = 1
DOMAINS = 100  # ROS_DOMAIN_ID 1 to 100: their ports lie below those Linux gives out by itself
PORT_BASE, PORTS_PER_DOMAIN = 7400, 250  # of DDS
LAST_LINES = 20


def command_line(node: NodeDescription, parameter_files: Sequence[str] = ()) -> list[str]:
    """How to start `node` as a Python module."""
    arguments = [sys.executable, "-m", node.module, "--ros-args", "-r", f"__node:={node.name}"]
    for path in parameter_files:
        arguments += ["--params-file", path]
    arguments += parameter_words(node.parameters)
    for source, target in node.remappings:
        arguments += ["-r", f"{source}:={target}"]
    return arguments


def parameter_words(parameters: Mapping[str, Any]) -> list[str]:
    """What tells a node its parameters. ROS reads YAML, which has no escaped halves of characters,
    as JSON has."""
    return [
        word
        for name, value in parameters.items()
        for word in ("-p", f"{name}:={json.dumps(value, ensure_ascii=False)}")
    ]


class Processes:
    """A running graph. A context manager: leaving it ends every process.

    `on_line(name, line)` gets what they print, from a thread of its own per process.
    """

    def __init__(
        self,
        graph: Graph,
        on_line: Callable[[str, str], None] = lambda name, line: print(f"[{name}] {line}"),
        environment: Mapping[str, str] | None = None,
        commands: Mapping[str, Sequence[str]] | None = None,
        respawn: bool = False,
    ) -> None:
        """`commands` starts nodes of these names with other command lines; with `respawn` a node
        that dies is started anew."""
        self._graph = graph
        self._on_line = on_line
        self._environment = dict(environment or {})
        self._commands = dict(commands or {})
        self._processes: dict[str, subprocess.Popen] = {}
        self._readers: list[threading.Thread] = []
        self._respawn = respawn
        self._lock = threading.Lock()  # no process starts while all are ended
        self._stopping = threading.Event()
        self._run_folder = ""
        self.last_lines: dict[str, list[str]] = {}
        self.restarts: dict[str, int] = {node.name: 0 for node in graph.nodes}
        self._given_up: set[str] = set()

    def __enter__(self) -> Processes:
        self._run_folder = tempfile.mkdtemp(prefix="vla_ros_run_")
        try:
            for node in self._graph.nodes:
                process = self._start(node)
                reader = threading.Thread(target=self._tend, args=(node, process), daemon=True)
                reader.start()
                self._readers.append(reader)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self, node: NodeDescription) -> subprocess.Popen:
        python_path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {
            **os.environ,
            "PYTHONPATH": python_path,
            **self._graph.environment,
            **node.environment,
            **self._environment,
            RUN_FOLDER: self._run_folder,
        }
        process = subprocess.Popen(
            list(self._commands.get(node.name, command_line(node, self._graph.parameter_files))),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,
            preexec_fn=_die_with_parent(os.getpid()),
        )
        self._processes[node.name] = process
        self.last_lines[node.name] = []
        return process

    def _tend(self, node: NodeDescription, process: subprocess.Popen) -> None:
        """Pass on what a node prints; when it has died, start it anew, if that is wanted.

        The thread lives as long as what it starts: Linux would kill that with the thread.
        """
        quick_deaths = 0
        while True:
            started_s = time.monotonic()
            self._read(node.name, process)
            status = process.wait()
            quick_deaths = quick_deaths + 1 if time.monotonic() - started_s < QUICK_S else 0
            hopeless = status in HOPELESS or quick_deaths >= MOST_QUICK_DEATHS
            if not self._respawn or hopeless or self._stopping.is_set():
                self._given_up.add(node.name)
                return
            self._on_line(node.name, f"ended with status {status}; it is started anew")
            self._stopping.wait(RESPAWN_DELAY_S)
            with self._lock:
                if self._stopping.is_set():
                    return
                process = self._start(node)
                self.restarts[node.name] += 1

    def _read(self, name: str, process: subprocess.Popen) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            text = line.rstrip()
            kept = self.last_lines[name]
            kept.append(text)
            del kept[:-LAST_LINES]
            self._on_line(name, text)

    @property
    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._processes.items()}

    def ended(self) -> dict[str, int]:
        """Exit statuses of the processes that run no more; negative: the signal that ended them.

        Those that are about to be started anew do not count.
        """
        statuses = {name: process.poll() for name, process in self._processes.items()}
        return {
            name: status
            for name, status in statuses.items()
            if status is not None and (not self._respawn or name in self._given_up)
        }

    def stop(self) -> None:
        """End every process: politely, then less so."""
        with self._lock:
            self._stopping.set()
        for number, patience_s in SIGNALS_AND_PATIENCE_S:
            running = [process for process in self._processes.values() if process.poll() is None]
            for process in running:
                _signal_group(process.pid, number)
            deadline_s = time.monotonic() + patience_s
            for process in running:
                try:
                    process.wait(max(0.01, deadline_s - time.monotonic()))
                except subprocess.TimeoutExpired:
                    continue
        for process in self._processes.values():
            _signal_group(process.pid, signal.SIGKILL)  # what a node may have started itself
        for reader in self._readers:
            reader.join(1.0)
        shutil.rmtree(self._run_folder, ignore_errors=True)


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    """Runs in the child: ask Linux to kill it when its parent is gone, however that ended."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return ask


def private_domain(pid: int | None = None, used_ports: set[int] | None = None) -> int:
    """A ROS_DOMAIN_ID whose ports nobody uses now, beginning from one derived from `pid`."""
    first = (os.getpid() if pid is None else pid) % DOMAINS
    used = _udp_ports() if used_ports is None else used_ports
    for offset in range(DOMAINS):
        domain = 1 + (first + offset) % DOMAINS
        low = PORT_BASE + PORTS_PER_DOMAIN * domain
        if not any(low <= port < low + PORTS_PER_DOMAIN for port in used):
            return domain
    return 1 + first


def _udp_ports() -> set[int]:
    """UDP ports bound on this machine, as far as Linux tells."""
    ports = set()
    for path in ("/proc/net/udp", "/proc/net/udp6"):
        try:
            lines = Path(path).read_text().splitlines()[1:]
        except OSError:
            continue
        ports |= {int(line.split()[1].rsplit(":", 1)[1], 16) for line in lines}
    return ports


def private_environment() -> dict[str, str]:
    """For graphs of our own: no traffic with other robots, other machines or other tests."""
    return {
        "ROS_DOMAIN_ID": str(private_domain()),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }
