"""Does a policy server lose anything under load, and does its memory stay flat?

    python benchmarks/serving.py [--minutes 10] [--clients 8] [--rate 30] [--json FILE]

The server is a process of its own, with a policy that is cheap but looks: its answer tells which
image it saw, so an answer to another robot's question would be noticed. Every client is a process
that asks at a fixed rate. Meanwhile one more connection sends malformed frames, and each must be
answered as such. A client that cannot keep the rate asks late, never less: nothing is left out.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from websockets.sync.client import connect

from policies.interface import ActionChunk, Observation
from policies.remote.policy import RemotePolicy
from policies.remote.settings import parse_remote
from policies.serving.background import serving
from policies.serving.server import PolicyServer, ServerSettings

IMAGE_SIZE_PX = 224
SAMPLE_PERIOD_S = 1.0  # of the server's memory
WARM_UP_SHARE = 0.2  # of the time: before it, memory may grow
FLAT_MB = 5.0  # what may come on top afterwards
MALFORMED_PERIOD_S = 0.1
MALFORMED = (b"", b"\xc1", b"\x81\xa1a\x01", "text", b"\x91" * 2000, b"\xdd\xff\xff\xff\xff")


class Looking:
    """The image's mean comes back as the first action's x [m], over 10,000."""

    name = "looking"
    cameras: tuple[str, ...] = ("front",)

    def reset(self, seed: int | None = None) -> None:
        """Nothing to forget."""

    def predict_chunk(self, observation: Observation) -> ActionChunk:
        return self.predict_chunks([observation])[0]

    def predict_chunks(self, observations: list[Observation]) -> list[ActionChunk]:
        chunks = []
        for observation in observations:
            actions = np.zeros((8, 7))
            actions[0, 0] = observation.images["front"].mean() / 1e4
            chunks.append(ActionChunk(actions, observation.stamp_ns, dt_s=0.1))
        return chunks


def run_server(pipe: Any, batch: int) -> None:
    """In a process: serve until something is said, then tell what was counted."""
    server = PolicyServer(Looking(), ServerSettings(port=0, max_batch=batch))
    with serving(server) as port:
        pipe.send(port)
        pipe.recv()
    pipe.send({**vars(server.counters), "cpu_s": time.process_time()})


def run_client(results: Any, index: int, port: int, options: argparse.Namespace) -> None:
    """In a process: ask at the rate, check every answer."""
    address = f"ws://127.0.0.1:{port}?images={options.images}&timeout_s=10"
    policy = RemotePolicy(parse_remote(address, {}))
    period_s, count = 1.0 / options.rate, round(options.minutes * 60 * options.rate)
    lost = wrong = late = 0
    latencies_ms, network_ms = [], []
    begin_s = time.monotonic() + 1.0 + index * period_s / options.clients  # not all at once
    for number in range(count):
        wait_s = begin_s + number * period_s - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        late += wait_s < -period_s
        brightness = (37 * index + number) % 256
        started_s = time.monotonic()
        try:
            chunk = policy.predict_chunk(observe(brightness, number))
        except OSError as error:
            print(f"client {index}: {error}", file=sys.stderr)
            lost += 1
            continue
        latencies_ms.append((time.monotonic() - started_s) * 1e3)
        network_ms.append(chunk.diagnostics["remote_network_ms"])
        seen = chunk.actions[0, 0] * 1e4
        wrong += chunk.stamp_ns != number or abs(seen - brightness) > 0.5
    results.put(
        {
            "asked": count,
            "lost": lost,
            "wrong": int(wrong),
            "late": int(late),
            "connections": policy.connections,
            "latencies_ms": latencies_ms,
            "network_ms": network_ms,
            "duration_s": time.monotonic() - begin_s,
        }
    )
    policy.close()


def observe(brightness: int, number: int) -> Observation:
    image = np.full((IMAGE_SIZE_PX, IMAGE_SIZE_PX, 3), brightness, np.uint8)
    return Observation(
        images={"front": image},
        joint_positions=np.zeros(7),
        gripper_opening=1.0,
        ee_position=np.array([0.5, 0.0, 0.2]),
        ee_quaternion=np.array([0.0, 1.0, 0.0, 0.0]),
        instruction="pick up the red cube",
        stamp_ns=number,
    )


@contextmanager
def server_process(batch: int) -> Iterator[tuple[int, int, Any]]:
    """Yields (process id, port, function that stops it and returns its counters)."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=run_server, args=(there, batch), daemon=True)
    process.start()

    def stop() -> dict[str, float]:
        here.send("stop")
        return here.recv()

    try:
        yield int(process.pid or 0), here.recv(), stop
    finally:
        process.join(10)
        process.kill()


