"""`sim.parallel.ordered_map` over a Ray cluster: the same jobs and results, on many machines.

Needs the optional extra `ray`. `RAY_ADDRESS` names the cluster; without it one is started here.
Every node needs this package installed, and the checkpoint at the same path.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from sim.parallel import WorkerError


def ray_map[Job, Result](
    work: Callable[[Job], Result],
    jobs: Iterable[Job],
    workers: int,
    prepare: Callable[[], object] | None = None,
    on_gpu: bool = False,
) -> Iterator[Result]:
    """Yield `work(job)` for every job, in the order of the jobs.

    `workers` actors of one CPU each are spread over the nodes; each calls `prepare` first and
    keeps what it has loaded. `on_gpu` shares the cluster's GPUs among them. Raises what a job
    raises, `WorkerError` when there is no Ray, no room for the workers, or when one dies.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise WorkerError(
            "backend: ray is not installed; pip install -e '.[ray]' -c constraints.txt"
        ) from error

    started_here = not ray.is_initialized()
    if started_here:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            ray.init(address=os.environ.get("RAY_ADDRESS"), log_to_driver=False)
        except (ConnectionError, ValueError) as error:
            raise WorkerError(f"backend: no Ray cluster answers: {error}") from error
    try:
        cpus = int(ray.cluster_resources().get("CPU", 0))
        if workers > cpus:
            raise WorkerError(f"workers: the Ray cluster has {cpus} CPUs, got {workers}")
        gpus = ray.cluster_resources().get("GPU", 0) if on_gpu else 0
        options = {"num_cpus": 1, "num_gpus": min(1.0, gpus / workers)}
        yield from _over_actors(ray, options, work, jobs, workers, prepare)
    finally:
        if started_here:
            ray.shutdown()


def _over_actors(ray, options, work, jobs, workers, prepare) -> Iterator:
    """`ray_map` when Ray runs; `options` are an actor's."""

    @ray.remote(scheduling_strategy="SPREAD", **options)
    class Worker:
        def __init__(self) -> None:
            if prepare is not None:
                prepare()

        def run(self, job):
            return work(job)

    actors = [Worker.remote() for _ in range(workers)]  # type: ignore[attr-defined]
    idle = deque(actors)
    running: dict = {}  # reference of a job that runs -> the actor
    waiting: deque = deque()  # references in the order of the jobs
    remaining = iter(jobs)
    try:
        exhausted = False
        while True:
            while idle and not exhausted and len(waiting) < 4 * workers:
                try:
                    job = next(remaining)
                except StopIteration:
                    exhausted = True
                    break
                actor = idle.popleft()
                reference = actor.run.remote(job)
                running[reference] = actor
                waiting.append(reference)
            if not waiting:
                return
            if waiting[0] in running:
                ready, _ = ray.wait(list(running), num_returns=1)
                for reference in ready:
                    idle.append(running.pop(reference))
                continue
            yield ray.get(waiting.popleft())
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayActorError as error:
        raise WorkerError(f"one of the {workers} Ray workers died: {error}") from error
    finally:
        for actor in actors:
            ray.kill(actor)
