"""Measure a policy in simulation: success, which item it goes for, and how long it thinks.

Episode i of every environment has the seed `seed + i`; the outcome does not depend on the number of
workers (latencies do).
"""

from __future__ import annotations

import json
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from policies.interface import ActionChunk, Policy
from sim import ENV_IDS, video
from sim.env import CONTROL_RATE_HZ, TabletopEnv, to_observation
from sim.kinematics import displacement, fixed_axis_rotation
from sim.parallel import ordered_map
from sim.policies import SCRIPTED, ExpertPolicy, ZeroPolicy
from sim.variants import STANDARD, check_variant

CONFIDENCE = 0.95
VIDEO_SIZE_PX = 384


@dataclass(frozen=True)
class Evaluation:
    """What to measure."""

    policy: str  # "expert", "zero", or what `policies.factory.load_policy` takes
    env_ids: tuple[str, ...]
    episodes: int = 100  # for each environment
    seed: int = 1000
    blackout: bool = False  # the policy sees black images
    swap_instruction: bool = False  # another movable item of the scene is named
    device: str = "cpu"
    quantization: str | None = None  # of the policy's weights, see `load_policy`
    workers: int = 1
    execute_steps: int | None = None  # of every chunk, then look again; None: the whole chunk
    video_folder: Path | None = None  # an mp4 of the front camera for every episode
    variant: str = STANDARD  # a key of `sim.variants.VARIANTS`

    def __post_init__(self) -> None:
        unknown = [env_id for env_id in self.env_ids if env_id not in ENV_IDS]
        if unknown or not self.env_ids:
            raise ValueError(
                f"env: expected some of {', '.join(ENV_IDS)}, got {', '.join(unknown) or 'none'}"
            )
        if self.episodes < 1:
            raise ValueError(f"episodes: expected 1 or more, got {self.episodes}")
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")
        if self.workers < 1:
            raise ValueError(f"workers: expected 1 or more, got {self.workers}")
        if self.execute_steps is not None and self.execute_steps < 1:
            raise ValueError(f"execute_steps: expected 1 or more, got {self.execute_steps}")
        check_variant(self.variant)
        if self.policy not in SCRIPTED:
            _check_policy(self.policy)


@dataclass(frozen=True)
class EpisodeResult:
    """How one episode went."""

    env_id: str
    seed: int
    instruction: str
    target: str
    success: bool
    steps: int
    first_touched: str | None  # the first item the robot touched
    latencies_ms: tuple[float, ...]  # of every call of the policy


def evaluate(
    evaluation: Evaluation,
    on_episode: Callable[[EpisodeResult], None] = lambda result: None,
) -> dict[str, Any]:
    """Run all episodes and return the summary that `vla-ros evaluate --json` writes.

    Raises what `load_policy` raises for an unknown or broken policy.
    """
    if evaluation.video_folder is not None:
        evaluation.video_folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        (evaluation, env_id, evaluation.seed + index)
        for env_id in evaluation.env_ids
        for index in range(evaluation.episodes)
    ]
    results = []
    stream = ordered_map(_run_job, jobs, evaluation.workers, prepare=_use_one_thread)
    try:
        for result in stream:
            on_episode(result)
            results.append(result)
    finally:
        stream.close()  # type: ignore[attr-defined]  # ends the workers
    settings = {
        "policy": evaluation.policy,
        "seed": evaluation.seed,
        "blackout": evaluation.blackout,
        "swap_instruction": evaluation.swap_instruction,
        "execute_steps": evaluation.execute_steps,
        "quantization": evaluation.quantization,
        "variant": evaluation.variant,
    }
    by_env = [
        {
            "env": env_id,
            **settings,
            **summarize([result for result in results if result.env_id == env_id]),
        }
        for env_id in evaluation.env_ids
    ]
    if len(by_env) == 1:
        return by_env[0]
    # Every environment has the same number of episodes: the rate over all is the average.
    average = {"env": list(evaluation.env_ids), **settings, **summarize(results)}
    del average["rows"]
    return {**average, "by_env": by_env}


def summarize(results: Sequence[EpisodeResult]) -> dict[str, Any]:
    """Rates, their 95 % Wilson interval, latencies [ms] and a row for every episode."""
    successes = [result for result in results if result.success]
    low, high = wilson_interval(len(successes), len(results))
    touches = [result.first_touched == result.target for result in results]
    latencies_ms = [value for result in results for value in result.latencies_ms]
    return {
        "episodes": len(results),
        "success_rate": len(successes) / len(results),
        "wilson_low": low,
        "wilson_high": high,
        "first_touch_rate": sum(touches) / len(results),
        "mean_steps_of_successes": (
            sum(result.steps for result in successes) / len(successes) if successes else None
        ),
        "policy_latency_ms": {
            "p50": float(np.percentile(latencies_ms, 50)),
            "p99": float(np.percentile(latencies_ms, 99)),
        },
        "rows": [
            {
                "seed": result.seed,
                "instruction": result.instruction,
                "target": result.target,
                "success": result.success,
                "steps": result.steps,
                "first_touched": result.first_touched,
            }
            for result in results
        ],
    }