def memory_mb(pid: int) -> float:
    """Resident memory of a process (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def annoy(socket: Any, number: int) -> bool:
    """Send a malformed frame; whether it was refused in words."""
    socket.send(MALFORMED[number % len(MALFORMED)])
    return isinstance(socket.recv(10), str)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run everything and return the figures."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    with server_process(options.batch) as (pid, port, stop):
        clients = [
            context.Process(target=run_client, args=(results, index, port, options), daemon=True)
            for index in range(options.clients)
        ]
        for client in clients:
            client.start()
        rows: list[dict[str, Any]] = []
        samples: list[float] = []
        malformed = refused = 0
        next_sample_s = time.monotonic()
        with connect(f"ws://127.0.0.1:{port}", proxy=None) as socket:
            socket.recv(10)
            while len(rows) < len(clients):
                refused += annoy(socket, malformed)
                malformed += 1
                if time.monotonic() >= next_sample_s:
                    next_sample_s += SAMPLE_PERIOD_S
                    samples.append(memory_mb(pid))
                if not results.empty():
                    rows.append(results.get())
                elif not any(client.is_alive() for client in clients):
                    raise RuntimeError("a client ended without its figures")
                time.sleep(MALFORMED_PERIOD_S)
        counters = stop()
        for client in clients:
            client.join(10)
    return summarize(options, rows, samples, counters) | {
        "malformed": malformed,
        "malformed_refused": refused,
    }


def summarize(
    options: argparse.Namespace,
    rows: list[dict[str, Any]],
    samples: list[float],
    counters: dict[str, float],
) -> dict[str, Any]:
    latencies_ms = np.concatenate([row["latencies_ms"] for row in rows])
    network_ms = np.concatenate([row["network_ms"] for row in rows])
    warm = samples[round(len(samples) * WARM_UP_SHARE) :]
    half = len(warm) // 2
    totals = {key: sum(row[key] for row in rows) for key in ("asked", "lost", "wrong", "late")}
    duration_s = max(row["duration_s"] for row in rows)
    return {
        "clients": options.clients,
        "rate_hz": options.rate,
        "minutes": options.minutes,
        "images": options.images,
        "batch": options.batch,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        **totals,
        "reconnections": sum(row["connections"] - 1 for row in rows),
        "answers_per_s": (totals["asked"] - totals["lost"]) / duration_s,
        "latency_ms": {f"p{p}": float(np.percentile(latencies_ms, p)) for p in (50, 95, 99)},
        "network_ms": {f"p{p}": float(np.percentile(network_ms, p)) for p in (50, 99)},
        "memory_mb": {"first": samples[0], "warm": warm[0], "last": warm[-1], "most": max(warm)},
        # Halves are compared by their medians: single samples go up and down with the frames.
        "memory_growth_mb": float(np.median(warm[half:]) - np.median(warm[: half or 1])),
        "server_cpu_ms": 1e3 * counters["cpu_s"] / counters["answers"],  # its start included
        "server": counters,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rate", type=float, default=30.0, help="questions a second, each")
    parser.add_argument("--images", default="raw", choices=("raw", "jpeg"))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options)
    print(json.dumps(figures, indent=1))
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    failures = [
        name
        for name, failed in (
            ("answers were lost", figures["lost"]),
            ("answers were wrong", figures["wrong"]),
            ("malformed frames got through", figures["malformed"] - figures["malformed_refused"]),
            ("memory grew", figures["memory_growth_mb"] > FLAT_MB),
        )
        if failed
    ]
    if failures:
        sys.exit("failed: " + ", ".join(failures))


if __name__ == "__main__":
    main()
