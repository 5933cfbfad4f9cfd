"""One episode: a policy looks, its answer arrives, the arm carries it out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from policies.interface import InstructionError, Policy
from sim import env_id
from sim.env import TabletopEnv, to_observation
from sim.evaluation.arm import Arm
from sim.evaluation.timing import NO_DELAY, Timing, next_look, rows_on_arrival


@dataclass(frozen=True)
class EpisodeResult:
    """How one episode went."""

    env_id: str
    seed: int
    instruction: str
    target: str
    success: bool
    steps: int  # of 0.1 s that it took
    first_touched: str | None  # the first thing on the table that the robot touched
    first_touch_fits: bool  # whether that is what the instruction asks for first
    lifted: bool  # the fingers held the target above where it stood, at some time
    held_at_end: bool  # and so they do at the end
    idle_share: float  # of the time in which the arm had nothing to do
    jerk_rad_s3: float  # root mean square over joints and time
    latencies_ms: tuple[float, ...]  # of every call of the policy
    planning_ms: tuple[
        float, ...
    ] = ()  # of every decision of a planner, the policy's time included
    planning_counts: Mapping[str, int] = field(default_factory=dict)  # how often, see `PLANNING`


# What a planner says of a decision in its chunk's diagnostics (0 or 1), and how the sum is called.
PLANNING = {
    "deadline_missed": "deadline_misses",
    "fell_back": "fallbacks",  # the policy's own chunk went out unexamined
    "replanned": "replanned",  # something else than the policy's chunk went out
    "held": "holds",
    "recovered": "recoveries",  # the policy was stuck, and something else went out
}


def run_episode(
    env: TabletopEnv,
    policy: Policy,
    seed: int,
    blackout: bool = False,
    swap_instruction: bool = False,
    on_step: Callable[[TabletopEnv], None] = lambda env: None,
    execute_steps: int | None = None,
    timing: Timing = NO_DELAY,
) -> EpisodeResult:
    """Let `policy` act in the episode of `seed`: look, carry out the chunk, look again.

    Of every chunk the first `execute_steps` actions are carried out (receding horizon), without it
    all of them. With a delay the world goes on between a look and its answer: the arm executes what
    is left of the last chunk, else holds; `sim.evaluation.timing` says what a late chunk becomes.
    A policy that refuses the instruction (`InstructionError`) has failed.
    The time limit is in simulated time, so waiting costs it. `env` renders what the policy looks at
    (nothing, if `blackout`). `on_step` is called before every action and after the last.
    """
    values, info = env.reset(seed=seed)
    if swap_instruction:
        target = another_item(env, seed)
        values, info = env.reset(seed=seed, options={"target": target})
    first_touches = env.task.first_touches(*env.running())
    policy.reset(seed=seed)
    black = black_images(env, policy) if blackout else {}
    latencies_ms: list[float] = []
    planning_ms: list[float] = []
    counts = Counter(dict.fromkeys(PLANNING.values(), 0))
    arm = Arm(env, on_step)
    while not arm.done:
        if latencies_ms:
            values, _ = env.observe()
        world, _ = env.running()
        stamp_ns = round(world.time_s * 1e9)
        observation = to_observation({**values, **black}, stamp_ns)
        begin = time.perf_counter()
        try:
            chunk = policy.predict_chunk(observation)
        except InstructionError:  # refusing what was asked is a failure, and no reason to stop
            chunk = None
        latencies_ms.append(1e3 * (time.perf_counter() - begin))
        if chunk is None:
            break
        if "planning_ms" in chunk.diagnostics:
            planning_ms.append(chunk.diagnostics["planning_ms"])
            for name, total in PLANNING.items():
                counts[total] += round(chunk.diagnostics[name])
        looked_at, idle = arm.now, arm.idle
        delay = timing.delay_ticks(latencies_ms[-1], arm.tick_ns / 1e6)
        arm.run_until(looked_at + delay)
        rows = rows_on_arrival(
            chunk, observation, delay, arm.idle - idle, arm.tick_ns, timing.late_chunks
        )
        arm.follow(rows)
        arm.run_until(
            next_look(timing, looked_at, looked_at + delay, rows, execute_steps, arm.period)
        )
    on_step(env)
    world, _ = env.running()
    return EpisodeResult(
        env_id=env_id(env.task.name),
        seed=seed,
        instruction=values["instruction"],
        target=info["target"],
        success=arm.success,
        steps=-(-arm.now // arm.period),
        first_touched=world.first_touched,
        first_touch_fits=world.first_touched in first_touches,
        lifted=arm.lifted,
        held_at_end=arm.holding,
        idle_share=arm.idle / max(arm.now, 1),
        jerk_rad_s3=arm.smoothness.jerk_rad_s3,
        latencies_ms=tuple(latencies_ms),
        planning_ms=tuple(planning_ms),
        planning_counts=dict(counts) if planning_ms else {},
    )


def black_images(env: TabletopEnv, policy: Policy) -> dict[str, NDArray[np.uint8]]:
    """What a policy sees that is to see nothing: (h, w, 3) for each of its cameras."""
    size = env.image_size_px
    return {camera: np.zeros((size, size, 3), np.uint8) for camera in policy.cameras}


def another_item(env: TabletopEnv, seed: int) -> str:
    """The name of something else in the present scene that the instruction could be about."""
    _, episode = env.running()
    others = [name for name in env.task.targets(episode) if name != episode.target]
    if not others:
        raise ValueError(f"seed {seed}: no other item to name, only {episode.target!r}")
    rng = np.random.default_rng([seed, 0x54A9])
    return others[int(rng.integers(len(others)))]
