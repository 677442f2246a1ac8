"""Images of strangers are decoded in processes that may die (`decoder.py`): a few of them, warm, watched by a clock."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from archaeology.app.config import Limits
from archaeology.app.decoder import SIZE, Frame
from archaeology.app.refusal import Refusal, too_busy

SECONDS = 15.0
DIED = "The image could not be decoded with the memory and time there are for one; save it again, or smaller."


@dataclass(frozen=True, eq=False)
class Picture:
    """An image as it is kept.

    Attributes:
        pixels: 8-bit RGB.
        original: Width and height of the file as a person sees it, which may have been larger.
        title: What it is called; never the name of an uploaded file.
        label: What is right, where that is known.
        exact: The same in [0, 1] before it was rounded to 8 bits; None where the pixels are all there is.
    """

    pixels: UInt8[np.ndarray, "height width channel"]
    original: tuple[int, int]
    title: str
    label: str | None = None
    exact: Float[np.ndarray, "height width channel"] | None = None

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self.pixels.nbytes + (0 if self.exact is None else self.exact.nbytes)


class Decoders:
    """A pool of processes that decode; one that dies or takes too long is replaced, and costs one upload."""

    def __init__(self, limits: Limits, seconds: float = SECONDS) -> None:
        self._limits = limits
        self._seconds = seconds
        self._idle: asyncio.Queue[asyncio.subprocess.Process | None] = asyncio.Queue()

    async def start(self) -> None:
        """Start all processes, so that the first upload is as fast as the others."""
        for process in await asyncio.gather(*(warm() for _ in range(self._limits.decoders))):
            self._idle.put_nowait(process)

    async def stop(self) -> None:
        """End all processes."""
        for _ in range(self._limits.decoders):
            process = await self._idle.get()
            if process is not None:
                await ended(process)

    async def decode(self, data: bytes | bytearray, longest: int, frame: Frame | None = None) -> Picture:
        """The picture in a file.

        Args:
            data: The file.
            longest: Side in pixels above which it is made smaller, where it has no frame.
            frame: What it is scaled and cut to, as the model sees it.

        Raises:
            Refusal: 413 or 422, if it is too large or broken; 503, if no process is free in time.
        """
        try:
            process = await asyncio.wait_for(self._idle.get(), self._limits.seconds)
        except TimeoutError:
            raise too_busy("Too many images are being decoded; try again in a moment.") from None
        job = {"bytes": len(data), "pixels": self._limits.pixels, "side": longest, "frame": frame}
        is_well = False
        try:
            if process is None or process.returncode is not None:
                process = await started()
            said, pixels = await asyncio.wait_for(asked(process, job, data), self._seconds)
            is_well = True
        except (TimeoutError, EOFError, ConnectionError, asyncio.IncompleteReadError):
            raise Refusal(422, DIED) from None
        finally:  # also where the client left in the middle
            if not is_well and process is not None and process.returncode is None:
                process.kill()
            self._idle.put_nowait(process if is_well else None)
        if "error" in said:
            raise Refusal(said["status"], said["error"])
        shape = (said["height"], said["width"], 3)
        return Picture(
            np.frombuffer(pixels, np.uint8).reshape(shape), tuple(said["original"]), "Uploaded image"
        )


async def started() -> asyncio.subprocess.Process:
    """A process that decodes, with no part of the server's environment but where Python finds its packages."""
    kept = {
        name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "archaeology.app.decoder",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
        start_new_session=True,  # Ctrl-C is the server's to handle
    )


async def warm() -> asyncio.subprocess.Process:
    """A process that has loaded what it needs: it has answered once, that nothing is no image."""
    process = await started()
    await asked(process, {"bytes": 0, "pixels": 0, "side": 1}, b"")
    return process


async def ended(process: asyncio.subprocess.Process) -> None:
    """Kill a process and wait for it."""
    if process.returncode is None:
        process.kill()
    await process.wait()


async def asked(
    process: asyncio.subprocess.Process, job: dict[str, Any], data: bytes | bytearray
) -> tuple[dict, bytes]:
    """Give a process one job and read its answer; a process that dies is an `EOFError` of some kind."""
    assert process.stdin is not None and process.stdout is not None
    text = json.dumps(job).encode()
    process.stdin.write(SIZE.pack(len(text)) + text)
    process.stdin.write(data)
    await process.stdin.drain()
    length = SIZE.unpack(await process.stdout.readexactly(SIZE.size))[0]
    said = json.loads(await process.stdout.readexactly(length))
    length = SIZE.unpack(await process.stdout.readexactly(SIZE.size))[0]
    return said, await process.stdout.readexactly(length)
