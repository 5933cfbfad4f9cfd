"""The page in a real browser, driven over Chrome's DevTools protocol."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import threading
import time
import urllib.request

import numpy as np
import pytest
from websockets.sync.client import connect

from vla_ros.watch.state import WatchState

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TOKEN = "secret-token"
PATIENCE_S = 60.0
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


class Browser:
    def __init__(self, folder):
        self.process = subprocess.Popen(
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--remote-debugging-port=0", f"--user-data-dir={folder}", "--window-size=1200,900",
             "--no-first-run", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        port_file = folder / "DevToolsActivePort"
        wait(lambda: port_file.exists() and len(port_file.read_text().split()) == 2)
        port = port_file.read_text().split()[0]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        pages = json.loads(opener.open(f"http://127.0.0.1:{port}/json").read())
        page = next(each for each in pages if each["type"] == "page")
        self.stack = contextlib.ExitStack()
        self.socket = self.stack.enter_context(
            connect(page["webSocketDebuggerUrl"], max_size=2**26, proxy=None)
        )
        self.count = 0

    def call(self, method, **parameters):
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.socket.recv(timeout=PATIENCE_S))
            if answer.get("id") == self.count:
                return answer["result"]

    def value(self, code):
        """What JavaScript computes on the page."""
        result = self.call("Runtime.evaluate", expression=code, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def picture(self, path):
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def close(self):
        self.stack.close()
        self.process.kill()
        self.process.wait()


def wait(condition):
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@pytest.fixture
def browser(tmp_path):
    started = Browser(tmp_path)
    yield started
    started.close()


def text(browser, name):
    return browser.value(f"document.getElementById('{name}')?.textContent")


def test_an_imagined_frame_stands_beside_the_cameras(serve, browser, watched):
    watched.add_image(time.monotonic() + 600, "imagined", np.full((24, 32, 3), 80, np.uint8))
    address, _ = serve(state=watched)
    browser.call("Page.navigate", url=f"{address}#token={TOKEN}")
    wait(lambda: browser.value("document.getElementById('image-imagined')?.naturalWidth") == 32)
    assert not browser.value("document.getElementById('image-imagined').parentElement.hidden")


def test_the_page_shows_the_state_and_commands(serve, browser):
    address, commands = serve()
    browser.call("Page.navigate", url=f"{address}#token={TOKEN}")
    wait(lambda: text(browser, "connection") == "connected")
    assert text(browser, "instruction") == "lift the red cube"
    nodes = browser.value("[...document.querySelectorAll('#nodes tr')].map(r => r.innerText)")
    assert [row.split("\t")[:2] for row in nodes] == [
        ["executor_node", "ERROR"], ["policy_node", "OK"], ["sim_node", "STALE"],
    ]  # fmt: skip
    assert "stopped: <b>emergency</b> stop" in nodes[0]  # text, never HTML
    wait(lambda: browser.value("document.getElementById('image-front').naturalWidth") == 64)
    assert browser.value("document.getElementById('image-imagined').parentElement.hidden")
    for name in ("targets", "latencies"):  # something is drawn
        drawn = browser.value(
            f"(c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size)"
            f"(document.getElementById('{name}'))"
        )
        assert drawn > 10
    browser.value("document.getElementById('text').value = 'push it'")
    browser.value("document.querySelector('#instruct button').click()")
    wait(lambda: ("instruct", "push it") in commands.done)
    browser.value("document.getElementById('stop').click()")
    wait(lambda: ("stop",) in commands.done)
    wait(lambda: text(browser, "note") == "sent: stop")
    commands.silence = "nobody listens"
    browser.value("document.getElementById('reset').click()")
    wait(lambda: ("reset",) in commands.done)
    wait(lambda: text(browser, "note") == "nobody listens")
    assert browser.value("document.getElementById('note').className") == "bad"
    if os.environ.get("WATCH_PICTURE"):
        from pathlib import Path

        browser.picture(Path(os.environ["WATCH_PICTURE"]))


def test_without_the_token_nothing_can_be_pressed(serve, browser):
    address, commands = serve()
    browser.call("Page.navigate", url=address)
    wait(lambda: text(browser, "connection") == "read-only")
    assert browser.value("document.getElementById('stop').disabled")
    assert browser.value("document.getElementById('text').disabled")
    browser.value("command('stop')")  # even by hand
    wait(lambda: text(browser, "note") == "wrong token")
    assert commands.done == []


def test_a_page_of_before_a_restart_with_another_token_says_so(serve, browser):
    address, _ = serve()
    browser.call("Page.navigate", url=f"{address}#token={TOKEN}")
    wait(lambda: text(browser, "connection") == "connected")
    port = int(address.strip("/").rsplit(":", 1)[1])
    serve(token="another-token", port=port)
    wait(lambda: text(browser, "connection").startswith("wrong token, nothing can be stopped here"))
    assert browser.value("document.getElementById('connection').className") == "lost"
    for name in ("stop", "reset", "text"):
        assert browser.value(f"document.getElementById('{name}').disabled")
    browser.value("location.hash = 'token=another-token'")  # as its user does in the same tab
    wait(lambda: text(browser, "connection") == "connected")
    assert not browser.value("document.getElementById('stop').disabled")


def test_a_token_that_none_can_be_is_a_wrong_one(serve, browser):
    address, _ = serve()
    browser.call("Page.navigate", url=f"{address}#token=%E2%82%AC")
    wait(lambda: (text(browser, "connection") or "").startswith("wrong token"))


def view(width, now_s):
    """A state with one picture of some width."""
    state = WatchState(("front",))
    state.add_image(now_s, "front", np.zeros((48, width, 3), np.uint8))
    return state


def width(browser):
    return browser.value("document.getElementById('image-front')?.naturalWidth")


def test_a_server_that_hangs_is_no_connection(serve, browser):
    """As behind a stalled tunnel: whatever is asked is taken, and never answered."""
    goes_on = threading.Event()
    goes_on.set()

    class Hanging(WatchState):
        def snapshot(self, now_s):
            goes_on.wait()
            return super().snapshot(now_s)

    address, commands = serve(state=Hanging(("front",)))
    commands.stop = goes_on.wait
    browser.call("Page.navigate", url=f"{address}#token={TOKEN}")
    wait(lambda: text(browser, "connection") == "connected")
    goes_on.clear()
    try:
        wait(lambda: text(browser, "connection") == "connection lost: what you see is old")
        browser.value("document.getElementById('stop').click()")
        wait(lambda: "stop: no answer for 3 s" in text(browser, "note"))
    finally:
        goes_on.set()
    wait(lambda: text(browser, "connection") == "connected")


def test_a_server_started_anew_shows_its_own_pictures(serve, browser):
    later_s = time.monotonic() + 600
    before = view(64, later_s)
    address, _ = serve(state=before)
    browser.call("Page.navigate", url=f"{address}#token={TOKEN}")
    wait(lambda: width(browser) == 64)
    for _ in range(9):
        before.add_image(later_s, "front", np.zeros((48, 80, 3), np.uint8))
    wait(lambda: width(browser) == 80)
    # It counts from 1 again, which this page has seen.
    serve(state=view(96, later_s), port=int(address.strip("/").rsplit(":", 1)[1]))
    wait(lambda: width(browser) == 96)


def test_a_picture_that_is_old_is_shown_so(serve, browser):
    now_s = time.monotonic()
    state = view(64, now_s - 100)
    address, _ = serve(state=state)
    browser.call("Page.navigate", url=address)
    wait(lambda: width(browser) == 64)
    wait(lambda: text(browser, "caption-front").startswith("front: 1"))  # 100 s and more
    assert text(browser, "caption-front").endswith(" s old")
    assert browser.value("document.getElementById('image-front').className") == "old"
    state.add_image(now_s + 600, "front", np.zeros((48, 80, 3), np.uint8))
    wait(lambda: width(browser) == 80)
    wait(lambda: text(browser, "caption-front") == "front")
    assert browser.value("document.getElementById('image-front').className") == ""
