"""What is done to the graph for a fault, beside changing messages, and how it is undone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from vla_ros.faults.fault import EXECUTOR, Action

BUSY_PER_CORE = 2  # processes that starve the others
RETURN_TIMEOUT_S = 45.0  # of a node that was killed
STOP_S = 0.5  # from an emergency stop to the executor's death, and after its return


class RigLike(Protocol):
    """What actions need of `vla_ros.faults.rig.Rig`."""

    def spin(self, duration_s: float) -> None: ...

    def spin_until(self, condition: Callable[[], bool], timeout_s: float) -> bool: ...

    def states_heard(self) -> int: ...

    def emergency_stop(self) -> None: ...

    def reset(self) -> bool: ...

    def change_policy(self, transition: str) -> bool: ...


class ProcessesLike(Protocol):
    """What actions need of `vla_ros.processes.Processes`."""

    restarts: dict[str, int]

    @property
    def pids(self) -> dict[str, int]: ...


class ActionError(RuntimeError):
    """The graph did not do what it was asked."""


class Actions:
    """`during(action, node)` does it, and undoes it when it is left."""

    def __init__(self, rig: RigLike, processes: ProcessesLike) -> None:
        self._rig = rig
        self._processes = processes

    def during(self, action: Action, node: str) -> AbstractContextManager[None]:
        """Raises `ActionError` for an answer of the graph that is wrong."""
        return {
            Action.NONE: self._nothing,
            Action.KILL: self._kill,
            Action.FREEZE: self._freeze,
            Action.STARVE: self._starve,
            Action.STOP: self._stop,
            Action.STOP_AND_KILL: self._stop_and_kill,
            Action.DEACTIVATE: self._deactivate,
            Action.RECONFIGURE: self._reconfigure,
            Action.BAD_TRANSITION: self._bad_transition,
        }[action](node)

    @contextmanager
    def _nothing(self, _node: str) -> Iterator[None]:
        yield

    @contextmanager
    def _kill(self, node: str) -> Iterator[None]:
        before = self._processes.restarts[node]
        os.kill(self._processes.pids[node], signal.SIGKILL)
        yield
        self._wait_for_restart(node, before)

    @contextmanager
    def _freeze(self, node: str) -> Iterator[None]:
        pid = self._processes.pids[node]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextmanager
    def _starve(self, _node: str) -> Iterator[None]:
        count = BUSY_PER_CORE * (os.cpu_count() or 1)
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
        try:
            yield
        finally:
            for process in busy:
                process.kill()
            for process in busy:
                process.wait()

    @contextmanager
    def _stop(self, _node: str) -> Iterator[None]:
        self._rig.emergency_stop()
        yield
        self._expect(self._rig.reset(), "the reset was refused")  # it moves nothing by itself

    @contextmanager
    def _stop_and_kill(self, _node: str) -> Iterator[None]:
        """The executor must come back stopped."""
        self._rig.emergency_stop()
        self._rig.spin(STOP_S)
        before = self._processes.restarts[EXECUTOR]
        os.kill(self._processes.pids[EXECUTOR], signal.SIGKILL)
        self._wait_for_restart(EXECUTOR, before)
        heard = self._rig.states_heard()
        back = self._rig.spin_until(lambda: self._rig.states_heard() > heard, RETURN_TIMEOUT_S)
        self._expect(back, "the executor is silent")
        self._rig.spin(STOP_S)
        yield
        self._expect(self._rig.reset(), "the executor came back without its stop")

    @contextmanager
    def _deactivate(self, _node: str) -> Iterator[None]:
        self._expect(self._rig.change_policy("deactivate"), "deactivate was refused")
        yield
        self._expect(self._rig.change_policy("activate"), "activate was refused")

    @contextmanager
    def _reconfigure(self, _node: str) -> Iterator[None]:
        for transition in ("deactivate", "cleanup", "configure", "activate"):
            self._expect(self._rig.change_policy(transition), f"{transition} was refused")
        yield

    @contextmanager
    def _bad_transition(self, _node: str) -> Iterator[None]:
        for transition in ("activate", "cleanup", "configure"):  # of a node that is active
            self._expect(not self._rig.change_policy(transition), f"{transition} was accepted")
        yield

    def _wait_for_restart(self, node: str, before: int) -> None:
        back = self._rig.spin_until(
            lambda: self._processes.restarts[node] > before, RETURN_TIMEOUT_S
        )
        self._expect(back, f"{node} was not started anew")

    def _expect(self, condition: bool, complaint: str) -> None:
        if not condition:
            raise ActionError(complaint)
