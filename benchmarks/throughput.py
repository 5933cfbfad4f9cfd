"""How fast the environments are, against MuJoCo alone in the same scene and run.

    python benchmarks/throughput.py [--env VlaRos/PickPlace-v0] [--processes 4] [--json FILE]

"bare" does what the environment did to the simulation and nothing else: the same number of
`mj_step`, each with the very commands that the environment gave it, and the same images with
`mujoco.Renderer`. "step" is `env.step`; "replay" is the environment's own advance and images with
the joint targets already known, so that step - replay is the price of inverse kinematics, of the
other measurements and of asking whether the task is done. All take turns, episode by episode, so
that a busy machine slows them alike; the ratios are of processor time, medians over the episodes.
Last, how environments in processes of their own add up.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sim  # isort: skip  chooses the renderer, which MuJoCo reads once, when it is imported
import gymnasium
import mujoco
import numpy as np
from numpy.typing import NDArray

from sim.env import CONTROL_RATE_HZ, TabletopEnv
from sim.evaluation.provenance import machine, versions
from sim.files import write_json
from sim.scene import CAMERAS
from sim.tabletop import Tabletop

WAYS = ("bare", "replay", "step")


class Recording:
    """An episode's start, its actions, and what each physics step was told."""

    def __init__(self, env: TabletopEnv, seed: int, steps: int) -> None:
        env.reset(seed=seed)
        world, _ = env.running()
        self.start = world.snapshot()
        self.actions: list[NDArray] = []  # (7,) each
        self.targets: list[tuple[NDArray, float]] = []  # joints (7,) [rad] and gripper
        advance = world.advance

        def note(duration_s: float, joints: NDArray, gripper: float) -> None:
            self.targets.append((joints, gripper))
            advance(duration_s, joints, gripper)

        world.advance = note  # type: ignore[method-assign, assignment]
        for _ in range(steps):
            self.actions.append(env.expert_action())
            env.move(self.actions[-1])
        del world.advance
        self.controls = self._controls(world)

    def _controls(self, world: Tabletop) -> NDArray:
        """(actions, physics steps of one, actuators): `ctrl` at every physics step."""
        world.restore(self.start)
        controls: list[NDArray] = []
        mj_step = mujoco.mj_step

        def note(model: mujoco.MjModel, data: mujoco.MjData) -> None:
            controls.append(data.ctrl.copy())
            mj_step(model, data)

        mujoco.mj_step = note
        try:
            for joints, gripper in self.targets:
                world.advance(1.0 / CONTROL_RATE_HZ, joints, gripper)
        finally:
            mujoco.mj_step = mj_step
        return np.array(controls).reshape(len(self.targets), -1, world.model.nu)


def bare(env: TabletopEnv, recording: Recording) -> None:
    """MuJoCo alone: steps with the recorded commands, and images."""
    world, _ = env.running()
    model, data, size = world.model, world.data, env.image_size_px
    renderer = world._renderers.get((size, size))
    for controls in recording.controls:
        for control in controls:
            data.ctrl[:] = control
            mujoco.mj_step(model, data)
        for camera in env.cameras:
            assert renderer is not None
            renderer.update_scene(data, camera)
            renderer.render()


def replay(env: TabletopEnv, recording: Recording) -> None:
    """The environment without inverse kinematics and judgement."""
    world, _ = env.running()
    size = env.image_size_px
    for joints, gripper in recording.targets:
        world.advance(1.0 / CONTROL_RATE_HZ, joints, gripper)
        for camera in env.cameras:
            world.render(camera, size, size)


def step(env: TabletopEnv, recording: Recording) -> None:
    """The environment as it is used."""
    for action in recording.actions:
        env.step(action)


DO: dict[str, Callable[[TabletopEnv, Recording], None]] = {
    "bare": bare,
    "replay": replay,
    "step": step,
}


