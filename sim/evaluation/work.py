"""One episode as a job for a worker, which keeps the policy and the environment it has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from policies.interface import Policy
from sim import task_name, video
from sim.env import CONTROL_RATE_HZ, TabletopEnv, to_observation
from sim.evaluation.episode import EpisodeResult, black_images, run_episode
from sim.evaluation.settings import Around, Evaluation
from sim.policies import EXPERTS, NoisyPolicy, load_named, split_noise

VIDEO_SIZE_PX = 384


@dataclass(frozen=True)
class Job:
    """One episode to run."""

    evaluation: Evaluation
    condition: int  # the evaluation's place among those that run together
    env_id: str
    seed: int
    film: bool = False

    @property
    def key(self) -> tuple[int, str, int]:
        return (self.condition, self.env_id, self.seed)


@dataclass(frozen=True)
class Done:
    """What a job gave."""

    condition: int
    result: EpisodeResult
    mp4: bytes | None = None  # of the front camera, if it was asked for
    last_frame: NDArray[np.uint8] | None = None  # (h, w, 3)


def run_job(job: Job) -> Done:
    """Run the episode."""
    evaluation = job.evaluation
    env, policy = prepared(evaluation, job.env_id)
    timed = evaluation.planner is not None and evaluation.planner.deadline_ms is not None
    if evaluation.timing.realtime or timed:
        _warm_up(env, policy, evaluation.blackout)
    frames: list[NDArray[np.uint8]] = []

    def film(env: TabletopEnv) -> None:
        frames.append(env.running()[0].render("front", VIDEO_SIZE_PX, VIDEO_SIZE_PX))

    filming = {"on_step": film} if job.film else {}
    result = run_episode(
        env,
        policy,
        job.seed,
        evaluation.blackout,
        evaluation.swap_instruction,
        execute_steps=evaluation.execute_steps,
        timing=evaluation.timing,
        **filming,
    )
    if not frames:
        return Done(job.condition, result)
    mp4 = video.encode(
        np.stack(frames), int(CONTROL_RATE_HZ), {"crf": "20"}, pixel_format="yuv420p"
    )
    return Done(job.condition, result, mp4, frames[-1])


def use_one_thread() -> None:
    """Sums in another order give other last digits: the number of threads must not vary."""
    import torch

    torch.set_num_threads(1)


def video_name(result: EpisodeResult) -> str:
    """Of an episode's mp4."""
    ending = "success" if result.success else "failure"
    return f"{result.env_id.split('/')[-1]}_{result.seed}_{ending}.mp4"


def prepared(evaluation: Evaluation, env_id: str) -> tuple[TabletopEnv, Policy]:
    """The environment and the policy, kept for the next job that asks for the same."""
    planner = evaluation.planner
    extra = () if planner is None else planner.cameras
    level_cm, name = split_noise(evaluation.policy)
    if name in EXPERTS:
        env = environment(env_id, extra, evaluation.variant)
        policy = EXPERTS[name](env)
    else:
        chosen = (evaluation.unnorm_key, evaluation.quantization, evaluation.dtype)
        policy = _policy(name, evaluation.device, *chosen)
        cameras = () if evaluation.blackout else tuple(dict.fromkeys((*policy.cameras, *extra)))
        env = environment(env_id, cameras, evaluation.variant)
    if level_cm:
        policy = _noisy(policy, level_cm)  # type: ignore[arg-type]
    if planner is not None:
        policy = _planned(planner, policy, env)  # type: ignore[arg-type]
    return env, policy


def _warm_up(env: TabletopEnv, policy: Policy, blackout: bool) -> None:
    """A network's first call is slower than all others; no robot would start with it."""
    values, _ = env.reset(seed=0)
    policy.reset(seed=0)
    black = black_images(env, policy) if blackout else {}
    policy.predict_chunk(to_observation({**values, **black}))


@lru_cache(maxsize=8)
def environment(env_id: str, cameras: tuple[str, ...], variant: str) -> TabletopEnv:
    """Kept for the next job that asks for the same."""
    return TabletopEnv(task_name(env_id), cameras=cameras, variant=variant)


@lru_cache(maxsize=1)
def _noisy(policy: Policy, level_cm: float) -> Policy:
    return NoisyPolicy(policy, level_cm)


@lru_cache(maxsize=4)
def _planned(planner: Around, policy: Policy, env: TabletopEnv) -> Policy:
    """Kept, with the times that it has measured."""
    return planner.wrap(policy, env)


@lru_cache(maxsize=1)
def _policy(
    name: str, device: str, unnorm_key: str | None, quantization: str | None, dtype: str
) -> Policy:
    return load_named(name, device, unnorm_key, quantization, dtype)