def wilson_interval(
    successes: int, trials: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The Wilson score interval of a success rate (E. B. Wilson 1927, JASA 22:209-212)."""
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"expected 0 <= successes <= trials, got {successes} of {trials}")
    z = statistics.NormalDist().inv_cdf(0.5 + confidence / 2)
    rate = successes / trials
    centre = rate + z**2 / (2 * trials)
    spread = z * math.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def run_episode(
    env: TabletopEnv,
    policy: Policy,
    seed: int,
    blackout: bool = False,
    swap_instruction: bool = False,
    on_step: Callable[[TabletopEnv], None] = lambda env: None,
    execute_steps: int | None = None,
) -> EpisodeResult:
    """Let `policy` act in the episode of `seed`: look, carry out the chunk, look again.

    Of every chunk the first `execute_steps` actions are carried out (receding horizon), without it
    all of them. `env` renders what the policy looks at (nothing, if `blackout`). `on_step` is
    called before every action and after the last.
    """
    values, info = env.reset(seed=seed)
    if swap_instruction:
        target = another_item(env, seed)
        values, info = env.reset(seed=seed, options={"target": target})
    policy.reset(seed=seed)
    size = env.image_size_px
    black = {camera: np.zeros((size, size, 3), np.uint8) for camera in policy.cameras if blackout}
    latencies_ms: list[float] = []
    steps, success = 0, False
    while not success and steps < env.task.max_steps:
        world, _ = env.running()
        stamp_ns = round(world.time_s * 1e9)
        observation = to_observation({**values, **black}, stamp_ns)
        begin = time.perf_counter()
        chunk = policy.predict_chunk(observation)
        latencies_ms.append(1e3 * (time.perf_counter() - begin))
        for row in chunk.actions[:execute_steps][: env.task.max_steps - steps]:
            on_step(env)
            env.move(env_action(env, row, chunk))
            steps += 1
            success = env.succeeded()
            if success:
                break
        if not success:
            values, _ = env.observe()
    on_step(env)
    return EpisodeResult(
        env_id=f"VlaRos/{env.task.name}-v0",
        seed=seed,
        instruction=values["instruction"],
        target=info["target"],
        success=success,
        steps=steps,
        first_touched=env.running()[0].first_touched,
        latencies_ms=tuple(latencies_ms),
    )


def env_action(env: TabletopEnv, row: NDArray[np.float64], chunk: ActionChunk) -> NDArray:
    """A row (7,) of a chunk as the environment's action: a displacement from the measured pose."""
    if chunk.mode == "delta":
        return row
    world, _ = env.running()
    turn = displacement(world.ee_rotation, fixed_axis_rotation(row[3:6]))
    return np.concatenate([row[:3] - world.ee_position, turn, row[6:]])  # (7,)


def another_item(env: TabletopEnv, seed: int) -> str:
    """The name of a movable item of the present scene that the instruction does not name."""
    _, episode = env.running()
    others = [
        item.name
        for item in episode.scene.items
        if not item.is_bowl and item.name != episode.target
    ]
    if not others:
        raise ValueError(f"seed {seed}: no other item to name, only {episode.target!r}")
    rng = np.random.default_rng([seed, 0x54A9])
    return others[int(rng.integers(len(others)))]


def write_json(path: Path, summary: dict[str, Any]) -> None:
    """Write atomically: readers see the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(summary, indent=1) + "\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _use_one_thread() -> None:
    """Sums in another order give other last digits: the number of threads must not vary."""
    import torch

    torch.set_num_threads(1)


def _run_job(job: tuple[Evaluation, str, int]) -> EpisodeResult:
    """One episode, in a worker."""
    evaluation, env_id, seed = job
    if evaluation.policy == "expert":
        env = _environment(env_id, (), evaluation.variant)
        policy: Policy = ExpertPolicy(env)
    else:
        policy = _policy(evaluation.policy, evaluation.device, evaluation.quantization)
        cameras = () if evaluation.blackout else tuple(policy.cameras)
        env = _environment(env_id, cameras, evaluation.variant)
    frames: list[NDArray[np.uint8]] = []

    def film(env: TabletopEnv) -> None:
        frames.append(env.running()[0].render("front", VIDEO_SIZE_PX, VIDEO_SIZE_PX))

    filming = {} if evaluation.video_folder is None else {"on_step": film}
    result = run_episode(
        env,
        policy,
        seed,
        evaluation.blackout,
        evaluation.swap_instruction,
        execute_steps=evaluation.execute_steps,
        **filming,
    )
    if evaluation.video_folder is not None:
        name = f"{env_id.split('/')[-1]}_{seed}_{'success' if result.success else 'failure'}.mp4"
        encoded = video.encode(
            np.stack(frames), int(CONTROL_RATE_HZ), {"crf": "20"}, pixel_format="yuv420p"
        )
        (evaluation.video_folder / name).write_bytes(encoded)
    return result


def _check_policy(name: str) -> None:
    """Refuse a name before any process is started for it."""
    from policies.factory import check_name

    try:
        check_name(name)
    except ValueError as error:
        raise ValueError(f"{error}; also: {', '.join(SCRIPTED)}") from error


@lru_cache(maxsize=8)
def _environment(env_id: str, cameras: tuple[str, ...], variant: str) -> TabletopEnv:
    env = gymnasium.make(env_id, cameras=cameras, variant=variant)
    return env.unwrapped  # type: ignore[return-value]


@lru_cache(maxsize=1)
def _policy(name: str, device: str, quantization: str | None) -> Policy:
    if name == "zero":
        return ZeroPolicy()
    from policies.factory import load_policy

    return load_policy(name, device=device, quantization=quantization)