def measure(env_id: str, cameras: tuple[str, ...], episodes: int, steps: int) -> dict[str, Any]:
    """Steps per second of each way, and ratios to the bare loop."""
    env = gymnasium.make(env_id, cameras=cameras).unwrapped
    assert isinstance(env, TabletopEnv)
    times_s: dict[str, list[float]] = {way: [] for way in WAYS}  # on the clock
    worked_s: dict[str, list[float]] = {way: [] for way in WAYS}  # of the processor
    for episode in range(episodes):
        recording = Recording(env, 1000 + episode, steps)
        env.observe()  # makes the renderer
        world, _ = env.running()
        ends = []
        # Each goes first in turn.
        for way in np.roll(WAYS, episode):
            world.restore(recording.start)
            begin, begin_worked = time.perf_counter(), time.process_time()
            DO[way](env, recording)
            times_s[way].append(time.perf_counter() - begin)
            worked_s[way].append(time.process_time() - begin_worked)
            ends.append(world.joint_positions)
        if not all(np.array_equal(end, ends[0]) for end in ends):
            raise RuntimeError(f"seed {1000 + episode}: the loops did not do the same")
    env.close()
    return {
        "cameras": list(cameras),
        "steps_per_s": {way: steps / statistics.median(times_s[way]) for way in WAYS},
        "ratio_to_bare": {
            way: statistics.median(
                np.array(worked_s["bare"]) / np.array(worked_s[way])  # pairs of one episode
            )
            for way in WAYS
        },
    }


def work(env_id: str, cameras: tuple[str, ...], steps: int, ready: Any, results: Any) -> None:
    """One process: an environment of its own, `steps` steps when all are ready."""
    env = gymnasium.make(env_id, cameras=cameras).unwrapped
    assert isinstance(env, TabletopEnv)
    recording = Recording(env, 1000, 40)
    env.observe()
    ready.wait()
    begin = time.perf_counter()
    for _ in range(steps // 40):
        env.running()[0].restore(recording.start)
        step(env, recording)
    results.put(steps / (time.perf_counter() - begin))


def scale(env_id: str, cameras: tuple[str, ...], processes: int, steps: int) -> float:
    """Steps per second of `processes` environments together."""
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(target=work, args=(env_id, cameras, steps, ready, results))
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    rates = [results.get(timeout=600) for _ in workers]
    for worker in workers:
        worker.join()
    return sum(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", default="VlaRos/PickPlace-v0", choices=sim.ENV_IDS)
    parser.add_argument("--episodes", type=int, default=9)
    parser.add_argument("--steps", type=int, default=40, help="of each episode")
    parser.add_argument("--processes", type=int, default=2, help="the most at once; 0: skip")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(machine())
    rows = [
        measure(options.env, cameras, options.episodes, options.steps)
        for cameras in ((), ("front",), CAMERAS)
    ]
    print(f"{options.env}: environment steps a second, and the share of the bare loop's")
    print(f"{'cameras':16s} {'bare':>10s} {'replay':>18s} {'step':>18s}")
    for row in rows:
        rate, ratio = row["steps_per_s"], row["ratio_to_bare"]
        cells = " ".join(f"{rate[way]:10.1f} {ratio[way]:7.2f}" for way in ("replay", "step"))
        print(f"{', '.join(row['cameras']) or 'none':16s} {rate['bare']:10.1f} {cells}")
    growth = []
    for cameras in ((), CAMERAS):
        for processes in range(1, options.processes + 1):
            rate = scale(options.env, cameras, processes, 400 if not cameras else 80)
            growth.append({"cameras": list(cameras), "processes": processes, "steps_per_s": rate})
            print(f"{', '.join(cameras) or 'none':16s} {processes} processes: {rate:.1f} steps/s")
    if options.json:
        result = {"env": options.env, "rows": rows, "processes": growth}
        write_json(options.json, {**result, "machine": machine(), "versions": versions()})


if __name__ == "__main__":
    main()
