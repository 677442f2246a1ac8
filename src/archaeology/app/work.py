"""One thread works with the models; requests wait in a line of bounded length, and those that want alike go together.

Between two steps of a long job (an attack) the thread turns to the short ones that wait, so that nobody's image waits
for somebody else's attack, and still no two passes fight for the same processor.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from archaeology.app.refusal import Refusal, too_busy
from archaeology.core.errors import SelfCheckError

log = logging.getLogger("archaeology.app")
MOST_TOGETHER = 8
MOST_LONG = 16

Run = Callable[[list[Any]], list[Any]]


@dataclass(eq=False)
class Job:
    """Something to be done by the thread.

    Attributes:
        run: Given the items of jobs of the same key, answers for each.
        item: What this job is about.
        key: Jobs of equal keys can be done together; None for one that is done alone.
        answer: Of the one who waits.
    """

    run: Run
    item: Any
    key: Hashable
    answer: asyncio.Future[Any]

    def settle(self, result: Any, error: BaseException | None) -> None:
        """Hand over what came of it, from any thread."""

        def hand_over() -> None:
            if self.answer.done():
                return
            if error is None:
                self.answer.set_result(result)
            else:
                self.answer.set_exception(error)

        try:
            self.answer.get_loop().call_soon_threadsafe(hand_over)
        except RuntimeError:  # the loop is closed: the server has stopped
            log.debug("an answer came after the server had stopped")


class Worker:
    """The thread and its line."""

    def __init__(self, waiting: int, seconds: float, threads: int | None = None) -> None:
        """Make a worker; `start` starts its thread.

        Args:
            waiting: Short jobs that may wait.
            seconds: That one may wait and compute.
            threads: Of PyTorch, for each pass.
        """
        self._waiting, self._seconds, self._threads = waiting, seconds, threads
        self._short: deque[Job] = deque()
        self._long: deque[Job] = deque()
        self._news = threading.Condition()
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._live, name="models", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """Refuse what waits, and wait for what runs, but not forever."""
        self.stopping.set()
        with self._news:
            left = [*self._short, *self._long]
            self._short.clear()
            self._long.clear()
            self._news.notify_all()
        for job in left:
            job.settle(None, too_busy("The app is being stopped."))
        if self._thread.is_alive():
            self._thread.join(seconds)

    async def do(self, run: Run, item: Any, key: Hashable = None) -> Any:
        """Have a short job done.

        Raises:
            Refusal: 503, if too many wait, or it takes too long.
        """
        job = self._enter(self._short, self._waiting, run, item, key)
        try:
            return await asyncio.wait_for(job.answer, self._seconds)
        except TimeoutError:
            raise too_busy(
                f"The models had no answer within {self._seconds:g} seconds; try again when there is less to do.",
                5,
            ) from None
        finally:
            self.withdraw(job)

    def begin(self, run: Run, item: Any) -> Job:
        """Have a long job done, whose `run` calls `breathe` between its steps.

        Raises:
            Refusal: 503, if too many wait.
        """
        return self._enter(self._long, MOST_LONG, run, item, None)

    def withdraw(self, job: Job) -> None:
        """Take a job that nobody waits for any more out of the line, and free its place; from any thread."""
        with self._news:
            line = next((line for line in (self._short, self._long) if job in line), None)
            if line is None:
                return
            line.remove(job)
        job.settle(None, Refusal(499, "It was stopped while it waited."))

    def breathe(self) -> None:
        """Do short jobs that wait, once; called by a long job in the thread."""
        if together := self._take(self._short):
            done(together)

    def _enter(self, line: deque[Job], most: int, run: Run, item: Any, key: Hashable) -> Job:
        job = Job(run, item, key, asyncio.get_running_loop().create_future())
        with self._news:
            if self.stopping.is_set():
                raise too_busy("The app is being stopped.")
            if len(line) >= most:
                raise too_busy(
                    f"{len(line)} requests are waiting for the models already; try again in a moment."
                )
            line.append(job)
            self._news.notify_all()
        return job

    def _live(self) -> None:
        if self._threads is not None:
            import torch

            torch.set_num_threads(self._threads)
        while not self.stopping.is_set():
            with self._news:
                while not (self._short or self._long or self.stopping.is_set()):
                    self._news.wait()
            if together := self._take(self._short) or self._take(self._long):
                done(together)

    def _take(self, line: deque[Job]) -> list[Job]:
        """The first job, with those behind it that can be done together."""
        with self._news:
            if not line:
                return []
            together = [line.popleft()]
            if together[0].key is None:
                return together
            for job in list(line):
                if job.key == together[0].key and len(together) < MOST_TOGETHER:
                    together.append(job)
                    line.remove(job)
            return together


def done(together: list[Job]) -> None:
    """Do some jobs; where they fail together each is tried alone, so that a bad one harms no other."""
    try:
        answers = together[0].run([job.item for job in together])
    except Exception as error:
        if len(together) > 1:
            for job in together:
                done([job])
            return
        together[0].settle(None, explained(error))
        return
    for job, answer in zip(together, answers, strict=True):
        job.settle(answer, None)


def explained(error: Exception) -> Exception:
    """An error as an answer: what our own code objects to, in its words; anything else goes on as it is."""
    if isinstance(error, ValueError | SelfCheckError):
        log.warning("a request failed: %s", error)
        return Refusal(422, str(error))
    return error
