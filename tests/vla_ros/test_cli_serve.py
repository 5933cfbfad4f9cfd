"""`vla-ros serve`: what is refused before a policy is loaded, and a server as a process."""

import json
import os
import signal
import socket
import subprocess
import sys

import gymnasium
import numpy as np
import pytest

from policies.factory import DEFAULT_POLICY, load_policy
from policies.interface import ActionChunk, Observation, ObservationError
from policies.remote.errors import RemoteError
from policies.serving.background import serving
from policies.serving.server import PolicyServer, ServerSettings
from sim.evaluation import run_episode
from vla_ros.limits import FR3_LIMITS

PATIENCE_S = 120


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--policy", "no-such-policy"), "policy: expected a checkpoint folder or one of"),
        (("--policy", "ws://127.0.0.1:1"), "policy: expected one that this machine computes"),
        (("--host", "0.0.0.0"), "token: expected one, since other machines can reach 0.0.0.0"),
        (("--table", "aloha"), "table: expected one of default, libero or a JSON file"),
        (("--port", "99999"), "port: expected 0 to 65535"),
        (("--certificate", "cert.pem"), "certificate: expected a certificate and its key"),
        (("--token-file", "/no/such/file"), "token: cannot read /no/such/file"),
        (("--batch", "0"), "max_batch: expected 1 or more"),
        (("--max-frame-mb", "0"), "max_frame_bytes: expected 1 or more"),
        (("--compile",), "compile: expected a policy that answers token by token"),
        (("--compile", "--batch", "2"), "compile: expected --batch 1, got 2"),
        (("--dtype", "float8"), "dtype: expected one of float32, bfloat16"),
    ],
)
def test_what_cannot_work_is_one_line(vla_ros, monkeypatch, words, said):
    monkeypatch.delenv("VLA_ROS_TOKEN", raising=False)
    monkeypatch.delenv("VLA_ROS_TOKEN_FILE", raising=False)
    code, _, complaint = vla_ros("serve", "--port", "0", *words)
    assert code == 2
    assert said in complaint
    assert len(complaint.strip().splitlines()) == 1


def test_a_port_in_use_is_said_before_loading(vla_ros):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, shown, complaint = vla_ros("serve", "--port", taken.getsockname()[1])
    assert code == 2
    assert "port: cannot listen on 127.0.0.1" in complaint
    assert "Loading" not in shown


class Reaching:
    """Goes down in front of the arm and closes the gripper there, by what it knows of the tool."""

    name = "reaching"
    cameras = ()

    def reset(self, seed=None):
        pass

    def predict_chunk(self, observation):
        step = np.clip(np.array([0.5, 0.0, 0.03]) - observation.ee_position, -0.03, 0.03)
        low = observation.ee_position[2] < 0.05
        return ActionChunk(
            np.array([[*step, 0, 0, 0, 0.0 if low else 1.0]] * 2), observation.stamp_ns, dt_s=0.1
        )


def test_evaluate_measures_a_remote_policy_as_it_does_a_local_one(vla_ros, tmp_path, monkeypatch):
    monkeypatch.delenv("VLA_ROS_TOKEN", raising=False)
    file = tmp_path / "result.json"
    with serving(PolicyServer(Reaching(), ServerSettings(port=0))) as port:
        code, _, complaint = vla_ros(
            *("evaluate", "--policy", f"ws://127.0.0.1:{port}?timeout_s={PATIENCE_S}"),
            *("--env", "VlaRos/Lift-v0", "--episodes", 2, "--workers", 1, "--json", file),
        )
    assert code == 0, complaint
    env = gymnasium.make("VlaRos/Lift-v0", cameras=()).unwrapped
    for row in json.loads(file.read_text())["rows"]:
        local = run_episode(env, Reaching(), row["seed"])
        for name in ("instruction", "success", "steps", "first_touched"):
            assert row[name] == getattr(local, name)
    code, _, complaint = vla_ros("evaluate", "--policy", "ws://gpu", "--env", "VlaRos/Lift-v0")
    assert code == 2
    assert "expected ws://host:port" in complaint


@pytest.mark.slow
def test_a_served_policy_is_the_policy(tmp_path, monkeypatch):
    token = tmp_path / "token"
    token.write_text("open-sesame")
    process = subprocess.Popen(
        [sys.executable, "-m", "vla_ros.cli", "serve", "--port", "0", "--token-file", str(token)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        port = 0
        for line in process.stdout:
            if "Serving openvla-mini-oft at ws://127.0.0.1:" in line:
                port = int(line.split("127.0.0.1:")[1].split(",")[0])
                break
        address = f"ws://127.0.0.1:{port}?timeout_s={PATIENCE_S}"
        with pytest.raises(RemoteError, match="refuses the token"):
            load_policy(address)
        monkeypatch.setenv("VLA_ROS_TOKEN_FILE", str(token))
        remote, local = load_policy(address), load_policy(DEFAULT_POLICY)
        remote.check_fit(FR3_LIMITS.tool)
        image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
        observation = Observation(
            images={"front": image},
            joint_positions=np.zeros(7),
            gripper_opening=1.0,
            ee_position=np.array([0.5, 0.0, 0.2]),
            ee_quaternion=np.array([0.0, 1.0, 0.0, 0.0]),
            instruction="pick up the red cube",
            stamp_ns=5,
        )
        found, expected = remote.predict_chunk(observation), local.predict_chunk(observation)
        np.testing.assert_allclose(found.actions, expected.actions, atol=1e-6)
        assert found.statistics_hash == expected.statistics_hash
        with pytest.raises(ObservationError, match="was not trained on"):
            remote.predict_chunk(
                Observation(**{**vars(observation), "instruction": "dance the tango"})
            )
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        assert "1 answers, 1 questions refused, 1 connections, 1 rejected" in rest
    finally:
        process.kill()
        process.wait()
