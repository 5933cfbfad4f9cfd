"""What is done to the graph is undone, and a wrong answer of the graph is said."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vla_ros.faults.actions import ActionError, Actions
from vla_ros.faults.fault import EXECUTOR, POLICY, Action


class Graph:
    """Stands in for rig and processes: one real process, and answers that can be chosen."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        self.pids = {EXECUTOR: self.process.pid, POLICY: self.process.pid}
        self.restarts = {EXECUTOR: 0, POLICY: 0}
        self.returns = True  # a killed node
        self.accepts = {"deactivate", "cleanup", "configure", "activate"}
        self.asked = []
        self.can_reset = True

    def spin(self, duration_s):
        self.asked.append("spin")

    def spin_until(self, condition, timeout_s):
        if self.returns:
            self.restarts = {name: count + 1 for name, count in self.restarts.items()}
        return condition()

    def states_heard(self):
        return self.restarts[EXECUTOR]

    def emergency_stop(self):
        self.asked.append("stop")

    def reset(self):
        self.asked.append("reset")
        return self.can_reset

    def change_policy(self, transition):
        self.asked.append(transition)
        return transition in self.accepts

    def state(self):
        return Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


@pytest.fixture
def graph():
    it = Graph()
    yield it
    it.process.kill()
    it.process.wait()


def during(graph, action, node=POLICY):
    return Actions(graph, graph).during(action, node)


def test_a_killed_node_is_killed_and_waited_for(graph):
    with during(graph, Action.KILL):
        assert graph.process.wait(10) == -9
    assert graph.restarts[POLICY] == 1


def test_a_killed_node_that_stays_away_is_said(graph):
    graph.returns = False
    with (
        pytest.raises(ActionError, match="policy_node was not started anew"),
        during(graph, Action.KILL),
    ):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_a_frozen_node_goes_on_even_after_an_error(graph):
    with pytest.raises(RuntimeError, match="meanwhile"), during(graph, Action.FREEZE):
        while graph.state() != "T":
            time.sleep(0.01)
        raise RuntimeError("meanwhile")
    assert graph.state() != "T"


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_busy_processes_end_with_the_fault(graph):
    def children():
        found = subprocess.run(
            ["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True
        )
        return found.stdout.count("while True: pass")

    with during(graph, Action.STARVE):
        assert children() >= 2
    assert children() == 0


def test_an_emergency_stop_is_reset(graph):
    with during(graph, Action.STOP):
        assert graph.asked == ["stop"]
    assert graph.asked == ["stop", "reset"]


def test_an_executor_that_comes_back_without_its_stop_is_said(graph):
    graph.can_reset = False
    with (
        pytest.raises(ActionError, match="came back without its stop"),
        during(graph, Action.STOP_AND_KILL, EXECUTOR),
    ):
        assert graph.process.wait(10) == -9


def test_transitions_go_there_and_back(graph):
    with during(graph, Action.DEACTIVATE):
        assert graph.asked == ["deactivate"]
    with during(graph, Action.RECONFIGURE):
        pass
    assert graph.asked[1:] == ["activate", "deactivate", "cleanup", "configure", "activate"]
    graph.accepts = set()
    with (
        pytest.raises(ActionError, match="deactivate was refused"),
        during(graph, Action.DEACTIVATE),
    ):
        pass


def test_a_bad_transition_must_be_refused(graph):
    with (
        pytest.raises(ActionError, match="activate was accepted"),
        during(graph, Action.BAD_TRANSITION),
    ):
        pass
    graph.accepts = set()
    with during(graph, Action.BAD_TRANSITION):
        pass
