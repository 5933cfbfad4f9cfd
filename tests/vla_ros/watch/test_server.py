"""Everybody on this machine may look; commanding takes the token."""

import io
import json
import socket
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

from policies.interface import MAX_INSTRUCTION
from vla_ros.watch.server import WatchServer
from vla_ros.watch.state import WatchState

TOKEN = "secret-token"


def ask(address, data=None, **headers):
    """(status, headers, body)."""
    if data is not None and not isinstance(data, bytes):
        data = json.dumps(data).encode()
    request = urllib.request.Request(address, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def test_the_state_is_what_was_heard(serve):
    address, _ = serve()
    status, headers, body = ask(address + "state")
    state = json.loads(body)  # strict: NaN would not pass a browser
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert state["instruction"] == "lift the red cube"
    assert state["images"] == {"front": 1, "imagined": 0}
    assert state["writable"] is True
    assert state["image_ages_s"].keys() == {"front"}
    levels = {node["name"]: node["level"] for node in state["nodes"]}
    assert levels == {"policy_node": "OK", "executor_node": "ERROR", "sim_node": "STALE"}
    assert state["targets"][-1][1:] == pytest.approx([0.498, 0.1, 0.3, 0.02])
    assert state["latencies"][-1][1] is None
    assert "NaN" not in body.decode()


def test_images_and_pages_come_and_nothing_else(serve):
    address, _ = serve()
    status, headers, body = ask(address + "image/front?3")
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    picture = np.asarray(Image.open(io.BytesIO(body)))
    assert picture.shape == (48, 64, 3)
    assert picture[:, :28, 0].min() > 200 > 50 > picture[:, 36:, 0].max()
    assert ask(address + "image/imagined")[0] == 404
    for path in ("", "cameras.js", "watch.js", "watch.css"):
        status, headers, body = ask(address + path)
        assert status == 200
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert b"http://" not in body and b"https://" not in body  # nothing from elsewhere
    for path in ("server.py", "../state.py", "%2e%2e/state.py", "image/../../x"):
        assert ask(address + path)[0] == 404


def test_a_camera_that_died_grows_old():
    state = WatchState(("front", "wrist"))
    state.add_image(100.0, "front", np.zeros((4, 4, 3), np.uint8))
    assert state.snapshot(112.3)["image_ages_s"] == {"front": 12.3}
    state.add_image(113.0, "front", np.zeros((4, 4, 3), np.uint8))
    assert state.snapshot(113.5)["image_ages_s"] == {"front": 0.5}


def test_a_server_started_anew_is_told_from_the_one_before(serve):
    address, _ = serve()
    before = json.loads(ask(address + "state")[2])["server"]
    assert json.loads(ask(address + "state")[2])["server"] == before
    serve(port=int(address.strip("/").rsplit(":", 1)[1]))
    assert json.loads(ask(address + "state")[2])["server"] != before


def test_commands_need_the_token(serve):
    address, commands = serve()
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer é"}):
        headers = {
            name: value.encode("latin-1").decode("latin-1") for name, value in headers.items()
        }
        status, _, body = ask(address + "stop", {}, **headers)
        assert (status, json.loads(body)["error"]) == (401, "wrong token")
    assert commands.done == []
    entry = {"Authorization": f"Bearer {TOKEN}"}
    assert ask(address + "instruction", {"text": "push it"}, **entry)[0] == 200
    assert ask(address + "stop", {}, **entry)[0] == 200
    assert ask(address + "reset", {}, **entry)[0] == 200
    assert commands.done == [("instruct", "push it"), ("stop",), ("reset",)]


@pytest.mark.parametrize("token", [TOKEN, None])
def test_the_state_says_whether_its_page_may_command(serve, token):
    """Or a page of before a restart with another token offers a stop button that stops nothing."""
    address, _ = serve(token=token)
    for given, right in ((TOKEN, True), ("the-token-before", False), ("None", False), ("", False)):
        state = json.loads(ask(address + "state", Authorization=f"Bearer {given}")[2])
        assert state["authorized"] is (right and token is not None)
        assert state["writable"] is (token is not None)
    assert json.loads(ask(address + "state")[2])["authorized"] is False


def test_that_nobody_hears_a_command_is_said(serve):
    address, commands = serve()
    entry = {"Authorization": f"Bearer {TOKEN}"}
    assert json.loads(ask(address + "stop", {}, **entry)[2]) == {"done": "stop", "silence": ""}
    commands.silence = "nobody listens: there is no executor_node"
    for path, content in (("stop", {}), ("reset", {}), ("instruction", {"text": "push it"})):
        said = json.loads(ask(address + path, content, **entry)[2])
        assert said == {"done": path, "silence": commands.silence}


def test_without_a_token_it_is_read_only(serve):
    address, commands = serve(token=None)
    for given in ("", "None", TOKEN):
        status, _, body = ask(address + "stop", {}, Authorization=f"Bearer {given}")
        assert status == 403
        assert "read-only" in json.loads(body)["error"]
    assert json.loads(ask(address + "state")[2])["writable"] is False
    assert commands.done == []


def test_the_page_takes_as_much_as_an_instruction_may_have(serve):
    address, _ = serve()
    assert f'maxlength="{MAX_INSTRUCTION}"' in ask(address)[2].decode()


@pytest.mark.parametrize(
    "body", [b"", b"[", b"[1]", b'{"text": 3}', b'{"text": "' + b"x" * 501 + b'"}', b"null"]
)
def test_bad_instructions_are_refused(serve, body):
    address, commands = serve()
    status, _, answer = ask(address + "instruction", body, Authorization=f"Bearer {TOKEN}")
    assert status == 400
    assert "at most 500 characters" in json.loads(answer)["error"]
    assert commands.done == []


def test_what_was_given_up_is_not_carried_out_later_but_a_stop_is(serve):
    """As when the server hung: it finds questions of a page that no longer waits."""
    _, commands = serve()
    server = WatchServer(WatchState(()), commands, "127.0.0.1", 0, TOKEN)
    server.daemon_threads = False  # closing waits for them
    for path in ("instruction", "reset", "stop"):
        with socket.create_connection(server.server_address) as page:
            page.sendall(
                f"POST /{path} HTTP/1.1\r\nHost: localhost:1\r\nAuthorization: Bearer {TOKEN}\r\n"
                'Content-Length: 14\r\n\r\n{"text": "go"}'.encode()
            )
    for _ in range(3):
        server.handle_request()
    server.server_close()
    assert commands.done == [("stop",)]


def test_large_bodies_other_names_and_other_paths(serve):
    address, commands = serve()
    entry = {"Authorization": f"Bearer {TOKEN}"}
    assert ask(address + "stop", b"x" * 5000, **entry)[0] == 413
    assert ask(address + "fly", {}, **entry)[0] == 404
    assert ask(address + "state", Host="evil.example:80")[0] == 403  # DNS rebinding
    assert ask(address + "stop", {}, Host="evil.example", **entry)[0] == 403
    assert commands.done == []
