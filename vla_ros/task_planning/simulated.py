"""Plans carried out in a simulated scene: every step judged by its own task's `success`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from policies.interface import InstructionError, Policy
from sim.env import TabletopEnv, to_observation
from sim.motion import CONTROL_RATE_HZ
from sim.policies import ExpertPolicy
from sim.tasks import TASKS, Episode, Stage
from vla_ros.task_planning.executive import Executive, ExecutiveSettings
from vla_ros.task_planning.phrases import CARRIED
from vla_ros.task_planning.step import Step, TaskPlanningError


def scene_names(env: TabletopEnv) -> tuple[str, ...]:
    """The things of the present episode."""
    _, episode = env.running()
    return tuple(episode.scene.names)


def part_of(episode: Episode, step: Step) -> Episode:
    """The episode as if only this step had been asked for. Raises `TaskPlanningError`."""
    missing = [
        name for name in (step.target, step.destination) if name and name not in episode.scene.names
    ]
    if missing:
        raise TaskPlanningError(
            f"{step.instruction}: no {missing[0]} in the scene; it has "
            f"{', '.join(episode.scene.names)}"
        )
    return replace(
        episode,
        instruction=step.instruction,
        target=step.target or episode.target,
        destination=step.destination,
        direction=step.direction,
        stages=_sorted_stages(episode) if step.task == "Sort" else (),
    )


def _sorted_stages(episode: Episode) -> tuple[Stage, ...]:
    """Every item into its color's bowl. Raises `TaskPlanningError` where there is none to sort."""
    items = episode.scene.items
    bowls = [item.name for item in items if item.is_bowl]
    stages = tuple(
        Stage("PickPlace", item.name, bowl)
        for item in items
        if item.shape in CARRIED and (bowl := f"{item.color} bowl") in bowls
    )
    if not stages:
        raise TaskPlanningError(
            f"sort: no item has a bowl of its color; there are {', '.join(episode.scene.names)}"
        )
    return stages


def carry_out(
    env: TabletopEnv,
    steps: tuple[Step, ...],
    policy: Policy,
    settings: ExecutiveSettings,
    on_change: Callable[[Executive], None] = lambda executive: None,
) -> Executive:
    """Let `policy` do the steps in the present episode of `env`; time is simulated.

    Each step gets its instruction, its task's judgement, and another attempt when it fails. The
    environment's own task and episode are put back at the end.
    """
    world, whole = env.running()
    task = env.task
    begin_ns = round(world.time_s * 1e9)
    executive = Executive(steps, settings, begin_ns)
    parts = [part_of(whole, step) for step in steps]
    on_change(executive)
    policy.reset()
    try:
        while not executive.finished:
            now_ns = round(world.time_s * 1e9)
            env.task, env.episode = TASKS[steps[executive.index].task](), parts[executive.index]
            if not executive.instruction:
                env.hold(1.0 / CONTROL_RATE_HZ)
            elif not env.succeeded():
                _act(env, policy, now_ns)
            done = executive.instruction and env.succeeded()
            if executive.update(round(world.time_s * 1e9), "done" if done else None):
                policy.reset()
                on_change(executive)
    finally:
        env.task, env.episode = task, whole
    return executive


def _act(env: TabletopEnv, policy: Policy, stamp_ns: int) -> None:
    """One look, and its chunk until the step is done. What is not understood is not done."""
    values, _ = env.observe()
    try:
        chunk = policy.predict_chunk(to_observation(values, stamp_ns))
    except InstructionError:
        env.hold(1.0 / CONTROL_RATE_HZ)
        return
    for action in chunk.actions:
        env.move(action)
        if env.succeeded():
            return


def expert_of(env: TabletopEnv) -> Policy:
    """The scripted expert of whatever step is at work."""
    return ExpertPolicy(env)
