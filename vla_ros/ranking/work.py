"""One episode in both worlds, as a job for a worker, which keeps what it has loaded."""

from __future__ import annotations

from dataclasses import dataclass

from sim.env import ACTION_HIGH, ACTION_LOW, to_observation
from sim.evaluation import work
from vla_ros.planners import model_for_this_robot
from vla_ros.ranking.settings import Job
from world_models.acting import ActingConfig, act
from world_models.dynamics import Decoding
from world_models.interface import Context
from world_models.novelty import doubt_signal, start_signals
from world_models.state import context_of


@dataclass(frozen=True)
class Episode:
    """What was imagined of an episode, and how it ended in MuJoCo."""

    policy: str  # the contestant's label
    variant: str
    env_id: str
    seed: int
    instruction: str
    imagined_success: bool
    probability: float  # of success, as it was imagined
    likeliest: float  # predicted success of the frame in which it was highest
    imagined_steps: int
    signals: dict[str, float]  # see `world_models.novelty`
    simulated_success: bool | None  # None: not simulated here


def run_job(job: Job) -> Episode:
    """Imagine the episode from its real first frame, then simulate it if that is asked for."""
    ranking = job.ranking
    model = model_for_this_robot(ranking.world_model, ranking.device)
    evaluation = ranking.evaluation(job.contestant, job.variant)
    _, policy = work.prepared(evaluation, job.env_id)
    camera = model.config.camera
    env = work.environment(job.env_id, (camera,), job.variant)
    values, _ = env.reset(seed=job.seed)
    start = to_observation(values)
    size = model.config.tokenizer.image_size_px
    context: Context = context_of([start], [], camera, size)
    starts = {name: float(value[0]) for name, value in start_signals(model, context).items()}
    config = ActingConfig(
        env.task.max_steps,
        (ACTION_LOW, ACTION_HIGH),
        job.contestant.execute_steps,
        ranking.threshold,
        Decoding(ranking.decode_steps),
    )
    imagined = act(model, policy, start, config, job.seed)
    simulated = None
    if job.simulate:
        simulated = work.run_job(work.Job(evaluation, 0, job.env_id, job.seed)).result.success
    return Episode(
        job.contestant.label,
        job.variant,
        job.env_id,
        job.seed,
        start.instruction,
        imagined.success,
        imagined.probability,
        imagined.likeliest,
        imagined.steps,
        {**starts, **doubt_signal(imagined.doubts)},
        simulated,
    )
