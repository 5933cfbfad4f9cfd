"""Policies that are cheap to ask, observations, and a server in a thread."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policies.interface import ActionChunk, Observation, ObservationError
from policies.remote.policy import RemotePolicy
from policies.remote.settings import RemoteSettings, parse_remote
from policies.serving.background import serving
from policies.serving.server import PolicyServer, ServerSettings


def observe(brightness: int = 100, stamp_ns: int = 7, instruction: str = "go") -> Observation:
    image = np.full((8, 8, 3), brightness, np.uint8)
    return Observation(
        images={"front": image, "wrist": 255 - image},
        joint_positions=np.linspace(0.1, 0.7, 7),
        gripper_opening=0.25,
        ee_position=np.array([0.45, -0.1, 0.2]),
        ee_quaternion=np.array([0.1, 0.7, -0.5, 0.5]),
        instruction=instruction,
        stamp_ns=stamp_ns,
    )


class Mirror:
    """Answers with what it sees: the front camera's brightness, the tool's place, the gripper.

    It can serve one robot only: it has no `predict_chunks`.
    """

    cameras: tuple[str, ...] = ("front",)
    rate_hz = 10.0

    def __init__(self, name: str = "mirror") -> None:
        self.name = name
        self.seen: list[Observation] = []
        self.resets: list[int | None] = []
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def reset(self, seed: int | None = None) -> None:
        self.resets.append(seed)

    def predict_chunk(self, observation: Observation) -> ActionChunk:
        self.entered.set()
        self.go_on.wait(30)
        self.seen.append(observation)
        if observation.instruction == "nonsense":
            raise ObservationError("instruction: mirror was not trained on 'nonsense'")
        if observation.instruction == "crash":
            raise KeyError("lost")
        row = np.zeros(7)
        row[0] = observation.images["front"].mean() / 1000
        row[1], row[2] = observation.ee_position[0] / 100, observation.ee_position[2] / 100
        row[6] = observation.gripper_opening
        return ActionChunk(
            np.stack([row, row]),
            observation.stamp_ns,
            dt_s=0.1,
            statistics_hash="abc",
            diagnostics={"inference_ms": 1.5},
        )


class BatchMirror(Mirror):
    """The same for several robots at once."""

    def __init__(self, name: str = "mirror") -> None:
        super().__init__(name)
        self.batches: list[int] = []

    def predict_chunks(self, observations: Any) -> list[ActionChunk]:
        self.batches.append(len(observations))
        return [self.predict_chunk(each) for each in observations]


@pytest.fixture(name="observe")
def observe_fixture() -> Callable[..., Observation]:
    return observe


@pytest.fixture
def mirror() -> BatchMirror:
    return BatchMirror()


@pytest.fixture
def remembering_mirror() -> Mirror:
    return Mirror()


Serve = Callable[..., contextlib.AbstractContextManager[tuple[PolicyServer, int]]]


@pytest.fixture
def serve() -> Serve:
    """Serves a policy: `with serve(policy, **settings) as (server, port)`."""

    @contextlib.contextmanager
    def start(policy: Any, **settings: Any) -> Iterator[tuple[PolicyServer, int]]:
        server = PolicyServer(policy, ServerSettings(**{"port": 0, **settings}))
        with serving(server) as port:
            yield server, port

    return start


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., RemotePolicy]]:
    """Connects to a port, closing afterwards; `start_timeout_s` is short."""
    monkeypatch.delenv("VLA_ROS_TOKEN", raising=False)
    monkeypatch.delenv("VLA_ROS_TOKEN_FILE", raising=False)
    policies: list[RemotePolicy] = []

    def make(
        port: int,
        options: str = "",
        token: str | None = None,
        scheme: str = "ws",
        timeout_s: float = 20.0,
    ) -> RemotePolicy:
        environment = {} if token is None else {"VLA_ROS_TOKEN": token}
        settings: RemoteSettings = parse_remote(
            f"{scheme}://127.0.0.1:{port}?start_timeout_s=0.5&timeout_s={timeout_s:g}{options}",
            environment,
        )
        policies.append(RemotePolicy(settings))
        return policies[-1]

    yield make
    for policy in policies:
        policy.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key, made as docs/remote.md says."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", "key.pem", "-out", "cert.pem"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder / "cert.pem", folder / "key.pem"
