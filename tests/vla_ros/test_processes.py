"""No process outlives its parent, however that ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vla_ros import processes
from vla_ros.graph import RUN_FOLDER, Graph, NodeDescription
from vla_ros.processes import Processes, private_domain

ROOT = Path(__file__).parents[2]
SLEEPER = [sys.executable, "-u", "-c", "import time; print('up'); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-u",
    "-c",
    "import signal, time\n"
    "for s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n"
    "print('up'); time.sleep(600)",
]
PARENT = """
import sys, time
from vla_ros.graph import RUN_FOLDER, Graph, NodeDescription
from vla_ros.processes import Processes
graph = Graph((NodeDescription("one", "one", "one"), NodeDescription("two", "two", "two")), {})
sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
with Processes(graph, commands={"one": sleeper, "two": sleeper}) as running:
    print(*running.pids.values(), flush=True)
    time.sleep(600)
"""


def graph(*names):
    return Graph(tuple(NodeDescription(name, name, name) for name in names), {})


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, timeout_s=30.0):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "nothing happened"
        time.sleep(0.02)


def test_leaving_the_context_ends_all_and_output_is_prefixed():
    lines = []
    commands = {"one": SLEEPER, "two": SLEEPER}
    with Processes(graph("one", "two"), lambda *line: lines.append(line), commands=commands) as it:
        pids = list(it.pids.values())
        wait_until(lambda: len(lines) == 2)
        assert it.ended() == {}
        assert sorted(lines) == [("one", "up"), ("two", "up")]
    assert not any(alive(pid) for pid in pids)


def test_a_process_that_ignores_signals_is_killed(monkeypatch):
    patience = tuple((number, 0.3) for number, _ in processes.SIGNALS_AND_PATIENCE_S)
    monkeypatch.setattr(processes, "SIGNALS_AND_PATIENCE_S", patience)
    lines = []
    with Processes(
        graph("one"), lambda *line: lines.append(line), commands={"one": STUBBORN}
    ) as it:
        wait_until(lambda: lines)
    assert it.ended() == {"one": -signal.SIGKILL}


def test_an_ended_process_is_reported_with_its_status_and_last_words():
    commands = {"one": [sys.executable, "-c", "print('no disk'); raise SystemExit(3)"]}
    with Processes(graph("one"), lambda *line: None, commands=commands) as it:
        wait_until(it.ended)
        assert it.ended() == {"one": 3}
    assert it.last_lines["one"] == ["no disk"]


def test_a_program_that_does_not_exist_ends_the_others():
    commands = {"one": SLEEPER, "two": ["/no/such/program"]}
    it = Processes(graph("one", "two"), lambda *line: None, commands=commands)
    with pytest.raises(FileNotFoundError), it:
        pass
    assert not alive(it.pids["one"])


@pytest.fixture
def quickly(monkeypatch):
    monkeypatch.setattr(processes, "RESPAWN_DELAY_S", 0.05)


def test_a_node_that_dies_is_started_anew_and_the_others_live_on(quickly):
    commands = {"one": SLEEPER, "two": SLEEPER}
    with Processes(graph("one", "two"), lambda *_: None, commands=commands, respawn=True) as it:
        before = it.pids
        os.kill(before["one"], signal.SIGKILL)
        wait_until(lambda: it.restarts["one"] == 1)
        assert it.ended() == {}
        assert alive(it.pids["one"])
        assert it.pids["one"] != before["one"]
        assert it.pids["two"] == before["two"]
        pids = [*it.pids.values(), before["one"]]
    assert not any(alive(pid) for pid in pids)
    assert it.restarts == {"one": 1, "two": 0}


@pytest.mark.parametrize(("status", "restarts"), [(2, 0), (1, processes.MOST_QUICK_DEATHS - 1)])
def test_what_would_end_again_is_given_up(quickly, status, restarts):
    commands = {"one": [sys.executable, "-c", f"raise SystemExit({status})"]}
    with Processes(graph("one"), lambda *_: None, commands=commands, respawn=True) as it:
        wait_until(it.ended)
        assert it.ended() == {"one": status}
        assert it.restarts == {"one": restarts}


def test_a_node_that_dies_while_all_are_ended_stays_dead(quickly):
    with Processes(graph("one"), lambda *_: None, commands={"one": SLEEPER}, respawn=True) as it:
        pid = it.pids["one"]
    time.sleep(0.3)
    assert it.restarts == {"one": 0}
    assert not alive(pid)


def test_the_nodes_share_a_folder_that_lasts_as_long_as_they_do(quickly):
    show = f"import os, time; print(os.environ['{RUN_FOLDER}'], flush=True); time.sleep(600)"
    lines = []
    commands = {"one": [sys.executable, "-c", show]}
    with Processes(
        graph("one"), lambda name, line: lines.append(line), commands=commands, respawn=True
    ) as it:
        wait_until(lambda: lines)
        assert Path(lines[0]).is_dir()
        os.kill(it.pids["one"], signal.SIGKILL)
        wait_until(lambda: len(lines) == 3)  # and that it is started anew
        assert lines[2] == lines[0]
    assert not Path(lines[0]).exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_children_end_with_their_parent(number):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    children = [int(word) for word in parent.stdout.readline().split()]
    assert len(children) == 2
    assert all(alive(pid) for pid in children)
    parent.send_signal(number)
    parent.wait(30)
    wait_until(lambda: not any(alive(pid) for pid in children))


def test_domains_in_use_are_avoided():
    assert private_domain(pid=41, used_ports=set()) == 42
    first = processes.PORT_BASE + processes.PORTS_PER_DOMAIN * 42
    assert private_domain(pid=41, used_ports={first + 10}) == 43
    assert private_domain(pid=100, used_ports=set()) == 1
    assert 1 <= private_domain() <= processes.DOMAINS
