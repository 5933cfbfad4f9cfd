"""The line alone, in one event loop: who is served with whom, and what a policy may do to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from policies.interface import ActionChunk, ObservationError
from policies.serving.line import Line, Reset


def in_line(policy: Any, work: Callable[[Line], Awaitable[Any]], max_batch: int = 1) -> Any:
    """Runs `work` with a line that serves `policy`."""

    async def main() -> Any:
        line = Line(policy, max_batch)
        running = asyncio.create_task(line.run())
        try:
            return await asyncio.wait_for(work(line), 30)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    return asyncio.run(main())


def test_questions_that_wait_together_are_answered_together(mirror: Any, observe: Any) -> None:
    async def work(line: Line) -> list[Any]:
        return await asyncio.gather(*(line.ask(observe(value)) for value in (10, 20, 30)))

    served = in_line(mirror, work, max_batch=2)
    assert [each.chunk.actions[0, 0] for each in served] == pytest.approx([0.01, 0.02, 0.03])
    assert mirror.batches == [2]  # and the third alone
    assert len(mirror.seen) == 3


def test_one_by_one_unless_asked_otherwise(mirror: Any, observe: Any) -> None:
    async def work(line: Line) -> None:
        await asyncio.gather(*(line.ask(observe(value)) for value in (10, 20, 30)))

    in_line(mirror, work)
    assert mirror.batches == []
    assert [int(each.images["front"].mean()) for each in mirror.seen] == [10, 20, 30]


def test_a_reset_comes_right_before_its_question(mirror: Any, observe: Any) -> None:
    async def work(line: Line) -> None:
        await asyncio.gather(line.ask(observe()), line.ask(observe(), Reset(seed=4)))

    in_line(mirror, work, max_batch=2)
    assert mirror.resets == [4]
    assert mirror.batches == []  # an episode that begins is no matter for a batch


def test_the_waiting_time_is_told(mirror: Any, observe: Any) -> None:
    now_s = iter([10.0, 10.0, 11.0, 13.0, 13.5, 14.0])  # asked twice; begin, end; begin, end

    async def main() -> list[Any]:
        line = Line(mirror, monotonic_s=lambda: next(now_s))
        running = asyncio.create_task(line.run())
        served = await asyncio.gather(line.ask(observe()), line.ask(observe()))
        running.cancel()
        return served

    first, second = asyncio.run(main())
    assert (first.queue_ms, first.inference_ms) == (1000.0, 2000.0)
    assert (second.queue_ms, second.inference_ms) == (3500.0, 500.0)


@pytest.mark.parametrize("error", [StopIteration("over"), KeyError("x"), ObservationError("no")])
def test_no_exception_of_a_policy_ends_the_line(mirror: Any, observe: Any, error: Any) -> None:
    original = mirror.predict_chunk

    def fail(observation: Any) -> ActionChunk:
        mirror.predict_chunk = original
        raise error

    mirror.predict_chunk = fail

    async def work(line: Line) -> Any:
        outcome = await asyncio.gather(line.ask(observe()), return_exceptions=True)
        return outcome[0], await line.ask(observe(50))

    raised, served = in_line(mirror, work)
    assert isinstance(raised, Exception)
    assert served.chunk.actions[0, 0] == pytest.approx(0.05)


def test_a_batch_of_the_wrong_length_is_done_again_one_by_one(mirror: Any, observe: Any) -> None:
    mirror.predict_chunks = lambda seen: [ActionChunk(np.zeros((1, 7)), 0, 0.1)]

    async def work(line: Line) -> list[Any]:
        return await asyncio.gather(*(line.ask(observe(value)) for value in (10, 20)))

    served = in_line(mirror, work, max_batch=2)
    assert [each.chunk.actions[0, 0] for each in served] == pytest.approx([0.01, 0.02])


def test_who_is_gone_is_not_served(mirror: Any, observe: Any) -> None:
    async def work(line: Line) -> None:
        gone = asyncio.create_task(line.ask(observe(10)))
        await asyncio.sleep(0)
        gone.cancel()
        await line.ask(observe(20))

    in_line(mirror, work)
    assert [int(each.images["front"].mean()) for each in mirror.seen] == [20]


def test_whoever_waits_when_it_ends_is_told(mirror: Any, observe: Any) -> None:
    mirror.go_on.clear()

    async def main() -> None:
        line = Line(mirror)
        running = asyncio.create_task(line.run())
        waiting = [asyncio.create_task(line.ask(observe())) for _ in range(2)]
        await asyncio.to_thread(mirror.entered.wait, 30)
        running.cancel()
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(outcome, ConnectionError)
        with pytest.raises(ConnectionError, match="the server stops"):
            await line.ask(observe())
        mirror.go_on.set()

    asyncio.run(main())
