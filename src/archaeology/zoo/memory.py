"""Peak memory of one step, measured in a process of its own whose allocator keeps nothing back.

One child serves all mechanisms and lengths, asked by lines of JSON; if it dies (the kernel ends what takes too much),
the next question starts another.
"""

import json
import os
import selectors
import subprocess
import sys
from types import TracebackType

from archaeology.core.memory import RETURNING
from archaeology.zoo.config import ZooConfig

LEAST_WAIT = 120.0  # seconds, in which also the child must start


class MemoryChild:
    """Asks a child process how much memory a step takes."""

    def __init__(self, config: ZooConfig) -> None:
        """`config` goes to the child with each question."""
        self.config = config
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "MemoryChild":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def ask(self, name: str, length: int) -> dict[str, float]:
        """Mebibytes beyond the inputs, for each step.

        Raises:
            MemoryError: If the child died or did not answer in time.
        """
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        question = {"mechanism": name, "length": length, "config": self.config.model_dump(mode="json")}
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it died before; the empty answer below says so
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            in_time = selector.select(timeout=LEAST_WAIT + 10 * self.config.patience)
        line = process.stdout.readline() if in_time else ""
        if not line:
            self.stop()
            raise MemoryError(
                f"the process that measures memory ended with code {process.returncode}"
                if in_time
                else "the process that measures memory did not answer"
            )
        return json.loads(line)

    def _start(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "archaeology.zoo.memory_child"],
            env=os.environ | RETURNING,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self._process

    def stop(self) -> None:
        """End the child, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()
