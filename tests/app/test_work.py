"""The one thread: like with like, bounded, out of the way of what is long."""

import asyncio
import threading
import time

import pytest

from archaeology.app.refusal import Refusal
from archaeology.app.work import MOST_LONG, MOST_TOGETHER, Worker


def with_worker(story, waiting=50, seconds=20.0):
    async def whole():
        worker = Worker(waiting, seconds)
        worker.start()
        try:
            return await story(worker)
        finally:
            await asyncio.to_thread(worker.stop)

    return asyncio.run(whole())


def held(worker):
    """A job that keeps the thread busy until it is let go."""
    go, begun = threading.Event(), threading.Event()

    def run(items):
        begun.set()
        go.wait(20)
        return items

    job = worker.begin(run, "held")
    assert begun.wait(20)
    return go, job


def test_jobs_that_want_alike_are_done_together_and_others_are_not():
    sizes = []

    def double(items):
        sizes.append(len(items))
        return [2 * item for item in items]

    async def story(worker):
        go, _ = held(worker)
        jobs = [asyncio.ensure_future(worker.do(double, item, "alike")) for item in range(11)]
        jobs.append(asyncio.ensure_future(worker.do(double, 50, "other")))
        jobs += [asyncio.ensure_future(worker.do(double, 60, None)) for _ in range(2)]
        await asyncio.sleep(0.05)
        go.set()
        return await asyncio.gather(*jobs)

    assert with_worker(story) == [2 * item for item in range(11)] + [100, 120, 120]
    assert sorted(sizes) == [1, 1, 1, 3, MOST_TOGETHER]


def test_a_bad_one_harms_no_other():
    def fail(items):
        if 3 in items:
            raise ValueError("3 is bad")
        return items

    async def story(worker):
        go, _ = held(worker)
        jobs = [asyncio.ensure_future(worker.do(fail, item, "alike")) for item in range(5)]
        await asyncio.sleep(0.05)
        go.set()
        return await asyncio.gather(*jobs, return_exceptions=True)

    found = with_worker(story)
    assert found[:3] == [0, 1, 2] and found[4] == 4
    assert isinstance(found[3], Refusal) and found[3].status == 422 and "3 is bad" in found[3].words


def test_too_many_and_too_slow_are_503_with_a_time_to_come_back():
    async def story(worker):
        go, _ = held(worker)
        waiting = [asyncio.ensure_future(worker.do(list, 1)) for _ in range(2)]
        await asyncio.sleep(0.02)
        with pytest.raises(Refusal, match="2 requests are waiting") as full:
            await worker.do(list, 1)
        slow = await asyncio.gather(*waiting, return_exceptions=True)
        go.set()
        return full.value, *slow

    for refusal in with_worker(story, waiting=2, seconds=0.1):
        assert refusal.status == 503 and refusal.retry_after


def test_what_nobody_waits_for_is_not_done():
    done = []

    async def story(worker):
        go, _ = held(worker)
        job = asyncio.ensure_future(worker.do(lambda items: done.append(1) or items, 1))
        await asyncio.sleep(0.02)
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
        go.set()
        return await worker.do(lambda items: items, "after")

    assert with_worker(story) == "after" and not done


def test_what_nobody_waits_for_keeps_no_place():
    async def story(worker):
        go, _ = held(worker)
        left = [asyncio.ensure_future(worker.do(list, 1)) for _ in range(2)]
        long = [worker.begin(list, 1) for _ in range(MOST_LONG)]
        await asyncio.sleep(0.02)
        for job in left:
            job.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        worker.withdraw(long[3])
        assert len(worker._long) == MOST_LONG - 1 and not worker._short
        with pytest.raises(Refusal, match="stopped while it waited"):
            await long[3].answer  # at once, though the thread is busy
        again = asyncio.ensure_future(worker.do(list, [1]))
        last = worker.begin(lambda items: items, "last")
        await asyncio.sleep(0.02)
        go.set()
        return await again, await last.answer

    assert with_worker(story, waiting=2) == ([1], "last")


def test_short_jobs_are_done_between_the_steps_of_a_long_one():
    async def story(worker):
        is_over = threading.Event()

        def long(items):
            while not is_over.wait(0.005):
                worker.breathe()
            return items

        job = worker.begin(long, "long")
        answers = [await worker.do(lambda items: items, number) for number in range(3)]
        is_over.set()
        return answers, await job.answer

    assert with_worker(story) == ([0, 1, 2], "long")


def test_stopping_refuses_what_waits():
    async def story(worker):
        go, _ = held(worker)
        waiting = asyncio.ensure_future(worker.do(list, 1))
        await asyncio.sleep(0.02)
        threading.Timer(0.1, go.set).start()
        started = time.monotonic()
        await asyncio.to_thread(worker.stop)
        assert time.monotonic() - started < 3
        with pytest.raises(Refusal, match="being stopped"):
            await waiting
        with pytest.raises(Refusal, match="being stopped"):
            await worker.do(list, 1)

    with_worker(story)
