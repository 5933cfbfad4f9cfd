"""The page's server with a state made by hand and commands that are written down."""

import threading
import time

import numpy as np
import pytest

from vla_ros.watch.server import WatchServer
from vla_ros.watch.state import WatchState

TOKEN = "secret-token"


class Commands:
    def __init__(self):
        self.done, self.silence = [], ""

    def instruct(self, text):
        self.done.append(("instruct", text))
        return self.silence

    def stop(self):
        self.done.append(("stop",))
        return self.silence

    def reset(self):
        self.done.append(("reset",))
        return self.silence


def filled_state():
    state = WatchState(("front", "imagined"))
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, :32, 0] = 255
    now_s = time.monotonic()
    for step in range(50):
        before_s = now_s - 5 + 0.1 * step
        state.add_target(before_s, (0.4 + 0.002 * step, 0.1, 0.3), 1.0 - step / 50)
        state.add_latency(before_s, 70.0 + step % 7)
    state.add_latency(now_s, float("nan"))
    fresh_s = now_s + 600  # and still so when a browser has taken its time to start
    state.add_image(fresh_s, "front", image)
    state.add_status(fresh_s, "policy_node", 0, "running", {"predictions": "12"})
    state.add_status(fresh_s, "executor_node", 2, "stopped: <b>emergency</b> stop", {})
    state.add_status(now_s - 60, "sim_node", 0, "running", {})
    state.set_instruction("lift the red cube")
    return state


@pytest.fixture
def watched():
    """What `serve` shows, to be added to."""
    return filled_state()


@pytest.fixture
def serve():
    servers = []

    def start(token=TOKEN, state=None, port=0):
        """In place of the one on that port, where there is one."""
        for before in list(servers):
            if before.server_port == port:
                stop(before)
        commands = Commands()
        server = WatchServer(state or filled_state(), commands, "127.0.0.1", port, token)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/", commands

    def stop(server):
        servers.remove(server)
        server.shutdown()
        server.server_close()

    yield start
    for server in list(servers):
        stop(server)
