"""`vla-ros watch` on a running graph: it shows what happens, and its stop button stops the arm."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
TOKEN = "secret-token"


def test_the_page_of_a_running_graph_stops_the_arm(start_graph, arm_of):
    with start_graph({"cameras": "front"}, {"policy_node": "wandering_policy_node.py"}) as graph:
        _, operator = graph
        arm = arm_of(operator)
        watch = subprocess.Popen(
            [sys.executable, "-m", "vla_ros.cli", "watch", "--port", "0", "--token", TOKEN,
             "--cameras", "front"],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            found = re.search(r"(http://\S+/)#token=" + TOKEN, watch.stdout.readline())
            operator.wait_until_ready()
            stops_the_arm(found.group(1), operator, arm)
        finally:
            watch.terminate()
            assert watch.wait(60) == 0


def stops_the_arm(address, operator, arm):
    def state():
        with urllib.request.urlopen(address + "state", timeout=10) as answer:
            return json.loads(answer.read())

    def command(path, content=None):
        request = urllib.request.Request(
            address + path,
            data=json.dumps(content or {}).encode(),
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        urllib.request.urlopen(request, timeout=10).close()

    command("instruction", {"text": "wander"})
    arm.wait(lambda: arm.moves, "waiting for the arm to move")
    arm.wait(lambda: state()["targets"] and state()["latencies"], "waiting for the plots")
    arm.wait(lambda: state()["images"]["front"], "waiting for an image")
    arm.wait(lambda: state()["instruction"] == "wander", "waiting for the instruction")
    nodes = {"sim_node", "policy_node", "executor_node"}
    arm.wait(lambda: nodes <= {n["name"] for n in state()["nodes"]}, "waiting for the nodes")
    with urllib.request.urlopen(address + "image/front", timeout=10) as answer:
        assert answer.read()[:2] == b"\xff\xd8"  # JPEG
    command("stop")
    arm.wait(lambda: "emergency stop" in arm.health(), "waiting for the emergency stop")
    arm.wait_for_rest()
    command("reset")
    arm.wait(lambda: "waiting for an instruction" in arm.health(), "waiting for the reset")
    command("instruction", {"text": "wander"})
    arm.wait(lambda: arm.moves, "waiting for the arm to move again")
    operator.instruct("")
