"""One line for all robots: a policy computes in a thread of its own, in the order of asking.

Every connection has one question in the line at most (its next is read when this one has been
answered), so that the line is fair: nobody is served twice while another waits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from policies.interface import ActionChunk, Observation, Policy

logger = logging.getLogger(__name__)

STOPPED = "the server stops"


@dataclass(frozen=True)
class Reset:
    """Forget the last episode before this question."""

    seed: int | None = None


@dataclass(frozen=True)
class Served:
    """A chunk and how long it took."""

    chunk: ActionChunk
    queue_ms: float  # waiting for others
    inference_ms: float  # of the batch it was in


@dataclass(eq=False)
class _Job:
    observation: Observation
    reset: Reset | None
    since_s: float
    future: asyncio.Future[Served | Exception]


class Line:
    """Start `run` as a task; `ask` then answers. `max_batch` questions are computed together where
    the policy can (`predict_chunks`); with 1 an answer never depends on who else asks.
    """

    def __init__(
        self,
        policy: Policy,
        max_batch: int = 1,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._predict_many = getattr(policy, "predict_chunks", None)
        self._max_batch = max_batch if self._predict_many is not None else 1
        self._monotonic_s = monotonic_s
        self._waiting: deque[_Job] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    async def ask(self, observation: Observation, reset: Reset | None = None) -> Served:
        """Raises what the policy raises, `ConnectionError` when nobody serves any more."""
        if self._closed:
            raise ConnectionError(STOPPED)
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(_Job(observation, reset, self._monotonic_s(), future))
        self._wake.set()
        served = await future
        if isinstance(served, Exception):
            raise served
        return served

    async def run(self) -> None:
        """Serve until cancelled; whoever waits then is told so."""
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, thread_name_prefix="inference")
        batch: list[_Job] = []
        try:
            while True:
                await self._wake.wait()
                batch = self._take()
                if not batch:
                    self._wake.clear()
                    continue
                started_s = self._monotonic_s()
                outcomes = await loop.run_in_executor(thread, self._work, batch)
                inference_ms = (self._monotonic_s() - started_s) * 1e3
                for job, outcome in zip(batch, outcomes, strict=True):
                    if isinstance(outcome, Exception):
                        _settle(job, outcome)
                    else:
                        queue_ms = (started_s - job.since_s) * 1e3
                        _settle(job, Served(outcome, queue_ms, inference_ms))
        finally:
            self._closed = True
            for job in (*batch, *self._waiting):
                _settle(job, ConnectionError(STOPPED))
            thread.shutdown(wait=False, cancel_futures=True)

    def _take(self) -> list[_Job]:
        """The longest waiting, without those that nobody waits for any more."""
        batch: list[_Job] = []
        while self._waiting and len(batch) < self._max_batch:
            job = self._waiting.popleft()
            if not job.future.done():
                batch.append(job)
        return batch

    def _work(self, batch: Sequence[_Job]) -> list[ActionChunk | Exception]:
        """In the thread: a chunk for each, or what went wrong with it."""
        observations = [job.observation for job in batch]
        if len(batch) > 1 and not any(job.reset for job in batch):
            try:
                chunks = list(self._predict_many(observations))  # type: ignore[misc]
                if len(chunks) == len(batch):
                    return chunks
            except Exception as error:  # one of them is at fault; asked one by one it is found
                logger.debug("a batch of %d failed: %s", len(batch), error)
        return [self._one(job) for job in batch]

    def _one(self, job: _Job) -> ActionChunk | Exception:
        try:
            if job.reset is not None:
                self._policy.reset(job.reset.seed)
            return self._policy.predict_chunk(job.observation)
        except Exception as error:  # a policy may be anybody's code: the server goes on
            return error


def _settle(job: _Job, outcome: Served | Exception) -> None:
    """Tell whoever waits for it, if somebody still does."""
    if not job.future.done():
        job.future.set_result(outcome)
