"""Against openpi's own client, and against a server that does what openpi's does.

`openpi-client` asks for NumPy 1, which nothing here can have, so it is not among the requirements:
`pip install --no-deps openpi-client==0.1.2` installs it, and it works. Without it those tests are
skipped; `test_codec.py` and the server below hold what it does byte for byte.
"""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np
import pytest
import websockets.asyncio.server
import websockets.frames

from policies.interface import ToolLimits
from policies.remote.codec import pack, unpack
from policies.remote.errors import ConnectionLostError, RemoteError

LIMITS = ToolLimits(speed_m_s=2.0, turn_rad_s=20.0, step_m=0.2)


def libero_example() -> dict[str, Any]:
    """As openpi's `examples/libero/main.py` builds it."""
    return {
        "observation/image": np.full((224, 224, 3), 128, np.uint8),
        "observation/wrist_image": np.zeros((224, 224, 3), np.uint8),
        "observation/state": np.concatenate(
            (np.array([0.4, 0.0, 0.2]), np.array([3.1, 0.0, 0.0]), np.array([0.04, -0.04]))
        ),
        "prompt": "pick up the black bowl",
    }


# --- openpi's client, our server ----------------------------------------------------------------


@pytest.fixture
def client() -> Any:
    return pytest.importorskip("openpi_client.websocket_client_policy").WebsocketClientPolicy


def test_openpis_client_works_with_our_server(serve: Any, mirror: Any, client: Any) -> None:
    from policies.remote.table import PRESETS

    with serve(mirror, token="open-sesame", table=PRESETS["libero"]) as (_, port):
        policy = client("127.0.0.1", port, api_key="open-sesame")
        assert policy.get_server_metadata()["vla_ros"]["policy"] == "mirror"
        answer = policy.infer(libero_example())
        assert answer["actions"].shape == (2, 7)
        np.testing.assert_allclose(answer["actions"][0, 0], 0.128 / 0.05)
        assert answer["actions"][0, 6] == -1.0  # open
        assert answer["server_timing"]["infer_ms"] >= 0
        with pytest.raises(RuntimeError, match="observation/state: expected 8 numbers"):
            policy.infer({**libero_example(), "observation/state": np.zeros(3)})
        policy.infer(libero_example())  # and goes on
        np.testing.assert_allclose(mirror.seen[0].gripper_opening, 1.0)
        with pytest.raises(Exception, match="401"):
            client("127.0.0.1", port, api_key="wrong")


def test_the_two_codecs_write_and_read_the_same(client: Any) -> None:
    theirs = pytest.importorskip("openpi_client.msgpack_numpy")
    message = {**libero_example(), "scalar": np.float32(2.5), "list": [np.arange(3), 1, "x", None]}
    assert pack(message) == theirs.packb(message)
    assert pack(unpack(theirs.packb(message))) == theirs.packb(message)


# --- openpi's server, our client ----------------------------------------------------------------


def openpi_array(value: Any) -> Any:
    """What openpi's `msgpack_numpy` makes of an array; written from its description."""
    return {
        b"__ndarray__": True,
        b"data": value.tobytes(),
        b"dtype": value.dtype.str,
        b"shape": value.shape,
    }


def openpi_object(values: dict) -> Any:
    if b"__ndarray__" in values:
        return np.ndarray(
            buffer=values[b"data"], dtype=np.dtype(values[b"dtype"]), shape=values[b"shape"]
        )
    return values


async def openpi_handler(websocket: Any) -> None:
    """The order of openpi's `WebsocketPolicyServer._handler`: metadata, then questions, and after
    an error the traceback as text and the end of the connection.
    """
    await websocket.send(msgpack.packb({"reset_pose": [0.0, 1.0]}))
    try:
        while True:
            message = msgpack.unpackb(await websocket.recv(), object_hook=openpi_object)
            actions = np.zeros((5, 7), np.float32)
            actions[:, 0] = message["observation/image"].mean() / 255 / 2
            actions[:, 1] = len(message["prompt"]) / 1000
            actions[:, 2] = message["observation/state"][7]
            if message["prompt"] == "fail":
                raise KeyError("no such thing")
            answer = {"actions": actions, "server_timing": {"infer_ms": 1.0}}
            await websocket.send(msgpack.packb(answer, default=openpi_array))
    except websockets.ConnectionClosed:
        pass
    except Exception:
        await websocket.send(traceback.format_exc())
        await websocket.close(websockets.frames.CloseCode.INTERNAL_ERROR, "Internal server error.")


@pytest.fixture
def openpi_port() -> Iterator[int]:
    started = threading.Event()
    state: dict[str, Any] = {}

    async def run() -> None:
        state["stop"], state["loop"] = asyncio.Event(), asyncio.get_running_loop()
        async with websockets.asyncio.server.serve(
            openpi_handler, "127.0.0.1", 0, compression=None, max_size=None
        ) as server:
            state["port"] = next(iter(server.sockets)).getsockname()[1]
            started.set()
            await state["stop"].wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert started.wait(30)
    yield state["port"]
    state["loop"].call_soon_threadsafe(state["stop"].set)
    thread.join(30)


def test_our_client_works_with_openpis_server(openpi_port: int, connect: Any, observe: Any) -> None:
    remote = connect(openpi_port, "&table=libero")
    remote.check_fit(LIMITS)
    chunk = remote.predict_chunk(observe(51))
    assert chunk.actions.shape == (5, 7)
    expected = [0.05 * 51 / 255 / 2, 0.05 * 0.002, 0.05 * -0.01, 0, 0, 0, 0.5]
    np.testing.assert_allclose(chunk.actions[0], expected, rtol=1e-6, atol=1e-9)
    assert chunk.dt_s == 0.05
    assert chunk.diagnostics["remote_inference_ms"] == 1.0


def test_an_error_there_is_one_line_here_and_the_next_question_connects_again(
    openpi_port: int, connect: Any, observe: Any
) -> None:
    remote = connect(openpi_port, "&table=libero")
    with pytest.raises(RemoteError, match="the server answers: KeyError: 'no such thing'"):
        remote.predict_chunk(observe(instruction="fail"))
    chunk = remote.predict_chunk(observe())
    assert chunk.diagnostics["remote_connections"] == 2


def test_without_a_table_it_says_which_there_are(openpi_port: int, connect: Any) -> None:
    with pytest.raises(RemoteError, match="add `\\?table=libero`") as caught:
        connect(openpi_port)
    assert not isinstance(caught.value, ConnectionLostError)
