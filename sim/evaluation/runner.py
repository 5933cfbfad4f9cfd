"""Runs every episode of an evaluation, in workers here or in a cluster, and adds them up.

Episode i of every environment has the seed `seed + i`; the outcome does not depend on the number of
workers nor on where they are (latencies do, and with `realtime` everything).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gymnasium.utils import seeding

from sim import task_name
from sim.evaluation.episode import EpisodeResult
from sim.evaluation.journal import Journal
from sim.evaluation.settings import Evaluation
from sim.evaluation.summary import summarize_conditions
from sim.evaluation.work import Done, Job, run_job, use_one_thread, video_name
from sim.files import write_bytes
from sim.parallel import ordered_map
from sim.scenes import find_task
from sim.variants import find_variant


def evaluate(
    evaluation: Evaluation,
    on_episode: Callable[[EpisodeResult], None] = lambda result: None,
) -> dict[str, Any]:
    """Run all episodes and return the summary that `vla-ros evaluate --json` writes.

    Raises what `load_policy` raises for an unknown or broken policy.
    """
    return evaluate_all([evaluation], lambda done: on_episode(done.result))


def evaluate_kept(evaluation: Evaluation, file: Path) -> dict[str, Any]:
    """`evaluate`, with every episode kept in a journal beside `file` until all are over: the same
    call goes on with those of an interrupted one.
    """
    journal = Journal.begin(file, [evaluation], resume=True)
    try:
        summary = evaluate_all([evaluation], journal=journal)
    finally:
        journal.close()
    journal.remove()
    return summary


def evaluate_all(
    evaluations: Sequence[Evaluation],
    on_episode: Callable[[Done], None] = lambda done: None,
    journal: Journal | None = None,
    film: bool = False,
) -> dict[str, Any]:
    """Run evaluations that differ in variant or timing only, one after the other.

    With `film` every `Done` has its video. A `journal` keeps every episode as soon as it is
    over, and those that it has are not run again (`on_episode` gets them all, in order).
    """
    _check_first_episodes(evaluations)
    jobs = [
        Job(
            evaluation,
            condition,
            env_id,
            evaluation.seed + index,
            film or evaluation.video_folder is not None,
        )
        for condition, evaluation in enumerate(evaluations)
        for env_id in evaluation.env_ids
        for index in range(evaluation.episodes)
    ]
    results: list[list[EpisodeResult]] = [[] for _ in evaluations]
    stream = _stream(jobs, evaluations[0], journal)
    try:
        for done in stream:
            folder = evaluations[done.condition].video_folder
            if folder is not None and done.mp4 is not None:
                write_bytes(folder / video_name(done.result), done.mp4)
            on_episode(done)
            results[done.condition].append(done.result)
    finally:
        stream.close()  # type: ignore[attr-defined]  # ends the workers
    return summarize_conditions(evaluations, results)


def _check_first_episodes(evaluations: Sequence[Evaluation]) -> None:
    """Draw every environment's first episode, and ask whether every variant can be rendered here.

    What the arm cannot reach and a renderer that is missing are said before any episode runs.
    """
    first = evaluations[0]
    for env_id in first.env_ids:
        find_task(task_name(env_id)).sample(seeding.np_random(first.seed)[0])
    if first.backend == "processes":  # a cluster's nodes have renderers of their own
        for variant in dict.fromkeys(evaluation.variant for evaluation in evaluations):
            find_variant(variant).check()


def _stream(jobs: Sequence[Job], evaluation: Evaluation, journal: Journal | None) -> Iterator[Done]:
    """What was done for every job, in order: from the journal, or by the workers."""
    known = {} if journal is None else journal.known
    todo = [job for job in jobs if job.key not in known]
    fresh = _map(evaluation)(run_job, todo, evaluation.workers, use_one_thread)
    try:
        for job in jobs:
            if job.key in known:
                yield Done(job.condition, known[job.key])
                continue
            done = next(fresh)
            if journal is not None:
                journal.add(job.key, done.result)
            yield done
    finally:
        fresh.close()  # type: ignore[attr-defined]


def _map(evaluation: Evaluation) -> Callable[..., Iterator[Done]]:
    if evaluation.backend == "ray":
        from sim.evaluation.ray_backend import ray_map  # an optional dependency

        return partial(ray_map, on_gpu=evaluation.device.startswith("cuda"))
    return ordered_map
