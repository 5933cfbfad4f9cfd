"""Server and client over real sockets: who gets in, what is refused, who waits for whom."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect as open_socket

from policies.interface import ObservationError, UnfitPolicyError
from policies.remote.codec import pack, unpack
from policies.remote.errors import ConnectionLostError, RemoteError
from policies.remote.policy import RemotePolicy
from policies.remote.settings import SettingsError, parse_remote
from policies.remote.table import KeyTable, TableError
from policies.serving.describe import check_policy, describe
from policies.serving.server import ServerSettings

PATIENCE_S = 30


def message(brightness: int = 100, **changes: Any) -> dict[str, Any]:
    """What a client that is not ours sends."""
    return {
        "observation/image": np.full((8, 8, 3), brightness, np.uint8),
        "observation/state": np.array([0.45, 0, 0.2, 0, 1, 0, 0, 0.5]),
        "prompt": "go",
        **changes,
    }


@contextlib.contextmanager
def raw(port: int) -> Iterator[Any]:
    """A bare websocket, past its welcome."""
    with open_socket(f"ws://127.0.0.1:{port}", compression=None, proxy=None) as socket:
        socket.recv(PATIENCE_S)
        yield socket


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def ask(socket: Any, data: bytes | str) -> Any:
    socket.send(data)
    answer = socket.recv(PATIENCE_S)
    return answer if isinstance(answer, str) else unpack(answer)


@pytest.mark.parametrize("images", ["raw", "jpeg"])
def test_what_a_remote_policy_does_is_what_the_policy_does(
    serve: Any, connect: Any, mirror: Any, observe: Any, images: str
) -> None:
    with serve(mirror) as (_, port):
        remote = connect(port, f"&images={images}")
        sent = observe(brightness=200, stamp_ns=123)
        chunk = remote.predict_chunk(sent)
    local = mirror.predict_chunk(sent)
    np.testing.assert_array_equal(chunk.actions, local.actions)  # a flat picture, even as JPEG
    assert (chunk.stamp_ns, chunk.dt_s, chunk.mode) == (123, local.dt_s, local.mode)
    assert chunk.statistics_hash == local.statistics_hash
    assert chunk.diagnostics["inference_ms"] == 1.5
    assert chunk.diagnostics["remote_clock_error_ms"] >= abs(
        chunk.diagnostics["remote_clock_offset_ms"]
    )  # one machine: the clocks are the same
    np.testing.assert_array_equal(mirror.seen[0].joint_positions, sent.joint_positions)
    assert mirror.seen[0].stamp_ns == 123


def test_resets_and_seeds_arrive(serve: Any, connect: Any, mirror: Any, observe: Any) -> None:
    with serve(mirror) as (_, port):
        remote = connect(port)
        remote.predict_chunk(observe())
        remote.reset(seed=5)
        remote.predict_chunk(observe())
        remote.predict_chunk(observe())
    assert mirror.resets == [None, 5]


def test_errors_of_the_policy_come_through_and_nothing_ends(
    serve: Any, connect: Any, mirror: Any, observe: Any
) -> None:
    with serve(mirror) as (server, port):
        remote = connect(port)
        with pytest.raises(ObservationError, match="was not trained on 'nonsense'"):
            remote.predict_chunk(observe(instruction="nonsense"))
        with pytest.raises(RemoteError, match="the policy failed: KeyError: 'lost'"):
            remote.predict_chunk(observe(instruction="crash"))
        remote.predict_chunk(observe())
        assert remote.connections == 1
        assert (server.counters.answers, server.counters.refusals) == (1, 2)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ("text", "MessageError: expected a binary frame with msgpack, got text"),
        (b"", "MessageError: message: expected msgpack"),
        (b"\xc1\xc1", "MessageError: message: expected msgpack"),
        (pack([1, 2]), "MessageError: expected an observation with keys, got list"),
        (pack({}), "ObservationError: observation/image is missing"),
        (pack(message(prompt=None)), "ObservationError: prompt: expected text"),
        (pack(message(vla_ros={"id": "x"})), "MessageError: vla_ros.id: expected int"),
        (
            pack(message(**{"observation/image": np.zeros((8, 8), np.uint8)})),
            "ObservationError: observation/image: expected uint8 of shape (height, width, 3)",
        ),
        (
            pack(message(**{"observation/image": b"no picture"})),
            "ObservationError: observation/image: expected a JPEG file",
        ),
        (
            pack(message(**{"observation/state": np.zeros(3)})),
            "ObservationError: observation/state: expected 8 numbers",
        ),
    ],
)
def test_a_malformed_frame_is_answered_and_the_connection_goes_on(
    serve: Any, mirror: Any, frame: bytes | str, said: str
) -> None:
    with serve(mirror) as (server, port), raw(port) as socket:
        answer = ask(socket, frame)
        assert isinstance(answer, str)
        assert answer.startswith(said)
        assert ask(socket, pack(message()))["actions"].shape == (2, 7)
        assert server.counters.refusals == 1


def test_who_asks_with_keys_of_text_is_answered_so(serve: Any, mirror: Any) -> None:
    """As a client in JavaScript: no key anywhere is binary."""
    with serve(mirror) as (_, port), raw(port) as socket:
        for text_keys, key in ((True, "__ndarray__"), (False, b"__ndarray__")):
            socket.send(pack(message(), text_keys))
            answer = socket.recv(PATIENCE_S)
            assert key in msgpack.unpackb(answer)["actions"]
            assert unpack(answer)["actions"].shape == (2, 7)


def test_a_frame_too_large_ends_its_connection_only(serve: Any, mirror: Any) -> None:
    with serve(mirror, max_frame_bytes=10_000) as (_, port), raw(port) as other:
        with raw(port) as socket:
            socket.send(b"\0" * 20_000)
            with pytest.raises(ConnectionClosedError, match="1009"):
                socket.recv(PATIENCE_S)
        assert "actions" in ask(other, pack(message()))


def test_only_the_token_opens(serve: Any, connect: Any, mirror: Any, observe: Any) -> None:
    with serve(mirror, token="open-sesame") as (server, port):
        for wrong in (None, "open-sesam", "open-sesame2", "OPEN-SESAME"):
            with pytest.raises(RemoteError, match="refuses the token: set the one") as caught:
                connect(port, token=wrong)
            assert not isinstance(caught.value, ConnectionLostError)  # trying again is no use
        for header in ("open-sesame", "Bearer open-sesame", "Api-Key", "Api-Key open-sesame ,x"):
            with pytest.raises(Exception, match="401"):
                open_socket(
                    f"ws://127.0.0.1:{port}",
                    additional_headers={"Authorization": header},
                    proxy=None,
                ).__enter__()
        assert server.counters.rejected == 8
        assert server.counters.connections == 0
        connect(port, token="open-sesame").predict_chunk(observe())


@pytest.mark.parametrize("token", [None, "open-sesame"])
def test_no_web_page_gets_in(serve: Any, mirror: Any, token: str | None) -> None:
    """Any page in a browser on this machine could ask: browsers let it, and say whose it is."""
    entry = {} if token is None else {"Authorization": f"Api-Key {token}"}
    with serve(mirror, token=token) as (server, port):
        for origin in ("https://evil.example", f"http://127.0.0.1:{port}", "null"):
            with pytest.raises(Exception, match="403"):
                open_socket(
                    f"ws://127.0.0.1:{port}",
                    origin=origin,
                    additional_headers=entry,
                    proxy=None,
                ).__enter__()
        assert (server.counters.rejected, server.counters.connections) == (3, 0)


def test_health_needs_no_token(serve: Any, mirror: Any) -> None:
    with serve(mirror, token="open-sesame") as (_, port):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/healthz", timeout=PATIENCE_S) as response:
            assert (response.status, response.read()) == (200, b"OK\n")


def test_tls(serve: Any, connect: Any, mirror: Any, observe: Any, certificate: Any) -> None:
    cert, key = certificate
    with serve(mirror, certificate=cert, key=key, token="open-sesame") as (_, port):
        remote = connect(port, f"&ca={cert}", "open-sesame", scheme="wss")
        np.testing.assert_allclose(remote.predict_chunk(observe(100)).actions[:, 0], 0.1)
        with pytest.raises(RemoteError, match="TLS: .*certificate verify failed.*`ca=FILE`"):
            connect(port, "", "open-sesame", scheme="wss")
        with pytest.raises(ConnectionLostError, match="no policy server answers"):
            connect(port, "", "open-sesame", scheme="ws")
        with pytest.raises(RemoteError, match="is no certificate"):
            connect(port, f"&ca={key}", "open-sesame", scheme="wss")


def test_a_certificate_for_another_address_is_not_said_to_need_trust(
    serve: Any, mirror: Any, certificate: Any
) -> None:
    cert, key = certificate
    elsewhere = {"host": "127.0.0.2", "without_token": True}
    with serve(mirror, certificate=cert, key=key, **elsewhere) as (_, port):
        settings = parse_remote(f"wss://127.0.0.2:{port}?ca={cert}", {})
        with pytest.raises(RemoteError, match="mismatch.*an address that is in") as caught:
            RemotePolicy(settings)
    assert "ca=FILE" not in str(caught.value)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_server_that_speaks_no_tls_is_not_said_to_have_a_bad_certificate(
    connect: Any, certificate: Any, answer: bytes
) -> None:
    def hang_up() -> None:
        line, _ = listener.accept()
        with line:
            line.recv(4096)
            line.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(RemoteError, match="the server seems not to speak TLS") as caught:
            connect(listener.getsockname()[1], f"&ca={certificate[0]}", scheme="wss")
        thread.join(PATIENCE_S)
    assert "certificate" not in str(caught.value)


def test_our_own_server_without_tls_is_told_from_one_with_a_bad_certificate(
    serve: Any, connect: Any, mirror: Any, certificate: Any
) -> None:
    with serve(mirror) as (_, port), pytest.raises(RemoteError, match="seems not to speak TLS"):
        connect(port, f"&ca={certificate[0]}", scheme="wss")


def test_a_server_that_restarts_is_found_again(
    serve: Any, connect: Any, mirror: Any, observe: Any
) -> None:
    with serve(mirror) as (_, port):
        remote = connect(port)
        remote.predict_chunk(observe())
    for _ in range(3):
        with pytest.raises(ConnectionLostError):
            remote.predict_chunk(observe())
    with serve(mirror, port=port):
        remote._next_try_s = 0.0  # no need to wait for the pause between attempts
        assert remote.predict_chunk(observe()).diagnostics["remote_connections"] == 2


def test_a_server_that_restarts_with_other_weights_is_not_obeyed(
    serve: Any, connect: Any, mirror: Any, observe: Any, tmp_path: Path
) -> None:
    mirror.folder = tmp_path
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "README.md").write_text("Good.")
    with serve(mirror) as (_, port):
        remote = connect(port, "&patience_s=5")
        remote.predict_chunk(observe())
    (tmp_path / "README.md").write_text("Very good.")
    with serve(mirror, port=port):
        remote.predict_chunk(observe())
    (tmp_path / "model.safetensors").write_bytes(b"WEIGHTS")
    with serve(mirror, port=port), pytest.raises(UnfitPolicyError, match="has not been checked"):
        remote.predict_chunk(observe())
    assert len(mirror.seen) == 2


def test_stopping_does_not_wait_for_a_policy_that_hangs(
    serve: Any, connect: Any, mirror: Any, observe: Any
) -> None:
    mirror.go_on.clear()
    with ThreadPoolExecutor() as threads:
        with serve(mirror) as (_, port):
            remote = connect(port)
            answer = threads.submit(remote.predict_chunk, observe())
            assert mirror.entered.wait(PATIENCE_S)
        with pytest.raises(ConnectionLostError):
            answer.result(PATIENCE_S)
        mirror.go_on.set()


def test_who_hangs_up_while_waiting_leaves_nothing_behind(
    serve: Any, connect: Any, remembering_mirror: Any, observe: Any
) -> None:
    """As a robot does whose question took too long: the only place is its own again at once, and
    what nobody waits for any more is not computed."""
    remembering_mirror.go_on.clear()
    with contextlib.ExitStack() as stack:
        server, port = stack.enter_context(serve(remembering_mirror))
        stack.callback(remembering_mirror.go_on.set)
        impatient = connect(port, timeout_s=0.2)
        for brightness in (1, 2, 3):
            with pytest.raises(ConnectionLostError, match=r"no answer within 0\.2 s"):
                impatient.predict_chunk(observe(brightness))
            wait_until(lambda: server._clients == 0)
        patient = connect(port)
        remembering_mirror.go_on.set()
        patient.predict_chunk(observe(4))
    seen = [int(each.images["front"].mean()) for each in remembering_mirror.seen]
    assert seen == [1, 4]  # 1 was under way


# --- several robots -----------------------------------------------------------------------------


def test_several_robots_each_get_their_own_answers(
    serve: Any, connect: Any, mirror: Any, observe: Any
) -> None:
    robots, questions = 6, 15
    with serve(mirror, max_batch=4) as (server, port):

        def work(robot: int) -> list[float]:
            remote = connect(port)
            brightness = [10 * robot + index for index in range(questions)]
            chunks = [remote.predict_chunk(observe(value)) for value in brightness]
            return [
                chunk.actions[0, 0] * 1000 - value
                for chunk, value in zip(chunks, brightness, strict=True)
            ]

        with ThreadPoolExecutor(robots) as threads:
            differences = list(threads.map(work, range(robots)))
        assert server.counters.answers == robots * questions
    np.testing.assert_allclose(differences, 0, atol=1e-9)
    assert max(mirror.batches, default=1) <= 4


def test_the_line_is_fair_and_batched(serve: Any, mirror: Any) -> None:
    """One robot with many questions does not keep another waiting for more than one of them."""
    mirror.go_on.clear()
    with serve(mirror, max_batch=2) as (server, port), raw(port) as greedy, raw(port) as modest:
        for brightness in (1, 2, 3):
            greedy.send(pack(message(brightness)))
        assert mirror.entered.wait(PATIENCE_S)
        modest.send(pack(message(99)))
        wait_until(lambda: len(server._line._waiting) == 1)
        mirror.go_on.set()
        for socket, count in ((modest, 1), (greedy, 3)):
            for _ in range(count):
                assert "actions" in unpack(socket.recv(PATIENCE_S))
    order = [int(seen.images["front"].mean()) for seen in mirror.seen]
    assert order.index(99) <= 2
    assert [each for each in order if each != 99] == [1, 2, 3]


def test_one_bad_question_in_a_batch_does_not_spoil_the_others(serve: Any, mirror: Any) -> None:
    with serve(mirror, max_batch=4) as (server, port), contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(raw(port)) for _ in range(4)]
        for socket in sockets:
            ask(socket, pack(message()))  # the first question of a robot begins an episode
        mirror.go_on.clear()
        mirror.entered.clear()
        sockets[0].send(pack(message(50)))
        assert mirror.entered.wait(PATIENCE_S)
        prompts = ("go", "nonsense", "go")
        for socket, prompt in zip(sockets[1:], prompts, strict=True):
            socket.send(pack(message(60, prompt=prompt)))
        wait_until(lambda: len(server._line._waiting) == 3)
        mirror.go_on.set()
        answers = [socket.recv(PATIENCE_S) for socket in sockets]
    assert [isinstance(answer, str) for answer in answers] == [False, False, True, False]
    assert "nonsense" in str(answers[2])
    assert 3 in mirror.batches


def test_a_policy_that_remembers_serves_one_robot_at_a_time(
    serve: Any, connect: Any, remembering_mirror: Any, observe: Any
) -> None:
    with serve(remembering_mirror) as (_, port):
        first = connect(port)
        first.predict_chunk(observe())
        with pytest.raises(ConnectionLostError, match="remembers what it saw, so it serves one"):
            connect(port)
        first.close()
        second = connect(port, "&patience_s=5")
        second.predict_chunk(observe())
    assert remembering_mirror.resets == [None, None]  # nothing of the first one's episode is left


def test_a_refused_first_frame_does_not_keep_the_last_episode(
    serve: Any, remembering_mirror: Any
) -> None:
    with serve(remembering_mirror) as (_, port), raw(port) as socket:
        ask(socket, b"\xc1")
        assert remembering_mirror.resets == []
        ask(socket, pack(message()))
        ask(socket, pack(message()))
        assert remembering_mirror.resets == [None]


def test_no_more_robots_than_allowed(serve: Any, connect: Any, mirror: Any) -> None:
    with serve(mirror, max_clients=2) as (server, port):
        connect(port)
        connect(port)
        with pytest.raises(ConnectionLostError, match="busy: all places are taken"):
            connect(port)
        assert server.counters.rejected >= 1


# --- what is refused before it listens ------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"host": "0.0.0.0"}, "token: expected one, since other machines can reach 0.0.0.0"),
        ({"token": "sesame"}, "token: expected 8 or more characters, got 6"),
        ({"port": -1}, "port: expected 0 to 65535, got -1"),
        ({"max_batch": 0}, "max_batch: expected 1 or more"),
        ({"certificate": "cert.pem"}, "expected a certificate and its key"),
    ],
)
def test_wrong_settings_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        ServerSettings(**values)


def test_open_to_all_only_when_asked_for() -> None:
    ServerSettings(host="0.0.0.0", without_token=True)
    ServerSettings(host="0.0.0.0", token="open-sesame")
    assert "open-sesame" not in repr(ServerSettings(token="open-sesame"))


def test_a_file_that_is_no_certificate_is_refused(tmp_path: Any, certificate: Any) -> None:
    (tmp_path / "no.pem").write_text("no")
    for cert, key in ((tmp_path / "no.pem", certificate[1]), (certificate[0], tmp_path / "absent")):
        with pytest.raises(SettingsError, match="certificate: "):
            ServerSettings(certificate=cert, key=key).tls()


def test_a_table_without_the_policys_camera_is_refused(mirror: Any) -> None:
    with pytest.raises(TableError, match="the policy looks at front"):
        describe(mirror, KeyTable(images={"wrist": "observation/image"}))


def test_a_policy_that_fails_its_gate_is_not_served(mirror: Any) -> None:
    mirror.check_fit = lambda limits: None
    check_policy(mirror)

    def refuse(limits: Any) -> None:
        raise UnfitPolicyError("it sleeps")

    mirror.check_fit = refuse
    with pytest.raises(UnfitPolicyError, match="it sleeps"):
        check_policy(mirror)
