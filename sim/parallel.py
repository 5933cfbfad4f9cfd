"""Do many independent jobs in several processes and hand the results back in order.

Collection and evaluation both use it: the result is the same whatever the number of workers.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker


class WorkerError(RuntimeError):
    """A worker process ended without an answer (killed, or out of memory)."""


def ordered_map[Job, Result](
    work: Callable[[Job], Result],
    jobs: Iterable[Job],
    workers: int,
    prepare: Callable[[], object] | None = None,
) -> Iterator[Result]:
    """Yield `work(job)` for every job, in the order of the jobs.

    With one worker the jobs run in this process, after `prepare`; otherwise in `workers` fresh
    processes, each calling `prepare` first. `work`, `prepare` and the jobs must be picklable. Jobs
    are taken from `jobs` only a few ahead of the results, so it may be endless. Closing the
    iterator ends the processes, and so does the end of this process, however it comes. Raises what
    a job raises, `WorkerError` when a process dies.
    """
    if workers < 1:
        raise ValueError(f"workers: expected 1 or more, got {workers}")
    if workers == 1:
        if prepare is not None:
            prepare()
        yield from map(work, jobs)
        return
    # Fresh processes, not forks: graphics contexts and thread pools do not survive a fork.
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(prepare,),
    )
    pending: deque[Future[Result]] = deque()
    try:
        for job in jobs:
            with interrupts_kept_from_children():  # the first calls start the processes
                pending.append(pool.submit(work, job))
            if len(pending) >= 4 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool as error:
        raise WorkerError(
            f"one of the {workers} worker processes died (killed, or out of memory); "
            "try fewer workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def interrupts_kept_from_children() -> Iterator[None]:
    """Processes started within never get a Ctrl-C; this one gets it, at the latest afterwards."""
    resource_tracker.ensure_running()  # starting it would let signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def interrupts_deferred() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C within only makes the yielded function return True; the second raises."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted.is_set
        return

    def note(number: int, frame: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _begin(prepare: Callable[[], object] | None) -> None:
    """The start of a worker process."""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    if prepare is not None:
        prepare()


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)  # killed: nobody waits for the answer
