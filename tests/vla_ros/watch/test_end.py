"""`vla-ros watch` as a process of its own, with nobody on the other side of its topics."""

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_told_to_though_no_graph_runs(number):
    arguments = [sys.executable, "-m", "vla_ros.cli", "watch", "--port", "0"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert "Watching at http://127.0.0.1:" in process.stdout.readline()
            process.send_signal(number)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
